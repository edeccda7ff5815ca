"""What holds the fit back in a recipe: penalties, dropout, smoothed labels, inputs changed at random."""

from collections.abc import Mapping
from typing import Any

from fitwell.settings import defaults

_NAMES = ("model.dropout", "optim.weight_decay", "optim.l1", "loss.label_smoothing")
_LEAST = 1e-3  # of a penalty: the default decay of 5e-4 is too small to hold anything back


def restraints(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that hold the fit back, each as it would be without.

    >>> restraints({"model.dropout": 0.5, "optim.weight_decay": 5e-4, "augment.hflip": 0.5})
    {'model.dropout': 0.0, 'augment.hflip': 0.0}
    """
    strong = [n for n in _NAMES if _total(recipe.get(n)) > (_LEAST if n.startswith("optim") else 0)]
    return dict.fromkeys(strong, 0.0) | augmented(recipe)


def augmented(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings `augment.*` that change training examples, each as it would be without."""
    usual = {f"augment.{key}": value for key, value in defaults("augment").items() if key != "tta"}
    return {name: value for name, value in usual.items() if recipe.get(name, value) != value}


def _total(value: object) -> float:
    """A number, or the sum of a list of them; 0 for anything else."""
    if isinstance(value, list):
        return sum(_total(item) for item in value)
    return float(value) if isinstance(value, int | float) else 0.0
