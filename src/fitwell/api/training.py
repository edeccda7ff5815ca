"""The verbs that train: fit, cv, improve, and going on with one of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from fitwell import launched, record, store
from fitwell.api.results import Improvement, Run, Search, own_diagnosis, write_report
from fitwell.api.start import Model, Start, begin, given
from fitwell.data import Data, read, split
from fitwell.errors import FitwellError, FolderError, Interrupted, going_on
from fitwell.options import as_read
from fitwell.recipe import Recipe
from fitwell.resolve import check_batch, check_paired, check_patience
from fitwell.trials.budget import Limit, limit_of
from fitwell.trials.choosing import Where, open_executor

Progress = Callable[..., Any]
STATES = {
    "improve": "improve.json",
    "search": "search.json",
}  # verb -> the file that it goes on from
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
    from fitwell.train.distributed import check_device, check_same, join, losing_none

    processes = join()

    def ready() -> tuple[Start, split.Rows]:
        start = begin(source, model, settings)
        rows = split.fit_rows(start.data, start.options, start.seed)
        check_batch(start.recipe, len(rows.train))
        check_patience(start.recipe, len(rows.validation))
        check_device(processes, str(start.recipe["train.device"]))
        return start, rows

    start, rows = processes.in_turn(ready)
    check_same(processes, start.data.fingerprint, start.recipe)
    folder = processes.first(lambda: _folder(start, out, examples=examples))
    said = progress if processes.leads else None
    with losing_none(processes, folder), _written(folder, processes):
        _say_parted(start, said)
        run = train_once(
            start.data,
            rows,
            start.recipe,
            seed=start.seed,
            folder=folder if processes.leads else None,
            progress=said,
            processes=processes,
        )
        ended = processes.first(lambda: _ended(run, start.data, rows, examples))
    return Run.of(ended, start.data)


def _ended(run: record.Run, data: Data, rows: split.Rows, examples: bool) -> record.Run:
    """Count the look at the test part, write the report, and give the run."""
    assert run.folder is not None
    if "test" in run.scores and not run.test_looks:
        run.test_looks = store.look_at_test(data.test_fingerprint(rows.held_out), run.folder.name)
        store.save_run(run, run.folder, rows=False)
    assert run.recipe is not None
    ended = run.failure or f"Trained in {run.seconds:.1f} s."
    _log(run.folder, [_parted(data, run.recipe), ended])
    _report(Run.of(run, data), run.folder, examples, data)
    return run


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
    _check_folds(start)
    asked_for(start, sizes=sizes, vary=vary)  # refused before anything is written
    call = {"examples": examples, "sizes": sizes, "vary": vary}
    with _resumable(_folder(start, out, **call)) as folder:
        return _cross_validate(start, folder, examples, progress, where, sizes=sizes, vary=vary)


def _check_folds(start: Start) -> None:
    """Refuse more folds than examples, and a batch that is larger than the smallest fold's rest."""
    data, options, seed = start.data, start.options, start.seed
    folds = range(int(start.recipe["data.folds"]))  # type: ignore[arg-type]
    rows = [split.fold_rows(data, options, fold=f, repeat=0, seed=seed) for f in folds]
    check_batch(start.recipe, min(len(part.train) for part in rows))
    check_patience(start.recipe, min(len(part.validation) for part in rows))


def _check_candidate(start: Start) -> None:
    """Refuse a pretrained network to be tried whose weights are not there, do not fit, or know other
    images than these."""
    from fitwell.improve.variants import candidate_recipe
    from fitwell.train.job import check_buildable, moments_of

    if candidate := candidate_recipe(start.recipe, start.data.spec):
        check_buildable(candidate, start.data.spec)
        moments_of(candidate, start.data, np.arange(len(start.data)))


