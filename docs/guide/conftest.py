"""Each page of the guide is executed in an empty folder, with a cache of its own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
