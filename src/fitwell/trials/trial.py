"""One trial: a variant on a fold with a seed, run and written as a run folder. No torch until it
runs.

Both a worker process and the parent (when workers cannot import the model) run trials through here,
so that where a trial ran makes no difference to what it gives.
"""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fitwell import store
from fitwell.data import split
from fitwell.data.types import Data
from fitwell.errors import FitwellError, FolderError
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.trials.reading import read_for

Kind = Literal["fold", "final"]
_APART = 15485863  # seeds of repeats lie closer together
LONGEST_SLUG = 120  # bytes: file systems take names of 255, some of 143 where they encrypt


@dataclass(frozen=True)
class Task:
    """What one trial runs.

    Args:
        recipe: complete.
        fold: 0 to data.folds - 1; not used by a final model.
        repeat: a new partition into folds for each.
        seed: decides partition, initial weights and order: equal in both arms of a pair, and for
            all folds of a repeat.
        kind: "fold" trains on one fold; "final" on everything but the test part, and keeps weights.
        variant: name of the recipe, for the folder; unique in an improvement.
        title: the same for people; by default the variant.
        precision: that of the other arm, where `train.precision=auto` might choose another.
        epochs: stop after so many epochs of the recipe's schedule; 0: all of them.
        examples: train on at most so many of the fold's training examples; 0: all.
        shift: other than 0: weights and order by another seed than the partition's. Arms that share folds
            and nothing else differ by chance alone.
        floor: [epoch] the least validation score that goes on; None where any does, empty: anywhere.
    """

    recipe: Recipe
    fold: int = 0
    repeat: int = 0
    seed: int = 0
    kind: Kind = "fold"
    variant: str = "baseline"
    epochs: int = 0
    title: str = ""
    precision: str = ""
    examples: int = 0
    shift: int = 0
    floor: tuple[float | None, ...] = ()

    @property
    def place(self) -> int | None:
        """The fold; None of a final model."""
        return None if self.kind == "final" else self.fold

    @property
    def folder_name(self) -> str:
        """`baseline-r0-f3`, or `baseline-final`."""
        slug = slug_of(self.variant)
        return f"{slug}-final" if self.kind == "final" else f"{slug}-r{self.repeat}-f{self.fold}"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "recipe": dict(self.recipe)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Task":
        floor = tuple(data.get("floor", ()))
        values: dict[str, Any] = {**data, "recipe": Recipe(data["recipe"]), "floor": floor}
        return cls(**values)


def slug_of(name: str) -> str:
    """A variant's name as (part of) a folder name; of a long one the start, and a mark of the whole.

    >>> slug_of("optim.lr: 0.01 -> 0.1")
    'optim.lr_0.01_-_0.1'
    """
    slug = re.sub(r"[^\w.+-]+", "_", name).strip("_.") or "variant"
    if len(slug.encode()) <= LONGEST_SLUG:
        return slug
    mark = hashlib.sha256(name.encode()).hexdigest()[:12]
    start = slug.encode()[: LONGEST_SLUG - len(mark) - 1].decode(errors="ignore")
    return f"{start.rstrip('_.-')}-{mark}"


def run_trial(data: Data, task: Task, folder: Path, *, threads: int) -> Run:
    """Train `task` and write `folder`. A training that fails is a Run with status "failed".

    A bad setting fails here too (a remedy may ask for a batch larger than the fold), since one
    variant that cannot run must not end an improvement.
    """
    from fitwell.train import train_once

    options = task.recipe.section("data")
    final = task.kind == "final"
    if folder.exists():  # half written by a run that was killed, or by another recipe
        shutil.rmtree(folder)
    try:
        data = read_for(data, task.recipe)
        if final:
            rows = split.final_rows(data, options, task.seed)
        else:
            rows = split.fold_rows(
                data, options, fold=task.fold, repeat=task.repeat, seed=task.seed
            )
            rows = split.fewer(data, rows, task.examples)
        run = train_once(
            data,
            rows,
            task.recipe.edit({"train.precision": task.precision or task.recipe["train.precision"]}),
            seed=(task.seed + _APART * task.shift) % 2**31,
            fold=None if final else task.fold,
            repeat=task.repeat,
            folder=folder if final else None,
            threads=threads,
            epochs=task.epochs,
            floor=task.floor,
        )
    except FitwellError as error:
        if error.exit_code == 130 or isinstance(error, FolderError):
            raise  # not of the variant: a full disk must not be taken for its failure
        run = Run(spec=data.spec, status="failed", failure=error.message)
    return save(run, task, folder)


def save(run: Run, task: Task, folder: Path) -> Run:
    """Write a finished or failed trial under its own recipe, seed, fold and repeat."""
    run.recipe = task.recipe
    run.seed = task.seed
    run.repeat = task.repeat
    run.fold = None if task.kind == "final" else task.fold
    if run.status not in ("failed", "interrupted"):
        run.status = "done"
    run.folder = folder
    store.save_run(run, folder)
    return run


def finished(task: Task, folder: Path) -> Run | None:
    """The trial in `folder` if it is exactly this task and is done."""
    if not (folder / "run.json").is_file():
        return None
    try:
        run = store.open_run(folder, trials=False)
    except (FitwellError, OSError, ValueError):
        return None  # not readable: run it again
    same = run.recipe == task.recipe and run.seed == task.seed and run.repeat == task.repeat
    whole = task.kind == "fold" or (folder / "best.safetensors").is_file()
    whole = whole and (not task.epochs or len(run.epochs) <= task.epochs)
    if not same or (run.status != "failed" and not (run.status == "done" and whole)):
        return None
    # Lost workers are worth another try when the work is taken up again; a diverging recipe is not.
    return None if run.environment.get("worker_lost") else run