def _cross_validate(
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
    from fitwell.trials.crossval import cross_validate, repeats_of, summary, write_folds

    data, recipe = start.data, start.recipe
    folds = int(recipe["data.folds"]) * repeats_of(recipe)  # type: ignore[arg-type]
    run = record.Run(recipe=recipe, spec=data.spec, seed=start.seed, folder=folder)
    run.status = "running"
    store.save_run(run, folder)
    if not (folder / CV).exists():
        store.write_json(folder / CV, {})
    write_folds(folder, data, recipe)
    _say_parted(start, progress)
    threads = int(recipe["train.threads"])  # type: ignore[arg-type]
    with open_executor(data, folder, where, trials=folds, threads=threads) as executor:
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
    store.write_json(folder / CV, scores)
    store.save_run(run, folder)
    ended = run.failure or f"{folds} folds in {run.seconds:.1f} s of training."
    _log(folder, [_parted(data, recipe), ended])
    result = Run.of(run, data)
    _report(result, folder, examples, data)
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
    _check_folds(start)
    check_paired(start.recipe)
    _check_candidate(start)
    call = {"examples": examples, "budget": str(limit or ""), "controls": controls}
    with _resumable(_folder(start, out, **call)) as folder:
        return _improve(start, folder, limit, examples, progress, where, controls=controls)


def _improve(
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

    _say_parted(start, progress)
    threads = int(start.recipe["train.threads"])  # type: ignore[arg-type]
    with open_executor(start.data, folder, where, threads=threads) as executor:
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
    _log(folder, [_parted(start.data, start.recipe), *result.sentences])
    _report(result, folder, examples, start.data)
    return Improvement(result, start.data)


def resume(
    run: Any,
    *,
    source: Any = None,
    budget: str | float | None = None,
    storage: str = "",
    examples: bool | None = None,
    executor: str = "local",
    address: str = "",
    progress: Progress | None = None,
) -> Run | Improvement:
    """Go on with an interrupted fit, cross-validation, improvement or search; a finished one is given back.

    Args:
        run: a run folder, or a Run that has one.
        source: the data, where the recipe does not name it (arrays in memory).
        budget: of an improvement or a search, earlier time included; as it was asked for by default. One
            that has ended goes on where this is more than it had.
        storage: of a search, where its address has a password; or that stands in PGPASSWORD.
        examples: whether the report may hold examples; as it was asked for by default.
        executor, address: as for `cv`; where the trials before ran does not matter.

    Raises:
        FolderError: no run folder, or its data is not the same any more.
    """
    from fitwell.train import resume as go_on
    from fitwell.train.distributed import ALONE, check_device, check_same, join, losing_none

    where = Where(executor, address).check()
    folder = run.folder if isinstance(run, record.Run) else Path(run)
    if folder is None:
        raise FolderError("This run has no folder, so there is nothing to go on from.")
    kind = verb_of(folder)
    if kind != "fit":
        launched.refuse_several(f"resume of {kind}")
    processes = join() if kind == "fit" else ALONE
    old = store.open_run(folder, trials=kind == "cv")
    reported = (folder / "report.html").exists()  # the last file; a full disk may have cost it
    named = old.recipe is not None and bool(old.recipe.get("source"))
    if old.status == "done" and kind not in STATES and (reported or not named):
        return Run.of(old)
    if old.recipe is None:
        raise FolderError(
            f"{folder} has no recipe.toml, so it cannot go on. Start again with `fitwell {kind}`.",
            where=str(folder),
        )
    recipe, more = old.recipe, False
    call = store.read_json(folder / store.CALL)
    asked, limit = limit_of(call.get("budget")), limit_of(budget)
    if kind in STATES:
        path = folder / STATES[kind]
        with store.reading(path):
            state = store.read_json(path)
            recipe = type(recipe)(state["baseline_recipe"])
        more = limit is not None and asked is not None and limit.exceeds(asked)
        if state["status"] == "done" and not more and (reported or not named):
            return _ended_before(folder, kind)
    examples = call.get("examples", True) if examples is None else examples
    start = processes.in_turn(lambda: _again(recipe, source, old))
    instead = f"Start again with `fitwell {kind}`."
    store.check_same_data(folder, start.data.fingerprint, instead)
    check_same(processes, start.data.fingerprint, start.recipe)
    check_device(processes, str(start.recipe["train.device"]))
    said = progress if processes.leads else None
    with losing_none(processes, folder), _written(folder, processes):
        if kind == "cv":
            more_of_it = {key: call[key] for key in ("sizes", "vary") if key in call}
            return _cross_validate(start, folder, examples, progress, where, **more_of_it)
        if kind in STATES:
            if limit is not None:  # what is asked for now is what a later call goes on with
                store.write_json(folder / store.CALL, {**call, "budget": str(limit)})
            limit = limit or asked
        if kind == "search":
            from fitwell.api.searching import run_search, with_password

            call = with_password(call, storage)
            return run_search(start, folder, call, limit, examples, progress, where, more=more)
        if kind == "improve":
            asked_too = {"controls": bool(call.get("controls")), "more": more}
            return _improve(start, folder, limit, examples, progress, where, **asked_too)
        rows = split.fit_rows(start.data, start.options, start.seed)
        result = go_on(folder, start.data, rows, progress=said, processes=processes)
        ended = processes.first(lambda: _ended(result, start.data, rows, examples))
    return Run.of(ended, start.data)


def _ended_before(folder: Path, kind: str) -> Improvement:
    """An improvement or a search that has ended, from its files."""
    if kind == "search":
        from fitwell.search.result import read_search

        return Search(read_search(folder))
    from fitwell.improve import read_improvement

    return Improvement(read_improvement(folder))


def verb_of(folder: Path) -> str:
    """The verb that wrote a run folder: "fit", "cv", "improve" or "search"."""
    for verb, name in STATES.items():
        if (folder / name).is_file():
            return verb
    return "cv" if (folder / CV).is_file() else "fit"


def _again(recipe: Any, source: Any, old: record.Run) -> Start:
    named = str(recipe["source"])
    if source is None and not named:
        raise FolderError("This run was trained on data in memory: give it as `source`.")
    options = Recipe(as_read(recipe, old.spec)).section("data") | {"seed": recipe["train.seed"]}
    data = read(named if source is None else source, options)
    return Start(data, dict(recipe), recipe)


def _folder(start: Start, out: str | Path | None, **call: Any) -> Path:
    """A new run folder, made once model and device are known to be there; it keeps the call."""
    from fitwell.train.job import check_buildable

    check_buildable(start.recipe, start.data.spec)
    model = str(start.recipe["model.name"]).replace(":", ".").rpartition(".")[2]
    folder = store.new_folder(Path(out) if out else None, source=start.data.name, model=model)
    store.write_json(folder / store.CALL, {"data": start.data.fingerprint, **call})
    return folder


def _written(folder: Path, processes: Any) -> AbstractContextManager[Any]:
    """`_resumable` for the one of the processes that writes."""
    return _resumable(folder) if processes.leads else nullcontext()


@contextmanager
def _resumable(folder: Path) -> Iterator[Path]:
    """Ctrl-C at any moment names the command that goes on; a folder with nothing in it is removed.

    No other process may write into it meanwhile.
    """
    try:
        with store.locked(folder):
            yield folder
    except KeyboardInterrupt:
        if not (folder / "recipe.toml").exists():
            store.release(folder)
            raise
        raise Interrupted(
            f"Interrupted; what was finished is saved. Go on with: {going_on(folder)}",
            where=str(folder),
        ) from None
    except FitwellError:
        store.release(folder)
        raise


def _parted(data: Data, recipe: Recipe) -> str:
    """How the examples were parted, for the log."""
    return f"Split: {split.reason(data, recipe.section('data'))}"


def _say_parted(start: Start, progress: Progress | None) -> None:
    if progress is not None:
        progress("note", text=_parted(start.data, start.recipe))


def _log(folder: Path, lines: list[str]) -> None:
    with store.saying_no_space(folder), (folder / "log.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _report(result: Any, folder: Path, examples: bool, data: Data) -> None:
    """Write findings and report; a run that ended well is not lost to a picture that fails."""
    diagnosis = None
    try:
        if isinstance(result, Run):  # an improvement has written its own
            diagnosis = own_diagnosis(result)
            store.write_json(folder / "findings.json", diagnosis.to_json())
        place = folder / "report.html"
        write_report(result, place, examples=examples, data=data, diagnosis=diagnosis)
    except FitwellError:
        raise
    except Exception as error:
        import warnings

        _log(folder, [f"The report could not be written: {type(error).__name__}: {error}"])
        warnings.warn(f"{folder}: the report could not be written: {error}", stacklevel=3)


__all__ = ["cv", "fit", "given", "improve", "resume", "verb_of"]
