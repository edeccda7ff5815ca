"""Going on with what one of the verbs that train began."""

from pathlib import Path
from typing import Any

from fitwell import launched, record, store
from fitwell.api.folders import Progress, written
from fitwell.api.results import Improvement, Run, Search
from fitwell.api.start import Start
from fitwell.api.training import CV, closed, cross_validated, improved
from fitwell.data import read, split
from fitwell.errors import FolderError
from fitwell.options import as_read
from fitwell.recipe import Recipe
from fitwell.trials.budget import limit_of
from fitwell.trials.choosing import Where

STATES = {
    "improve": "improve.json",
    "search": "search.json",
}  # verb -> the file that it goes on from


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
    with losing_none(processes, folder), written(folder, processes):
        if kind == "cv":
            more_of_it = {key: call[key] for key in ("sizes", "vary") if key in call}
            return cross_validated(start, folder, examples, progress, where, **more_of_it)
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
            return improved(start, folder, limit, examples, progress, where, **asked_too)
        rows = split.fit_rows(start.data, start.options, start.seed)
        result = go_on(folder, start.data, rows, progress=said, processes=processes)
        ended = processes.first(lambda: closed(result, start.data, rows, examples))
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
