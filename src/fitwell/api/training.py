"""The verbs that train: fit, cv, improve, and going on with one of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fitwell import launched, record, store
from fitwell.api.folders import (
    Progress,
    check_folds,
    new_folder,
    note_down,
    parted,
    publish,
    resumable,
    say_parted,
    written,
)
from fitwell.api.results import Improvement, Run
from fitwell.api.start import Model, Start, begin
from fitwell.data import Data, split
from fitwell.refusals import check_batch, check_paired, check_patience
from fitwell.trials.budget import Limit, limit_of
from fitwell.trials.choosing import Where, open_executor
from fitwell.trials.reading import read_for

CV = "cv.json"  # marks the folder of a cross-validation, and holds its scores once it is done


def fit(
    source: Any,
    *,
    model: Model = "",
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    examples: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Train one model and write a run folder.

    Under `torchrun` with several processes each trains on its share of every batch, and all of them get
    the same run (docs/torchrun.md).

    Args:
        source: a path, a name, `(X, y)`, a DataFrame, a Dataset of torch or Hugging Face, a Run
            or a Recipe.
        model: a name, an import path, or a class or function that builds the model.
        settings: dotted name -> value.
        out: the run folder; by default the next free one below ./runs.
        examples: whether the report may hold pictures and texts of the data.
        progress: called with an event and its facts, see `fitwell.report.progress`.

    Returns:
        The run. One that failed has status "failed" and says why.

    Raises:
        SettingError, DataError, FolderError: before anything is written.
        Interrupted: Ctrl-C; `resume` goes on.
        TrainingError: another process of the training has ended.
    """
    from fitwell.train import train_once
    from fitwell.train.distributed import check_device, check_same, check_state, join, losing_none

    processes = join()

    def ready() -> tuple[Start, split.Rows]:
        start = begin(source, model, settings)
        rows = split.fit_rows(start.data, start.options, start.seed)
        check_batch(start.recipe, len(rows.train))
        check_patience(start.recipe, len(rows.validation))
        check_device(processes, str(start.recipe["train.device"]))
        check_state(processes, str(start.recipe["train.state"]))
        return start, rows

    start, rows = processes.in_turn(ready)
    check_same(processes, start.data.fingerprint, start.recipe)
    folder = processes.first(lambda: new_folder(start, out, examples=examples))
    said = progress if processes.leads else None
    with losing_none(processes, folder), written(folder, processes):
        say_parted(start, said)
        run = train_once(
            start.data,
            rows,
            start.recipe,
            seed=start.seed,
            folder=folder if processes.leads else None,
            progress=said,
            processes=processes,
        )
        ended = processes.first(lambda: closed(run, start.data, rows, examples))
    return Run.of(ended, start.data)


def closed(run: record.Run, data: Data, rows: split.Rows, examples: bool) -> record.Run:
    """Count the look at the test part, write the report, and give the run."""
    assert run.folder is not None
    if "test" in run.scores and not run.test_looks:
        run.test_looks = store.look_at_test(data.test_fingerprint(rows.held_out), run.folder.name)
        store.save_run(run, run.folder, rows=False)
    assert run.recipe is not None
    if data.spec.tokens and run.status == "done":
        _compare_with_counting(run, data, rows)
    ended = run.failure or f"Trained in {run.seconds:.1f} s."
    note_down(run.folder, [parted(data, run.recipe), ended])
    publish(Run.of(run, data), run.folder, examples, data)
    return run


def _compare_with_counting(run: record.Run, data: Data, rows: split.Rows) -> None:
    """What a model of language is beside those that count, on the part that it is judged by."""
    from fitwell.experiments import language_references

    assert run.folder is not None and run.recipe is not None
    judged = rows.validation if len(rows.validation) else rows.held_out
    parts = split.Rows(rows.train, rows.validation[:0], judged)
    metric = str(run.recipe["score.name"])
    found = language_references(data, parts, metric=metric, fold=None)
    store.append_rows(run.folder / "evidence.jsonl", found)
    run.evidence += found


def cv(
    source: Any,
    *,
    model: Model = "",
    settings: Mapping[str, Any] | None = None,
    sizes: bool = False,
    vary: str = "",
    out: str | Path | None = None,
    examples: bool = True,
    executor: str = "local",
    address: str = "",
    progress: Progress | None = None,
) -> Run:
    """K-fold cross-validation, `data.repeats` times: the folds are the run's `trials`.

    Its scores are means over the folds, "validation" of the folds held out; the out-of-fold
    predictions of every example are `run.predictions["held_out"]`, those of the first repeat.

    Args:
        sizes: also train on a half, a quarter and so on of the examples, and say what twice as many
            would bring; rows of `run.evidence`, experiments `vary` and `twice`.
        vary: also cross-validate other values of a setting: `model.width=8..128` doubles from 8 to 128,
            `optim.lr=0.01,0.1` names them; rows of `run.evidence`, experiment `vary`.
        executor: where trials run: "local", processes of this machine, or "ray", a cluster.
        address: of the cluster, such as `10.0.0.1:6379`; by default that of RAY_ADDRESS, else this machine.
        source, model, settings, out, examples, progress: as for `fit`.

    Raises:
        SettingError: more folds than examples, `vary` names no setting or a value that is wrong, or there
            is no such executor or cluster.
    """
    from fitwell.api.varying import asked_for

    launched.refuse_several("cv")
    where = Where(executor, address).check()
    start = begin(source, model, settings)
    check_folds(start)
    asked_for(start, sizes=sizes, vary=vary)  # refused before anything is written
    call = {"examples": examples, "sizes": sizes, "vary": vary}
    with resumable(new_folder(start, out, **call)) as folder:
        return cross_validated(start, folder, examples, progress, where, sizes=sizes, vary=vary)


