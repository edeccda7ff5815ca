"""Edits of a recipe: what remedies are made of."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.spec import Spec

Edit: TypeAlias = dict[str, Any]
Guess: TypeAlias = Callable[[Recipe, Spec, Finding], list[Edit]]


def useful(recipe: Recipe, edits: Sequence[Edit]) -> list[Edit]:
    """The edits of settings that the recipe has, without what they would leave as it is."""
    kept = []
    for edit in edits:
        changed = {name: v for name, v in edit.items() if name in recipe and recipe[name] != v}
        if changed and changed not in kept:
            kept.append(changed)
    return kept


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def rounded(value: float, digits: int) -> float:
    """`value` to so many significant digits."""
    return float(f"{value:.{digits}g}")
