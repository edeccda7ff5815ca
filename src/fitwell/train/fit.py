"""One training from data to scored run, with or without a run folder; and going on with one."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fitwell import store
from fitwell.augment import views_of
from fitwell.data.preprocess import Preprocess
from fitwell.data.split import Rows
from fitwell.data.types import UNUSED, Data
from fitwell.errors import DataError, FolderError, Interrupted, TrainingError, going_on
from fitwell.probes import Probes
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.refusals import check_batch
from fitwell.spec import Spec
from fitwell.train import checkpoint, machine
from fitwell.train.describe import describe
from fitwell.train.distributed import ALONE, Processes, threads_of
from fitwell.train.evaluate import as_predictions, evaluate_part
from fitwell.train.explain import explain_mistakes
from fitwell.train.job import Job, build_job, build_model
from fitwell.train.loop import GivenUp, Progress, State, copy_of, train
from fitwell.train.members import told_of, train_members
from fitwell.train.through_time import order_of_steps
from fitwell.train.whole_norm import whole_batch_norm
from fitwell.weights import RUN_WEIGHTS, load_exactly, read_tensors, write_tensors

# A checkpoint costs a write of all weights; more often than this it would slow small models.
CHECKPOINT_SECONDS = 1.0


def train_once(
    data: Data,
    rows: Rows,
    recipe: Recipe,
    *,
    seed: int = 0,
    fold: int | None = None,
    repeat: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
    probes: bool = True,
    threads: int = 0,
    epochs: int = 0,
    held_out: str = "",
    floor: Sequence[float | None] = (),
    processes: Processes = ALONE,
) -> Run:
    """Train one recipe on `rows.train` and score it once on `rows.held_out`.

    The weights that are scored and kept are the last ones, or with `train.patience` those of the
    epoch with the best validation score. Looks at a test set are counted by the caller.

    Args:
        recipe: complete.
        folder: an empty run folder to write to; without one nothing is written.
        threads: processor threads; 0: `train.threads`.
        processes: those that train together; `folder` and `progress` are the first one's alone, and its
            run alone has scores and predictions.
        epochs: stop after so many epochs of the recipe's schedule; 0: all of them.
        floor: [epoch] the least validation score that goes on; a training below it fails. None where any
            does.
        held_out: what the held-out part is called in `scores`: by default `held_out` for a fold,
            `test` without one.

    Returns:
        The run; one whose loss became not-a-number has status "failed" and says why.

    Raises:
        SettingError: the batch is larger than the training part, or no such device.
        Interrupted: Ctrl-C; with a folder, `resume` goes on.
    """
    check_batch(recipe, len(rows.train))
    run = Run(recipe=recipe, spec=data.spec, seed=seed, fold=fold, repeat=repeat, folder=folder)
    run.status = "running"
    threads = threads_of(processes, threads or int(recipe["train.threads"]))  # type: ignore[arg-type]
    with _own_random_state(), machine.kept_memory(), machine.thread_count(threads):
        job = build_job(data, rows, recipe, seed=seed)
        run.environment = machine.environment(job.device, job.precision)
        if processes.count > 1:
            run.environment["processes"] = processes.count
        if job.fitted is not None:
            run.evidence.append({"experiment": "pretrained", **vars(job.fitted)})
        state = State(stop_after=epochs, floor=floor)
        if int(recipe.get("train.members", 1)) > 1:  # type: ignore[arg-type]
            state.start = copy_of(job.model)
        writer = Writer(folder, run, job, state) if folder else None
        if folder:
            store.save_run(run, folder)
            store.write_json(folder / "preprocess" / "preprocess.json", job.preprocess.to_json())
            write_split(folder, data, rows)
        part = held_out or ("test" if fold is None else "held_out")
        return _train(
            data, rows, job, state, run, writer, progress, processes, probes=probes, part=part
        )


def resume(
    folder: Path,
    data: Data,
    rows: Rows,
    *,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> Run:
    """Go on with an interrupted run from its last checkpoint, with the same result as without.

    One that was stopped before its first checkpoint starts from the beginning. Every one of several
    `processes` reads the folder, the first one writes.

    Raises:
        FolderError: no run in the folder, or a damaged one.
    """
    run = store.open_run(folder)
    if run.status == "done":
        return run
    if run.recipe is None:
        raise FolderError(f"{folder} has no recipe.toml, so it cannot go on.", where=str(folder))
    alike = run.environment.get("processes", 1) == processes.count
    threads = int(run.environment.get("threads", 0)) if alike else 0
    begun = (folder / checkpoint.NAME).exists()
    processes.meet()  # all have read what the first one writes again
    if not begun:
        known = run.status != "new"  # else stopped while the folder was made
        return train_once(
            data,
            rows,
            run.recipe,
            seed=run.seed if known else int(run.recipe["train.seed"]),
            folder=folder if processes.leads else None,
            progress=progress,
            threads=threads,
            processes=processes,
        )
    threads = threads_of(processes, threads)
    with _own_random_state(), machine.kept_memory(), machine.thread_count(threads):
        job = build_job(data, rows, run.recipe, seed=run.seed, going_on=_preprocess(folder))
        state = checkpoint.load_checkpoint(folder, job)
        # Rows after the checkpoint are written again.
        run.steps = [r for r in run.steps if r["step"] < state.total_step]
        run.epochs = [r for r in run.epochs if r["epoch"] < state.epoch]
        run.evidence = [
            r
            for r in run.evidence
            if r["experiment"] != "gradcam"
            and r.get("member", -1) < state.member
            and (r["experiment"] != "written" or r["epoch"] < state.epoch)
        ]
        run.probes = [
            r
            for r in run.probes
            if r["step"] < state.total_step or (r["kind"] == "epoch" and r["epoch"] < state.epoch)
        ]
        run.status = "running"
        writer = None
        if processes.leads:
            store.save_run(run, folder)
            writer = Writer(folder, run, job, state)
        return _train(
            data, rows, job, state, run, writer, progress, processes, probes=True, part="test"
        )


def _train(
    data: Data,
    rows: Rows,
    job: Job,
    state: State,
    run: Run,
    writer: "Writer | None",
    progress: Progress | None,
    processes: Processes,
    *,
    probes: bool,
    part: str,
) -> Run:
    members = int(job.recipe.get("train.members", 1))  # type: ignore[arg-type]
    watched = probes and processes.leads
    watcher = Probes(job.model, fresh=not state.total_step) if watched else None
    norm = whole_batch_norm(job.model) if processes.count > 1 else nullcontext()
    try:
        with _stop_requested() as stopped, norm:
            said = progress or (lambda event, **facts: None)
            if state.member:  # the first one has ended
                run.status = "done"
            else:
                train(
                    job,
                    state,
                    run,
                    probes=watcher,
                    progress=told_of(said, 0, members),
                    should_stop=stopped,
                    after_epoch=writer.epoch if writer else lambda: None,
                    processes=processes,
                )
            if members > 1 and run.status == "done":
                train_members(
                    job,
                    state,
                    run,
                    lambda seed: build_job(
                        data, rows, job.recipe, seed=seed, going_on=job.preprocess
                    ),
                    progress=said,
                    should_stop=stopped,
                    after_member=writer.member if writer else lambda: None,
                    processes=processes,
                )
    except TrainingError as error:
        run.status, run.failure = "failed", error.message
        if isinstance(error, GivenUp):
            run.environment["given_up"] = True
    finally:
        if watcher is not None:
            watcher.close()
    run.seconds, run.best_epoch = state.seconds, state.best_epoch
    if run.status == "interrupted":
        if writer:
            writer.close()
            place = f"epoch {state.epoch + 1} of {job.epochs}"
            if state.member:
                place = f"member {state.member + 1} of {members}"
            raise Interrupted(
                f"Stopped at {place}; everything is saved. Go on with: {going_on(run.folder)}",
                where=str(run.folder),
            )
        raise Interrupted("Stopped before the end; nothing was written, since no folder was given.")
    if state.best and run.status == "done" and processes.leads:
        _score(data, rows, job, state, run, part)
    if writer:
        writer.close(weights=state.best)
    return run


def _score(data: Data, rows: Rows, job: Job, state: State, run: Run, part: str) -> None:
    load_exactly(job.evaluated, state.best)
    best = run.epochs[state.best_epoch]
    views = views_of(job.recipe)
    # Each epoch was scored by one view alone, which does not take several times as long.
    known = views == "none" and not state.member
    run.scores["train"] = best["train"] if known else evaluate_part(job, "train", views).scores
    if best["validation"] is not None:
        evaluated = evaluate_part(job, "validation", views)
        run.scores["validation"] = best["validation"] if known else evaluated.scores
        run.predictions["validation"] = as_predictions(evaluated, rows.validation, data.keys)
    if "held_out" in job.parts:
        evaluated = evaluate_part(job, "held_out", views)
        run.scores[part] = evaluated.scores
        run.predictions[part] = as_predictions(evaluated, rows.held_out, data.keys)
    run.evidence += explain_mistakes(job, run, data)
    run.evidence += describe(job)
    run.evidence += order_of_steps(job, run)
    run.evidence += job.task.measure(data, run.predictions, job.preprocess.targets)


class Writer:
    """Writes a run's rows as they come, and a checkpoint now and then."""

    def __init__(self, folder: Path, run: Run, job: Job, state: State) -> None:
        self.folder, self.run, self.job, self.state = folder, run, job, state
        self.written = {name: len(getattr(run, name)) for name in store.ROW_FILES}
        self.saved = time.monotonic()

    def epoch(self) -> None:
        """After an epoch: append its rows; save a checkpoint where the last one is old."""
        self._rows()
        if time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            checkpoint.save_checkpoint(self.folder, self.job, self.state)
            self.saved = time.monotonic()

    def member(self) -> None:
        """After a member has ended: it is not trained again."""
        self._rows()
        checkpoint.save_checkpoint(self.folder, self.job, self.state)
        self.saved = time.monotonic()

    def close(self, weights: dict[str, torch.Tensor] | None = None) -> None:
        """At the end, or when interrupted: all rows, weights, checkpoint, then the status."""
        self._rows()
        if weights is not None:
            if weights:
                write_tensors(self.folder / RUN_WEIGHTS, weights, {})
        if self.run.status != "failed":  # the last good checkpoint stays
            checkpoint.save_checkpoint(self.folder, self.job, self.state)
        store.save_run(self.run, self.folder, rows=False)

    def _rows(self) -> None:
        for name, count in self.written.items():
            rows = getattr(self.run, name)
            store.append_rows(self.folder / f"{name}.jsonl", rows[count:])
            self.written[name] = len(rows)