def _check_candidate(start: Start) -> None:
    """Refuse a pretrained network to be tried whose weights are not there, do not fit, or know other
    images than these."""
    from fitwell.improve.variants import candidate_recipe
    from fitwell.train.job import check_buildable, moments_of

    if candidate := candidate_recipe(start.recipe, start.data.spec):
        check_buildable(candidate, start.data.spec)
        moments_of(candidate, start.data, np.arange(len(start.data)))


def cross_validated(
    start: Start,
    folder: Path,
    examples: bool,
    progress: Progress | None,
    where: Where,
    *,
    sizes: bool = False,
    vary: str = "",
) -> Run:
    from fitwell.api.varying import varied
    from fitwell.tasks.box_mistakes import box_rows
    from fitwell.trials.crossval import cross_validate, repeats_of, summary, write_folds

    data, recipe = start.data, start.recipe
    folds = int(recipe["data.folds"]) * repeats_of(recipe)  # type: ignore[arg-type]
    run = record.Run(recipe=recipe, spec=data.spec, seed=start.seed, folder=folder)
    run.status = "running"
    store.save_run(run, folder)
    if not (folder / CV).exists():
        store.write_json(folder / CV, {})
    write_folds(folder, data, recipe)
    say_parted(start, progress)
    with open_executor(data, recipe, folder, where, trials=folds) as executor:
        run.trials = cross_validate(data, recipe, executor, progress=progress)
        run.evidence = varied(start, executor, sizes=sizes, vary=vary, progress=progress)
    scores = summary(run.trials)
    done = [t for t in run.trials if t.status == "done"]
    failed = [t for t in run.trials if t.status != "done"]
    run.status = "done" if done else "failed"
    if failed:
        run.failure = f"{len(failed)} of {folds} folds failed: {failed[0].failure}"
    run.scores = {k: v for k, v in scores["mean"].items() if v}
    run.seconds = sum(t.seconds for t in run.trials)
    run.environment = done[0].environment if done else {}
    once = [t for t in done if t.repeat == 0 and "held_out" in t.predictions]
    parts = [t.predictions["held_out"] for t in once]
    if parts:
        run.predictions["held_out"] = _joined(parts)
        run.evidence += box_rows(run.predictions["held_out"], data.spec)
    store.write_json(folder / CV, scores)
    store.save_run(run, folder)
    ended = run.failure or f"{folds} folds in {run.seconds:.1f} s of training."
    note_down(folder, [parted(data, recipe), ended])
    result = Run.of(run, data)
    publish(result, folder, examples, data)
    return result


def _joined(parts: list[record.Predictions]) -> record.Predictions:
    """Predictions of all folds in the order of the data."""
    order = np.argsort(np.concatenate([p.index for p in parts]), kind="stable")

    def join(name: str) -> Any:
        values = [getattr(p, name) for p in parts]
        return None if any(v is None for v in values) else np.concatenate(values)[order]

    names = ("keys", "index", "target", "prediction", "probabilities", "loss")
    return record.Predictions(**{name: join(name) for name in names})


def improve(
    source: Any,
    *,
    budget: str | float | None = None,
    controls: bool = False,
    model: Model = "",
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    examples: bool = True,
    executor: str = "local",
    address: str = "",
    progress: Progress | None = None,
) -> Improvement:
    """Find what holds accuracy back, prove which remedies help, and train the better model.

    Args:
        budget: `10m`, `1h30m` or seconds; `60trials`; `2000epochs` of all trials together; None is no
            limit. Baseline and final models are trained in any case.
        controls: at the end put three arms on trial that were not chosen to help: the recipe with other
            seeds, with its learning rate tuned anew, and with a remedy drawn at random.
        executor, address: as for `cv`.
        source, model, settings, out, examples, progress: as for `fit`.
    """
    launched.refuse_several("improve")
    limit = limit_of(budget)
    where = Where(executor, address).check()
    start = begin(source, model, settings)
    check_folds(start)
    check_paired(start.recipe)
    _check_candidate(start)
    call = {"examples": examples, "budget": str(limit or ""), "controls": controls}
    with resumable(new_folder(start, out, **call)) as folder:
        return improved(start, folder, limit, examples, progress, where, controls=controls)


def improved(
    start: Start,
    folder: Path,
    limit: Limit | None,
    examples: bool,
    progress: Progress | None,
    where: Where,
    *,
    controls: bool = False,
    more: bool = False,
) -> Improvement:
    from fitwell.improve import improve as run_improve

    say_parted(start, progress)
    with open_executor(start.data, start.recipe, folder, where) as executor:
        result = run_improve(
            start.data,
            start.recipe,
            out=folder,
            budget=limit,
            progress=progress,
            executor=executor,
            controls=controls,
            more=more,
        )
    note_down(folder, [parted(start.data, start.recipe), *result.sentences])
    data = read_for(start.data, result.recipe)  # as the final model saw it
    if data is not start.data:
        call = store.read_json(folder / store.CALL)
        store.write_json(folder / store.CALL, {**call, "resized": data.fingerprint})
    publish(result, folder, examples, data)
    return Improvement(result, data)
