"""Fixtures that several tests share."""

from pathlib import Path

import pytest

from fitwell.data import read
from fitwell.data.types import Data


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
