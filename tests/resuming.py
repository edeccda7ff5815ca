"""What it means that a run that was stopped goes on as if it had not been."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fitwell.data import split
from fitwell.data.types import Data
from fitwell.errors import Interrupted
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.train import resume, train_once
from fitwell.weights import RUN_WEIGHTS


def ends_the_same(data: Data, recipe: Recipe, folder: Path, *, after: int) -> Run:
    """Trains whole, and once more with Ctrl-C after so many epochs and a resume; bit for bit alike.

    Returns:
        The run that was not stopped.
    """
    rows = split.fit_rows(data, recipe.section("data"), 0)

    def stop(event: str, **facts: Any) -> None:
        if facts.get("epoch") == after:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train_once(data, rows, recipe, folder=folder / "cut", threads=1, progress=stop)
    assert resume(folder / "cut", data, rows).status == "done"
    whole = train_once(data, rows, recipe, folder=folder / "whole", threads=1)
    assert whole.status == "done" and len(whole.epochs) == recipe["train.epochs"]
    cut, expected = (load_file(folder / name / RUN_WEIGHTS) for name in ("cut", "whole"))
    assert cut.keys() == expected.keys()
    assert all(torch.equal(cut[name], expected[name]) for name in expected)
    return whole
