"""Fixtures that several tests share."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fitwell.data import read
from fitwell.data.types import Data

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real public data beside the project; tests that need it skip without it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the folder shared/data beside the project")
    return folder


@pytest.fixture(scope="session")
def wine() -> Data:
    """A small table that comes with scikit-learn: 178 rows, three classes."""
    return read("wine", {})


@pytest.fixture(scope="session")
def pictures() -> "tuple[Tensor, ...]":
    """Handwritten digits to train on and to validate on: inputs and labels of each."""
    from loops import digits

    x, y = digits()
    return x[:640], y[:640], x[1200:], y[1200:]


@pytest.fixture(scope="session")
def numbers() -> "tuple[Tensor, ...]":
    """The same of a table whose target is a number, both standardised."""
    from loops import table
    from sklearn.datasets import load_diabetes

    x, y = table(load_diabetes, 350)
    y = (y.float() - y[:350].float().mean()) / y[:350].float().std()
    return x[:350], y[:350], x[350:], y[350:]
