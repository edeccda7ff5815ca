"""Tied weights: one tensor under several names, which is stored once and loaded into all of them."""

from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from fitwell.errors import SettingError


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


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a state into the model, in place, tied tensors under any of their names or all.

    Raises:
        SettingError: the state holds different values for what is one tensor in the model.
        RuntimeError: names or shapes are not the model's.
    """
    state = dict(state)
    for name, first in tied_names(model).items():
        if name in state and not torch.equal(state.setdefault(first, state[name]), state[name]):
            raise SettingError(
                f"{first} and {name} are one tensor in this model, and the weights hold different "
                "values for them: they are of a model in which the two are not tied.",
                where=name,
            )
        if first in state:
            state[name] = state[first]
    model.load_state_dict(state)
