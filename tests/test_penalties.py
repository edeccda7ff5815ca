"""The penalties' scale: full-batch training with sgd against scikit-learn, in float64.

The loss is the mean over the examples + weight_decay/2 ||w||^2 + l1 ||w||_1. So, for n examples,
squared error has Ridge's alpha = n weight_decay / 2, half the squared error Lasso's alpha = l1.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from sklearn.preprocessing import scale
from torch import nn

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.nn.losses import LOSSES
from fitwell.optim import parameter_groups
from fitwell.optim.sgd import sgd

CALIFORNIA = Path(__file__).parents[2] / "shared/data/tabular/california_housing.csv"
DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
both = pytest.mark.parametrize("name", ["diabetes", "california"])


@cache
def standardised(name: str) -> tuple[Any, Any]:
    """Columns and target of mean 0 and standard deviation 1."""
    if name == "diabetes":
        x, y = load_diabetes(return_X_y=True)
        return scale(x), scale(y)
    if not CALIFORNIA.exists():
        pytest.skip(f"{CALIFORNIA.name} is not in ../shared/data/tabular")
    import polars as pl

    table = pl.read_csv(CALIFORNIA).drop("ocean_proximity").drop_nulls()
    target = table["median_house_value"].to_numpy()
    return scale(table.drop("median_house_value").to_numpy()), scale(target)


def fitted(
    name: str,
    *,
    half: bool,
    lr: float = 0.2,
    momentum: float = 0.9,
    steps: int = 800,
    weight_decay: float = 0.0,
    **options: Any,
) -> np.ndarray:
    """Weights of linear regression on the squared error, or on half of it."""
    x, y = (torch.tensor(a) for a in standardised(name))
    layer = nn.Linear(x.shape[1], 1).double()
    groups = parameter_groups(layer, weight_decay)
    optimizer = sgd(groups, lr=lr, momentum=momentum, **options)
    # Huber's loss is e^2 / 2 where no error is beyond its delta.
    loss = LOSSES["huber"](delta=1e6) if half else LOSSES["mse"]()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(layer(x), y).mean().backward()
        optimizer.step()
    return layer.weight.detach().numpy()[0]


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@both
@pytest.mark.parametrize("weight_decay", [0.01, 0.3])
def test_weight_decay_is_ridge(name: str, weight_decay: float) -> None:
    x, y = standardised(name)
    got = fitted(name, half=False, weight_decay=weight_decay)
    expected: Any = Ridge(alpha=len(y) * weight_decay / 2, tol=1e-12).fit(x, y).coef_
    assert relative_error(got, expected) < 1e-4


@both
def test_l1_is_lasso_with_its_zeros(name: str) -> None:
    x, y = standardised(name)
    got = fitted(name, half=True, l1=0.05)
    expected: Any = Lasso(alpha=0.05, tol=1e-12, max_iter=100_000).fit(x, y).coef_
    assert 0 < (expected == 0).sum() < len(expected)
    np.testing.assert_array_equal(got == 0, expected == 0)
    assert relative_error(got, expected) < 1e-3


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.5, False), (0.9, True)])
def test_momentum_leaves_the_penalty_as_strong(momentum: float, nesterov: bool) -> None:
    x, y = standardised("diabetes")
    lr = 0.2 * (1 - momentum)
    got = fitted(
        "diabetes", half=True, lr=lr, momentum=momentum, nesterov=nesterov, steps=4000, l1=0.05
    )
    expected: Any = Lasso(alpha=0.05, tol=1e-12, max_iter=100_000).fit(x, y).coef_
    np.testing.assert_array_equal(got == 0, expected == 0)
    assert relative_error(got, expected) < 1e-3


@both
def test_both_penalties_are_the_elastic_net(name: str) -> None:
    x, y = standardised(name)
    l1, decay = 0.04, 0.06
    got = fitted(name, half=True, l1=l1, weight_decay=decay)
    model = ElasticNet(alpha=l1 + decay, l1_ratio=l1 / (l1 + decay), tol=1e-12, max_iter=100_000)
    expected: Any = model.fit(x, y).coef_
    assert 0 < (expected == 0).sum()
    np.testing.assert_array_equal(got == 0, expected == 0)
    assert relative_error(got, expected) < 1e-3


def by_command(tmp_path: Path, settings: dict[str, Any]) -> tuple[dict[str, float], Any, Any]:
    """Surviving features of a whole run on `diabetes`, and its standardised training rows."""
    data = fitwell_data.read("diabetes", {})
    rows = split.fit_rows(data, {}, 0).train
    values = {
        "train.epochs": 500,
        "train.batch_size": len(rows),
        "schedule.name": "constant",
        "optim.lr": 0.1,
        **settings,
    }
    fw.fit("diabetes", model="linear", out=tmp_path / "run", settings=values)
    found = fw.show(tmp_path / "run")["features"]
    x, y = scale(data.inputs[rows].astype(float)), scale(data.targets[rows].astype(float))
    return {row["name"]: row["weight"] for row in found}, x, y


def test_a_run_is_ridge_regression(tmp_path: Path) -> None:
    got, x, y = by_command(tmp_path, {"optim.weight_decay": 0.1})
    expected: Any = Ridge(alpha=len(y) * 0.1 / 2).fit(x, y).coef_
    assert relative_error(np.array([got[n] for n in DIABETES]), expected) < 1e-4


def test_a_run_names_the_features_that_lasso_keeps(tmp_path: Path) -> None:
    half = {"loss.name": "huber", "loss.delta": 1e3, "optim.weight_decay": 0.0}
    got, x, y = by_command(tmp_path, {"optim.l1": 0.05, **half})
    expected: Any = Lasso(alpha=0.05, tol=1e-12).fit(x, y).coef_
    kept = {n: w for n, w in zip(DIABETES, expected, strict=True) if w}
    assert 0 < len(kept) < len(expected) and got.keys() == kept.keys()
    assert [abs(w) for w in got.values()] == sorted((abs(w) for w in got.values()), reverse=True)
    ours = np.array([got[n] for n in kept])
    assert relative_error(ours, np.array([*kept.values()])) < 1e-3
