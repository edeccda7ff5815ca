"""The verbs that judge: diagnose, compare, evaluate, predict."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitwell import launched, record, store
from fitwell.api.folders import Progress
from fitwell.api.results import diagnosis_of, opened_run
from fitwell.api.scores import compared_scores, scores_in
from fitwell.api.start import Start, begin, given, over, recipe_of
from fitwell.data import Data
from fitwell.errors import FolderError, Interrupted, SettingError
from fitwell.improve.state import STATE as IMPROVED
from fitwell.improve.state import read_improvement
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Scores, Verdict, json_ready
from fitwell.search.result import STATE as SEARCHED
from fitwell.trials.choosing import Where, open_executor


def diagnose(*runs: Any, measure: bool = False) -> Diagnosis:
    """What holds the runs back, with evidence; no findings is an answer.

    Args:
        runs: Runs, run folders, improvements; of a cross-validation its folds are read. All of one
            recipe: together they are one body of evidence.
        measure: run the experiments that are missing and write their rows into the run folder: a check of
            the data, what the scores owe to copies, reference models, a classifier of the parts, a range
            test of the learning rate, and, where the fit is poor, one batch to be learned by heart, a
            training without dropout, penalties and augmentation, and one of twice the epochs.

    Raises:
        FolderError: `measure`, and the data of the run is not at hand or has changed.
    """
    flat = [run for item in runs for run in _each(item)]
    if not flat:
        raise FolderError("Name at least one run to diagnose.")
    known = [run.recipe for run in flat if run.recipe is not None]
    for recipe in known:
        if changes := {n: v for n, v in known[0].changes(recipe).items() if n != "train.seed"}:
            name, (one, other) = next(iter(changes.items()))
            raise SettingError(
                f"{name} is {one} in one run and {other} in another: runs of different recipes are "
                "no evidence for each other. Diagnose them one by one.",
                setting=name,
            )
    if measure:
        rows = _measured(runs[0], flat)
        flat = [replace(flat[0], evidence=[*flat[0].evidence, *rows]), *flat[1:]]
    return diagnosis_of(flat)


def _measured(item: Any, flat: Sequence[record.Run]) -> list[record.Row]:
    """Rows of the experiments that the runs lack, written into the folder of the first run too."""
    from fitwell.improve.evidence import gather

    run = flat[0]
    if run.recipe is None:
        raise FolderError(
            "--measure trains again, and this run has no recipe: it was watched or written by hand. "
            "Diagnose it without; watch.diagnose(measure=True) measures while the loop is at hand.",
            where=str(run.folder or ""),
        )
    data = getattr(item, "data", None)
    if data is None and not run.recipe.get("source"):
        raise FolderError(
            "--measure reads the data again, and that of this run was in memory. Give the run itself: "
            "fw.diagnose(run, measure=True).",
            where=str(run.folder or ""),
        )
    since = run.spec.since if run.spec else 0
    read_as = run.recipe.edit({"data.look_back": since}) if since else run.recipe
    data = data or begin(read_as).data
    if run.folder is not None:  # a trial's call is that of what it is a trial of
        place = run.folder if run.fold is None else run.folder.parent.parent
        if (place / store.CALL).is_file():
            store.check_same_data(place, data.fingerprint, "Put it back as it was, or train again.")
    have = {str(row.get("experiment")) for each in flat for row in each.evidence}
    seed = int(run.recipe["train.seed"])  # type: ignore[arg-type]
    rows = json_ready(gather(data, run.recipe, flat, repeat=0, seed=seed, have=have))
    if run.folder is not None:
        with store.locked(run.folder):
            store.append_rows(run.folder / "evidence.jsonl", rows)
    return rows


def _each(item: Any) -> list[record.Run]:
    if isinstance(item, list | tuple):
        return [run for part in item for run in _each(part)]
    if isinstance(item, str | Path):
        item = store.open_run(Path(item))
    folder = getattr(item, "folder", None)
    for state in (IMPROVED, SEARCHED):
        if folder is not None and (folder / state).is_file():
            item = read_improvement(folder, state)  # the folder holds the trials of every variant
    if not isinstance(item, record.Run):
        return list(item.final_folds)  # an improvement
    return [t for t in item.trials if t.fold is not None] or [replace(item, trials=[])]


def evaluate(
    run: Any, source: Any = None, *, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`{"scores", "test_looks"}` of a run's model on its test part, or on all of another source."""
    from fitwell.predict import evaluate as evaluate_run

    opened = opened_run(run)
    values = given("", settings)
    options = {k[5:]: v for k, v in values.items() if k.startswith("data.")}
    data = getattr(run, "data", None)
    if source is None and data is not None and opened.recipe and not opened.recipe["source"]:
        from fitwell.data import split

        rows = split.fit_rows(data, opened.recipe.section("data"), opened.seed).held_out
        source = _part_of(data, rows)
    scores: Scores = evaluate_run(opened, source, options)
    return {"scores": scores, "test_looks": opened.test_looks}


def _part_of(data: Data, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(X, y) of some rows as they came in."""
    classes = np.asarray(data.spec.classes)
    targets = data.targets[rows]
    return data.inputs[rows], classes[targets] if data.spec.task == "classification" else targets


def predict(
    run: Any, inputs: Any, *, ahead: int | str = 0, out: str | Path | None = None
) -> list[dict[str, Any]]:
    """`[{"input", "prediction", "probability"}]` of files, arrays or a DataFrame.

    Args:
        ahead: of a forecast, so many steps; 0: `data.horizon`.
        out: of a detector: a new folder for the pictures with the boxes drawn into them, and
            `predictions.json`.

    Raises:
        SettingError: `ahead` is no number of steps; `out`, and the model finds no boxes.
        FolderError: `out` holds something already.
    """
    from fitwell.predict import predict as predict_inputs

    if not str(ahead).isdigit():
        raise SettingError(
            f"ahead = {ahead}: must be a whole number of steps; 0 is data.horizon.", setting="ahead"
        )
    opened = opened_run(run)
    if out is None:
        return predict_inputs(opened, inputs, ahead=int(ahead))
    from fitwell.pictures.found import draw_found, refuse_full

    spec = opened.spec
    if spec is None or spec.task != "detection":
        raise SettingError(
            "--out: pictures are written of boxes that were found, and this model finds none. Leave it "
            "out; --json prints all that it says.",
            setting="out",
        )
    refuse_full(Path(out))
    rows = predict_inputs(opened, inputs)
    draw_found(rows, spec.classes, Path(out))
    return rows


def generate(
    run: Any,
    prompt: str = "",
    *,
    length: int = 500,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stream: Callable[[str], Any] | None = None,
) -> str:
    """The text that a model of language writes behind a prompt.

    Args:
        run: a Run or run folder of one text.
        prompt: how it begins; empty: as a text does.
        length: tokens to write.
        temperature: below 1 likely tokens become likelier, 0 takes the likeliest each time.
        top_k: draw from so many of the likeliest tokens; 0: from all.
        top_p: draw from the fewest likeliest tokens that have so much of the probability.
        seed: the same text for the same seed.
        stream: called with each piece of the text as it is drawn.

    Raises:
        FolderError: the run has no weights, or is of no language.
        SettingError: an option out of its range, or a prompt of characters that the model never saw.

    Source: see `fitwell.train.generating.next_token`
    """
    from fitwell.generate import generate as pieces_of

    options = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    said = []
    for piece in pieces_of(opened_run(run), prompt, **options, seed=seed):
        said.append(piece)
        if stream is not None:
            stream(piece)
    return "".join(said)


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
        if name == "train.seed":
            continue  # both arms get the seeds of the first


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
