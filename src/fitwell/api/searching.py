"""The verb that searches: hyper-parameters, by Optuna."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from fitwell import launched
from fitwell.api.folders import (
    check_folds,
    new_folder,
    note_down,
    parted,
    publish,
    resumable,
    say_parted,
)
from fitwell.api.results import Search
from fitwell.api.start import Model, Start, begin, given
from fitwell.errors import SettingError, did_you_mean
from fitwell.search.asking import PRUNERS, SAMPLERS
from fitwell.search.space import Dimension, space_of
from fitwell.search.storage import nameless, needed, place_of
from fitwell.search.usual import usual_space
from fitwell.trials.budget import Limit, limit_of
from fitwell.trials.choosing import Where, open_executor

TRIALS = 50  # where neither a budget nor a number of trials is given

Space = Mapping[str, Any]


def search(
    source: Any,
    *,
    space: Space | None = None,
    budget: str | float | None = None,
    trials: int | str = 0,
    sampler: str = "tpe",
    pruner: str = "wilcoxon",
    storage: str = "",
    study: str = "",
    model: Model = "",
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    examples: bool = True,
    executor: str = "local",
    address: str = "",
    progress: Any = None,
) -> Search:
    """Search for better settings with Optuna, prove the best ones, and train the final model.

    Every trial is K-fold cross-validation of one point of the space, and scores the mean over the folds.
    The best one is then compared with the recipe as it came on fresh folds and seeds, as a remedy is: what
    was selected by its score is not believed by that score.

    Args:
        space: setting -> `LOW..HIGH`, `LOW..HIGH:log` or choices (`A,B,C` or a list); by default a few that
            matter for the model, `fitwell.search.usual`.
        budget: as for `improve`, with the proof and the final model.
        trials: at most so many; 0 is no limit, or 50 where there is no budget either.
        sampler: `tpe` (tree-structured Parzen estimator), `random`, or `grid` (5 values of a range).
        pruner: what gives up a trial after some of its folds: `wilcoxon` (paired with the best one's),
            `median` (of all trials after as many folds), or `none`.
        storage: address of a PostgreSQL database that several machines share; by default a SQLite file in
            the run folder.
        study: its name there: calls of the same name work on the same study.
        executor, address: as for `cv`.
        source, model, settings, out, examples, progress: as for `fitwell.fit`.

    Raises:
        SettingError: also a space that names no setting, or values that it may not hold; a database that
            cannot be reached; a budget too small for one trial.
        TrainingError: every trial failed.
        StorageError: the database stopped answering; `resume` goes on.
    """
    launched.refuse_several("search")
    needed()
    where = Where(executor, address).check()
    limit = limit_of(budget)
    call: dict[str, Any] = {
        "trials": _whole(trials) or (0 if limit else TRIALS),
        "sampler": _one_of("sampler", sampler, SAMPLERS),
        "pruner": _one_of("pruner", pruner, PRUNERS),
        "storage": nameless(storage),
        "study": study,
        "owner": uuid4().hex,
    }
    if bool(storage) != bool(study):
        raise SettingError(
            "storage and study go together: the address of the database, and the name of the study in it, "
            "such as --study shoes. Without both the search is kept in its run folder.",
            setting="study",
        )
    space_of(space or {}, given(model, settings))  # refused before the data is read
    from fitwell.refusals import check_paired

    start = begin(source, model, settings)
    check_folds(start)
    check_paired(start.recipe)
    asked = space or usual_space(start.recipe, start.data.spec)
    call["space"] = {d.name: d.text for d in dimensions_of(start, asked)}
    if storage:
        reachable(storage)
    kept = {**call, "examples": examples, "budget": str(limit or "")}
    with resumable(new_folder(start, out, **kept)) as folder:
        return run_search(
            start, folder, {**kept, "storage": storage}, limit, examples, progress, where
        )


def run_search(
    start: Start,
    folder: Path,
    call: Mapping[str, Any],
    limit: Limit | None,
    examples: bool,
    progress: Any,
    where: Where,
    *,
    more: bool = False,
) -> Search:
    """Search in a run folder, or go on there, as its call says."""
    from fitwell.report.searching import write_pictures
    from fitwell.search.flow import search as work
    from fitwell.search.result import Plan

    plan = Plan(
        dimensions_of(start, call["space"]),
        trials=int(call["trials"]),
        sampler=call["sampler"],
        pruner=call["pruner"],
        storage=call["storage"],
        study=call["study"] or "search",
        owner=call["owner"],
    )
    say_parted(start, progress)
    with open_executor(start.data, start.recipe, folder, where) as executor:
        result = work(
            start.data,
            start.recipe,
            plan,
            out=folder,
            budget=limit,
            progress=progress,
            executor=executor,
            more=more,
        )
    note_down(folder, [parted(start.data, start.recipe), *result.sentences])
    write_pictures(result)
    publish(result, folder, examples, start.data)
    return Search(result, start.data)


def dimensions_of(start: Start, space: Space) -> list[Dimension]:
    """The space, checked against the complete recipe.

    Raises:
        SettingError: see `space_of`; also where there is nothing to search over.
    """
    from fitwell.resolve import own_schemas

    model = str(start.recipe["model.name"])
    custom = {"model": own_schemas(model)} if ":" in model else None
    return space_of(space, start.recipe, custom)


def reachable(storage: str) -> None:
    """Refuse a database that cannot be reached, before there is a run folder."""
    from fitwell.search.storage import connect

    connect(place_of(storage, Path()))


def with_password(call: Mapping[str, Any], storage: str) -> dict[str, Any]:
    """The call of a search with the address that is given now, which may have a password.

    Raises:
        SettingError: it is another database.
    """
    if storage and nameless(storage) != call["storage"]:
        raise SettingError(
            f"storage = {nameless(storage)}: this search is kept in {call['storage'] or 'its run folder'}.",
            setting="storage",
        )
    return {**call, "storage": storage or call["storage"]}


def _one_of(name: str, value: str, options: tuple[str, ...]) -> str:
    if value not in options:
        raise SettingError(
            f"{name} = {value}: there is no such {name}.{did_you_mean(value, options)} Choose one of: "
            f"{', '.join(options)}.",
            setting=name,
        )
    return value


def _whole(trials: int | str) -> int:
    text = str(trials or 0)
    if not text.isdigit():
        raise SettingError(
            f"trials = {trials}: must be a whole number; 0 is no limit.", setting="trials"
        )
    return int(text)