def write_split(folder: Path, data: Data, rows: Rows) -> None:
    """`split.parquet`: every example's key, row and part; "unused" where `data.limit` left it out."""
    import polars as pl

    part = np.full(len(data.keys), UNUSED, dtype=object)
    for name in ("train", "validation", "held_out"):
        part[getattr(rows, name)] = name
    frame = {"key": data.keys.astype(str), "index": np.arange(len(part)), "part": part.astype(str)}
    with store.replacing(folder / "split.parquet") as temporary:
        pl.DataFrame(frame).write_parquet(temporary)


def load_model(run: Run) -> tuple[nn.Module, Preprocess]:
    """The trained model of a run folder in evaluation mode, and its preprocessing.

    Raises:
        FolderError: the folder has no weights, or they do not fit the recipe.
    """
    folder = run.folder
    if folder is None or run.recipe is None or run.spec is None:
        raise FolderError("This run has no folder with recipe and spec, so no model to load.")
    path = folder / RUN_WEIGHTS
    if not path.exists():
        raise FolderError(
            f"{folder} has no weights ({RUN_WEIGHTS}): "
            + (
                "a cross-validation keeps none. `fitwell fit` trains a model to use."
                if run.status == "done"
                else f"the run is {run.status}. `{going_on(folder)}` finishes an interrupted one."
            ),
            where=str(path),
        )
    model = build_model(run.recipe, Spec.from_json(run.spec.to_json()))
    try:
        load_exactly(model, read_tensors(path)[0], str(path))
    except DataError as error:
        raise FolderError(
            f"{error.message} Put back the recipe and the weights as they were, or train again into a "
            "new folder.",
            where=error.where,
        ) from None
    except Exception as error:
        reason = str(error).strip().split("\n")[-1].strip()
        raise FolderError(
            f"{path} is damaged ({reason}). Put back a copy of it, or train again into a new folder.",
            where=str(path),
        ) from None
    return model.eval(), _preprocess(folder)


def _preprocess(folder: Path) -> Preprocess:
    path = folder / "preprocess" / "preprocess.json"
    with store.reading(path):
        return Preprocess.from_json(store.read_json(path))


@contextmanager
def _own_random_state() -> Iterator[None]:
    """Seeding inside leaves the caller's random numbers as they were."""
    with torch.random.fork_rng():
        yield


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks the loop to stop between two steps; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = False
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
