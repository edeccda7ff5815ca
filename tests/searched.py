"""Searches on trials with planted scores instead of trainings; as a program it is one worker of several."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from instead import Instead

from fitwell.data import read
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.search import storage
from fitwell.search.flow import search
from fitwell.search.result import Plan, Searched
from fitwell.search.space import space_of
from fitwell.trials.trial import Task

Score = Callable[[Recipe, int], float]

SPACE = {"optim.lr": "1e-4..1:log", "model.width": "16..256:log"}
FAST = {"source": "wine", "train.epochs": 1, "score.name": "accuracy", "optim.lr": 1e-3}


def peak(recipe: Recipe, fold: int) -> float:
    """Best at a rate of 0.03: 0.9; it falls off by the decade."""
    return 0.9 - 0.1 * abs(np.log10(float(recipe["optim.lr"]) / 0.03))


class Scored(Instead):
    """An executor whose trials score what a function of recipe and fold says."""

    def __init__(self, folder: Path, score: Score = peak, *, pause: float = 0.0) -> None:
        super().__init__(folder)
        self.score, self.pause = score, pause

    def made(self, task: Task) -> Run:
        time.sleep(self.pause)
        own = [ord(letter) for letter in task.variant]
        noise = np.random.default_rng([task.seed, task.repeat, task.fold, *own]).normal(0, 0.002)
        score = float(self.score(task.recipe, task.fold) + noise)
        if not np.isfinite(score):
            return Run(status="failed", failure="The loss is nan at step 3.")
        run = Run(status="done", seconds=self.seconds, best_epoch=0)
        run.epochs = [{"epoch": 0}]
        part = "test" if task.kind == "final" else "held_out"
        run.scores = {"train": {"accuracy": score}, part: {"accuracy": score}}
        if task.kind == "final":
            self.place(task).mkdir(parents=True, exist_ok=True)
            (self.place(task) / "best.safetensors").write_bytes(b"weights")
        return run


def searching(
    folder: Path,
    executor: Scored,
    space: Mapping[str, Any] = SPACE,
    *,
    settings: Mapping[str, Any] | None = None,
    budget: float | None = None,
    more: bool = False,
    trials: int = 10,
    **plan: Any,
) -> Searched:
    """One search of the wine table."""
    data = read("wine", {})
    recipe = complete({**FAST, **(settings or {})}, data.spec)
    return search(
        data,
        recipe,
        Plan(space_of(space, recipe), trials=trials, **plan),
        out=folder,
        budget=budget,
        executor=executor,
        more=more,
    )


def main() -> None:
    """`python searched.py FOLDER STORAGE STUDY OWNER TRIALS`: a worker that is soon taken for dead."""
    folder, address, study, owner, trials = sys.argv[1:]
    storage.HEARTBEAT_SECONDS, storage.GRACE_SECONDS = 1, 3
    executor = Scored(Path(folder), pause=0.1)
    where = {"storage": address, "study": study, "owner": owner}
    searching(Path(folder), executor, trials=int(trials), **where)


if __name__ == "__main__":
    main()
