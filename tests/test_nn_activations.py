"""Activations against their formulas, written out in float64 numpy."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, expit
from torch import nn

from fitwell.errors import SettingError
from fitwell.models import build
from fitwell.nn.activations import ACTIVATIONS, MONOTONE
from fitwell.nn.types import ActivationName
from fitwell.settings import signatures
from fitwell.spec import Spec

_GRID = np.linspace(-8, 8, 641)
_SELU, _ALPHA = 1.0507009873554805, 1.6732632423543772

FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": lambda x: (1 - np.exp(-2 * x)) / (1 + np.exp(-2 * x)),
    "leaky_relu": lambda x: np.maximum(x, 0) + 0.01 * np.minimum(x, 0),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: _SELU * np.where(x > 0, x, _ALPHA * np.expm1(x)),
    "prelu": lambda x: np.maximum(x, 0) + 0.25 * np.minimum(x, 0),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
}


def test_types_list_the_table() -> None:
    assert list(get_args(ActivationName)) == list(ACTIVATIONS)
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_follows_its_formula(name: str) -> None:
    module = ACTIVATIONS[name]().double()
    got = module(torch.tensor(_GRID)).detach().numpy()
    np.testing.assert_allclose(got, FORMULAS[name](_GRID), rtol=1e-7, atol=1e-9)


# name -> its setting, another value, and the formula with it.
SETTINGS: dict[str, tuple[str, float, Callable[[np.ndarray], np.ndarray]]] = {
    "leaky_relu": ("slope", 0.3, lambda x: np.where(x > 0, x, 0.3 * x)),
    "elu": ("alpha", 0.5, lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    "prelu": ("slope", 0.1, lambda x: np.where(x > 0, x, 0.1 * x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_settings_move_the_curve_and_can_be_written_in_a_recipe(name: str) -> None:
    known = signatures()["activations"][name]
    assert [*known] == ([SETTINGS[name][0]] if name in SETTINGS else [])
    for setting, value, formula in [SETTINGS[name]] if name in SETTINGS else []:
        assert known[setting]["description"]
        spec = Spec("table", "regression", (len(_GRID),))
        model: Any = build("sequential", spec, {"layers": [f"{name}({value})"]}).double()
        got = model[0](torch.tensor(_GRID)).detach().numpy()
        np.testing.assert_allclose(got, formula(_GRID), rtol=1e-7, atol=1e-9)
        with pytest.raises(SettingError, match=setting):
            build("sequential", spec, {"layers": [f"{name}({setting}=-1)"]})


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_is_a_fresh_module_that_leaves_its_input(name: str) -> None:
    module = ACTIVATIONS[name]()
    assert isinstance(module, nn.Module) and module is not ACTIVATIONS[name]()
    x = torch.linspace(-3, 3, 7)
    kept = x.clone()
    module(x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("name", sorted(MONOTONE))
@settings(max_examples=50, deadline=None)
@given(patch=st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4))
def test_monotone_ones_commute_with_the_maximum(name: str, patch: list[float]) -> None:
    act, x = ACTIVATIONS[name](), torch.tensor(patch)
    assert torch.equal(act(x).max(), act(x.max()))


def test_the_others_do_not_commute_with_the_maximum() -> None:
    x = torch.tensor([-5.0, -0.8])  # where these curves fall
    for name in ("gelu", "silu", "hardswish", "mish"):
        act = ACTIVATIONS[name]()
        assert act(x).max() > act(x.max()), name
    slope = nn.PReLU(init=-0.5)
    assert slope(x).max() > slope(x.max())
    assert MONOTONE == set(ACTIVATIONS) - {"gelu", "silu", "hardswish", "mish", "prelu"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_agrees_with_differences(name: str) -> None:
    # Kinks are left out: 0, and 3 for hardswish.
    x = torch.linspace(-4.05, 4.05, 28, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ACTIVATIONS[name]().double(), (x,))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_eight_examples_can_be_overfitted(name: str) -> None:
    torch.manual_seed(0)
    model = build("mlp", Spec("table", "regression", (5,)), {"width": 32, "activation": name})
    x, y = torch.randn(8, 5), torch.randn(8, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    assert (model(x) - y).square().mean() < 0.05


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_bfloat16_is_near_float32(name: str) -> None:
    act, x = ACTIVATIONS[name](), torch.tensor(_GRID, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        got = act(x).float()
    torch.testing.assert_close(got, act(x.float()), atol=0.01, rtol=0.01)
