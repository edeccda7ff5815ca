"""The verb that compares: two recipes, runs or lists of scores."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitwell import launched, record, store
from fitwell.api.folders import Progress
from fitwell.api.scores import compared_scores, scores_in
from fitwell.api.start import Start, begin, given, over, recipe_of
from fitwell.errors import FolderError, Interrupted, SettingError
from fitwell.recipe import Recipe
from fitwell.record import Verdict
from fitwell.trials.choosing import Where, open_executor


def compare(
    first: Any,
    second: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    executor: str = "local",
    address: str = "",
    progress: Progress | None = None,
) -> Verdict:
    """Whether `second` is better than `first`: paired trials, or their recorded folds.

    Two cross-validations of the same folds are compared as recorded, and so are two lists of scores.
    Anything else is trained again: both recipes on the same folds, seeds and data order, 3 repeats of K
    folds.

    Args:
        first, second: runs, run folders, recipes or recipe files; or both the scores of the same folds in
            the same order: lists of numbers, or files of them (text, CSV, `cv --json`).
        settings: put over both. Of scores `data.folds` (K, of one repeat; 5), `score.name` (accuracy) and
            `score.min_effect`.
        executor, address: as for `cv`.

    Raises:
        SettingError: the two are of different data or judged by different scores.
    """
    launched.refuse_several("compare")
    where = Where(executor, address).check()
    extra = given("", settings)
    if scores_in(first) or scores_in(second):
        return _judged(*compared_scores(first, second, extra), _name(second))
    runs = [_recorded(item) for item in (first, second)]
    if not extra and runs[0] is not None and runs[1] is not None:
        same = _same_conditions(runs[0], runs[1])
        if same and (verdict := _from_record(runs[0], runs[1])) is not None:
            return verdict
    recipes = [recipe_of(item) for item in (first, second)]
    for item, recipe in zip((first, second), recipes, strict=True):
        if recipe is None:
            raise FolderError(
                f"{item} is neither a run folder nor a recipe file. Name two of these; `fitwell list "
                "runs` shows the runs below ./runs.",
                where=str(item),
            )
    base = recipes[0]
    assert base is not None and recipes[1] is not None
    other = Recipe(over(recipes[1], extra))
    if not other.get("source"):
        other = other.edit({"source": base.get("source", "")})
    start = _begun(first, Recipe(over(base, extra)), other, extra)
    return _trained(start, other, _name(second), progress, where)


def _begun(first: Any, base: Recipe, other: Recipe, extra: Mapping[str, Any]) -> Start:
    """The data in windows that suit the look-back of both recipes; the recipe is the first."""
    lengths = [int(recipe.get("data.look_back", 0)) for recipe in (base, other)]  # type: ignore[arg-type]
    if lengths[0] == lengths[1] or not base.get("source"):
        return begin(first if not extra else base, "", extra)
    longer = 0 if 0 in lengths else max(lengths)
    start = begin(base.edit({"data.look_back": longer}))
    return replace(start, recipe=start.recipe.edit({"data.look_back": lengths[0]}))


def _name(item: Any) -> str:
    if isinstance(item, str | Path):
        return Path(item).name
    folder = getattr(item, "folder", None)
    return folder.name if folder else "second"


def _recorded(item: Any) -> list[record.Run] | None:
    """The finished folds of a cross-validation, or None."""
    if isinstance(item, str | Path):
        if not (Path(item) / "cv.json").is_file():
            return None
        item = store.open_run(Path(item))
    trials = [t for t in getattr(item, "trials", []) if t.fold is not None]
    done = bool(trials) and all(t.status == "done" and "held_out" in t.predictions for t in trials)
    return trials if done else None


def _same_conditions(first: Sequence[record.Run], second: Sequence[record.Run]) -> bool:
    """Whether both were trained on the same data, with equal threads and precision."""
    runs = [*first, *second]
    keys = ("machine", "threads", "precision")
    places = {run.folder.parent.parent for run in runs if run.folder is not None}
    data = {store.read_json(place / store.CALL).get("data") for place in places}
    return len(data) <= 1 and all(
        run.environment.get(key) == runs[0].environment.get(key) for run in runs for key in keys
    )


def _from_record(first: Sequence[record.Run], second: Sequence[record.Run]) -> Verdict | None:
    """The verdict of equal folds and seeds; None where they differ."""
    from fitwell.trials.scoring import metric_of, score_of

    def place(run: record.Run) -> tuple[int, int, int]:
        return (run.repeat, run.fold or 0, run.seed)

    ours, theirs = sorted(first, key=place), sorted(second, key=place)
    recipe, other = ours[0].recipe, theirs[0].recipe
    if recipe is None or other is None or [*map(place, ours)] != [*map(place, theirs)]:
        return None
    for a, b in zip(ours, theirs, strict=True):
        held, also = a.predictions["held_out"], b.predictions["held_out"]
        if not np.array_equal(held.index, also.index) or not np.array_equal(held.keys, also.keys):
            return None
    if recipe["score.name"] != other["score.name"]:
        return None
    name, metric = metric_of(recipe)
    before = [score_of(r, name) for r in ours]
    gains = [metric.gain(a, score_of(b, name)) for a, b in zip(before, theirs, strict=True)]
    if not np.isfinite(gains).all():
        return None
    return _judged(recipe, other, gains, float(np.mean(before)), _folder_name(theirs))


def _folder_name(trials: Sequence[record.Run]) -> str:
    folder = trials[0].folder
    return folder.parent.parent.name if folder else "second"


def _trained(
    start: Start, other: Recipe, name: str, progress: Progress | None, where: Where
) -> Verdict:
    from fitwell.refusals import check_paired
    from fitwell.resolve import complete
    from fitwell.trials.bench import Bench, Variant
    from fitwell.trials.budget import Budget
    from fitwell.trials.confirming import REPEATS

    data, recipe = start.data, start.recipe
    sources = [Recipe({"source": r["source"]}) for r in (recipe, other)]
    _comparable(*sources)  # first, since other data may be of another task
    other = complete(dict(other), data.spec)
    _comparable(recipe, other, boxes=data.spec.kind == "boxes")
    check_paired(recipe)
    check_paired(other)
    tell = progress or (lambda event, **facts: None)
    arms = [Variant("first", recipe), Variant("second", other)]
    with tempfile.TemporaryDirectory(prefix="fitwell-compare-") as folder:
        with open_executor(data, recipe, Path(folder), where) as executor:
            bench = Bench(data, executor, Budget(None), tell, recipe)
            places = [(r, f) for r in range(REPEATS) for f in range(bench.folds)]
            tell("phase", name="compare", total=2 * len(places))
            try:
                bench.settle_precision(bench.run([bench.task(arms[0], *places[0])]))
                tasks = [bench.task(arm, r, f) for r, f in places for arm in arms]
                runs = bench.run(tasks)
            except Interrupted:
                raise Interrupted(
                    "Interrupted. A comparison of recipes keeps no trials: the same command starts "
                    "again. `fitwell cv` of each keeps them, and compares in no time."
                ) from None
            tell("end")
            base = bench.baseline_scores(tasks[::2], runs[::2])
            gains = bench.differences(base, runs[1::2])
    failed = next((r.failure for r in runs[1::2] if r.status != "done"), "")
    verdict = _judged(recipe, other, list(map(float, gains)), float(base.mean()), name)
    return replace(verdict, why=failed) if failed else verdict


def _comparable(first: Recipe, second: Recipe, *, boxes: bool = False) -> None:
    for name, (a, b) in first.changes(second).items():
        if name == "data.look_back":  # both forecast the same steps
            continue
        if boxes and name == "data.image_size" and first["source"]:
            continue  # overlaps of boxes are the same at every size
        # "": the same data under the name of its source, or in memory.
        if name.startswith(("data.", "score.")) or (name == "source" and a and b):
            raise SettingError(
                f"{name} differs ({a} and {b}): the two must have the same data, folds and score to be "
                f"compared. Set it for both with {name}=...",
                setting=name,
            )


def _judged(
    first: Recipe, second: Recipe, gains: Sequence[float], baseline: float, name: str
) -> Verdict:
    from fitwell.trials.scoring import smallest_effect
    from fitwell.trials.statistics import decide, equivalence, paired_verdict

    folds = int(first["data.folds"])  # type: ignore[arg-type]
    settings = {n: b for n, (_, b) in first.changes(second).items() if n != "source"}
    known = [g for g in gains if np.isfinite(g)]
    common: dict[str, Any] = {
        "remedy": name,
        "stage": "confirm",
        "metric": str(first["score.name"]),
        "trials": len(gains),
        "settings": settings,
        "differences": tuple(g if np.isfinite(g) else None for g in gains),
    }
    if len(known) < len(gains):
        effect = float(np.mean(known)) if known else float("nan")
        return Verdict(effect=effect, low=None, high=None, p=None, decision="no evidence", **common)
    repeats, smallest = len(gains) // folds, smallest_effect(first, baseline)
    interval = paired_verdict(gains, folds, repeats)
    return Verdict(
        effect=interval.effect,
        low=interval.low,
        high=interval.high,
        p=interval.p,
        level=interval.level,
        decision=decide(interval, smallest),
        equivalence=equivalence(gains, folds, repeats, smallest),
        **common,
    )
