"""Tied weights: one tensor under several names, which is stored once and loaded into all of them."""

from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from fitwell.errors import DataError


def tied_names(model: nn.Module) -> dict[str, str]:
    """Each further name of a parameter or buffer -> its first name.

    >>> shared = nn.Linear(2, 2, bias=False)
    >>> tied_names(nn.Sequential(shared, nn.ReLU(), shared))
    {'2.weight': '0.weight'}
    """
    first: dict[int, str] = {}
    tied = {}
    for name, tensor in chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    ):
        known = first.setdefault(id(tensor), name)
        if known != name:
            tied[name] = known
    return tied


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The model's state with each tied tensor once, under its first name."""
    tied = tied_names(model)
    return {name: value for name, value in model.state_dict().items() if name not in tied}


def untied(
    model: nn.Module, state: Mapping[str, Tensor], source: str = "the file", setting: str = ""
) -> dict[str, Tensor]:
    """A state that has tied tensors under any of their names, with each under all of them.

    Raises:
        DataError: it has different values for what is one tensor in the model.
    """
    given = dict(state)
    tied = tied_names(model)
    for name, first in tied.items():
        if name in given and not torch.equal(given.setdefault(first, given[name]), given[name]):
            raise DataError(
                f"{first} and {name} are one parameter in this model, and {source} has different "
                "values for them. Load it into a model that does not tie them.",
                setting=setting,
                where=f"{first}, {name}",
            )
    return given | {name: given[first] for name, first in tied.items() if first in given}
