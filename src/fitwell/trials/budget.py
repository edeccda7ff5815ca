"""How much may be spent on trials, and what they will cost: seconds, trials or epochs."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.errors import SettingError
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.trials.reusing import Executor
from fitwell.trials.trial import Task

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_COUNTED = {"trial": "trials", "trials": "trials", "epoch": "epochs", "epochs": "epochs"}


@dataclass(frozen=True)
class Limit:
    """A budget: so many seconds, trials, or epochs of all trials together.

    >>> str(Limit(90.0)), str(Limit(40, "trials"))
    ('90s', '40trials')
    """

    amount: float
    unit: str = "seconds"

    def __str__(self) -> str:
        return f"{self.amount:g}{'s' if self.unit == 'seconds' else self.unit}"

    def exceeds(self, other: "Limit") -> bool:
        """Whether more may be spent than by the other; in another unit it is another plan, so yes."""
        return self.unit != other.unit or self.amount > other.amount


def limit_of(budget: "str | float | Limit | None") -> Limit | None:
    """`10m`, `1h30m`, `90s` or a number of seconds; `40 trials`; `3000 epochs`. None is no limit.

    Raises:
        SettingError: it is something else, or not above 0.

    >>> limit_of("1h30m"), limit_of("40 trials")
    (Limit(amount=5400.0, unit='seconds'), Limit(amount=40.0, unit='trials'))
    """
    if budget is None or budget == "" or isinstance(budget, Limit):
        return budget or None
    text = str(budget).strip().lower().replace(" ", "")
    if (counted := re.fullmatch(r"(\d+)([a-z]+)", text)) and counted[2] in _COUNTED:
        found = Limit(float(counted[1]), _COUNTED[counted[2]])
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
        whole = "".join(number + unit for number, unit in parts) == text
        plain = len(parts) > 1 and "" in [unit for _, unit in parts]
        total = sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)
        found = Limit(total if whole and not plain else 0.0)
    if found.amount <= 0:
        raise SettingError(
            f"budget = {budget}: must be a time such as 90s, 10m or 1h30m, or a number of trials or epochs "
            "such as 60trials or 2000epochs.",
            setting="budget",
        )
    return found


# Of the budget: what begins must end by so much before the limit, so that a machine that slows down a
# little does not cost two thirds of a stage.
MARGIN = 0.05


class Budget:
    """What is left, and what trials cost as far as was seen. Without a limit everything fits.

    Args:
        limit: a plain number is seconds.
        spent: seconds of earlier calls.
        done: their trials, see `counted`.
        overhead: wall time of a batch of trials against what they say they took.
        rows: examples that a final model trains on, against those of a fold.
    """

    def __init__(
        self,
        limit: Limit | float | None,
        spent: float = 0.0,
        overhead: float = 1.0,
        rows: float = 1.0,
        done: Mapping[str, int] | None = None,
    ) -> None:
        self.limit = limit_of(limit)
        self.done = dict(done or {})  # epochs of each trial
        self.started = time.monotonic() - spent
        self.epoch_seconds: dict[Recipe, dict[str, float]] = {}  # by trial
        self.overhead = overhead
        self.rows = rows
        self.origin: Recipe | None = None  # what untried variants are edits of
        self.closing: list[Task] = []  # what is run at the end, whatever is adopted

    @property
    def unit(self) -> str:
        return "seconds" if self.limit is None else self.limit.unit

    @property
    def seconds(self) -> float:
        """Since the first call began, without the time between calls."""
        return time.monotonic() - self.started

    @property
    def spent(self) -> float:
        """In the unit of the limit."""
        if self.unit == "seconds":
            return self.seconds
        return float(len(self.done) if self.unit == "trials" else sum(self.done.values()))

    @property
    def left(self) -> float:
        return math.inf if self.limit is None else self.limit.amount - self.spent

    @property
    def seconds_left(self) -> float:
        return self.left if self.unit == "seconds" else math.inf

    def learn(self, tasks: Sequence[Task], runs: Sequence[Run]) -> None:
        """What an epoch costs, by recipe: one network costs ten times what another does.

        Trials of an earlier call count too: taken up again, an improvement plans as it did before.
        """
        for task, run in zip(tasks, runs, strict=True):
            self.done[task.folder_name] = len(run.epochs)
            if run.status == "done" and run.epochs:
                each = self.epoch_seconds.setdefault(task.recipe, {})
                each[task.folder_name] = run.seconds / len(run.epochs)

    def learn_overhead(self, runs: Sequence[Run], wall_seconds: float, workers: int) -> None:
        """From trials that were run just now, side by side."""
        took = sum(run.seconds for run in runs if run.status == "done" and run.epochs)
        if took > 0:
            width = min(workers, len(runs))
            self.overhead = min(10.0, max(1.0, wall_seconds * width / took))

    def cost(self, tasks: Sequence[Task], workers: int) -> float:
        """What the tasks will take, in the unit of the limit; 0 seconds as long as nothing is known."""
        if self.unit == "trials":
            return float(len(tasks))
        if self.unit == "epochs":
            return float(sum(map(_epochs_of, tasks)))
        if not self.epoch_seconds or not tasks:
            return 0.0
        known = {
            recipe: float(np.median([*each.values()]))
            for recipe, each in self.epoch_seconds.items()
        }
        usual = float(np.median(list(known.values())))
        if self.origin in known:  # once a large network is adopted, its edits are as large
            usual = max(usual, known[self.origin])
        each = [
            self.overhead
            * known.get(t.recipe, usual)
            * _epochs_of(t)
            * (self.rows if t.kind == "final" else 1.0)
            for t in tasks
        ]
        return max(sum(each) / workers, max(each))

    def ending(self, tasks: Sequence[Task], executor: Executor) -> float:
        """What is spent from the last verdict to the end, should the dearest recipe of these be adopted."""
        always = executor.missing(self.closing)
        finals = {t.recipe: Task(t.recipe, kind="final", variant="reserve") for t in tasks}
        return max(self.cost([*always, final], executor.workers) for final in finals.values())

    def fits(self, tasks: Sequence[Task], executor: Executor, *, margin: float = MARGIN) -> bool:
        """Whether the tasks not done yet, and the final models after them, end in time.

        Args:
            margin: share of the whole budget that must be left then.
        """
        if self.limit is None or not (missing := executor.missing(tasks)):
            return True
        needed = self.cost(missing, executor.workers) + self.ending(tasks, executor)
        spare = margin * self.limit.amount if self.unit == "seconds" else 0.0  # counts are exact
        return needed <= self.left - spare


def counted(folder: Path) -> dict[str, int]:
    """Epochs of each trial that has ended in a run folder, as `Budget.done`."""
    found = {}
    for run in (folder / "trials").glob("*/run.json"):
        rows = run.parent / "epochs.jsonl"
        found[run.parent.name] = rows.read_bytes().count(b"\n") if rows.is_file() else 0
    return found


def _epochs_of(task: Task) -> int:
    epochs: Any = task.epochs or task.recipe["train.epochs"]
    return int(epochs)
