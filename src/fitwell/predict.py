"""A run's model at work: scores on a part or another source, predictions for new inputs."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fitwell import store
from fitwell.augment import views_of
from fitwell.box_scores import SHOWN
from fitwell.data import read, split
from fitwell.data.ahead import pasts
from fitwell.data.inputs import Inputs, read_inputs
from fitwell.data.letterbox import letterbox
from fitwell.data.looking_back import as_parted, looking_back
from fitwell.data.tokens import Tokens
from fitwell.data.types import UNUSED, Data, many, some
from fitwell.errors import FolderError, SettingError
from fitwell.record import Predictions, Run
from fitwell.spec import Spec
from fitwell.tasks import Decoded, task_of
from fitwell.tasks.box_mistakes import box_rows
from fitwell.train import load_model

OF_BOXES = ("classes", "sizes", "lost")  # what is told of a detector beside its scores


def decode(run: Run, values: np.ndarray) -> Decoded:
    """What the run's model says of raw inputs: [example] predictions, [example, class] probabilities.

    Raises:
        FolderError: the run has no weights.
    """
    from fitwell.train.evaluate import decoded

    # The targets are not looked at: they only make these inputs a part like any other.
    model, batches, precision = _at_hand(run, values, np.zeros(len(values), np.int64))
    spec, recipe = _known(run)
    return decoded(model, batches, task_of(spec), precision, views_of(recipe))


def _at_hand(run: Run, values: np.ndarray, targets: np.ndarray) -> tuple[Any, Any, str]:
    """(the model on its device, raw inputs and targets as batches, precision)."""
    from fitwell.data.token_batches import batches_for
    from fitwell.train.machine import choose_device, suits_channels_last

    spec, recipe = _known(run)
    model, preprocess = load_model(run)
    if preprocess.tokens is not None:
        _say_unknown(preprocess.tokens, values)
    device = choose_device(str(recipe.get("train.device", "auto")))
    channels_last = suits_channels_last(model, spec)
    carried = recipe.get("train.state") == "carried"
    batches = batches_for(spec, preprocess, carried=carried)(
        values,
        targets,
        np.arange(len(values)),
        batch_size=task_of(spec).evaluated,
        device=device,
        preprocess=preprocess,
        channels_last=channels_last,
        shuffle=False,
    )
    if channels_last:
        import torch

        model = model.to(memory_format=torch.channels_last)
    return model.to(device), batches, str(run.environment.get("precision", "float32"))


def _say_unknown(tokens: Tokens, texts: np.ndarray) -> None:
    """Warn of characters of texts that the training text never had. Of words some are always unknown, which
    `check` says; byte pairs know all."""
    if tokens.how != "character":
        return
    counts, known = Counter("".join(texts.tolist())), set(tokens.vocabulary)
    new = {ascii(c): counts[c] for c in sorted(counts) if c not in known}
    if new:
        warnings.warn(
            f"{sum(new.values()) / counts.total():.1%} of the text are {many(len(new), 'character')} that "
            f"the training text never had: {some(new)}. Each costs what the model holds an unknown one to "
            "be likely.",
            stacklevel=4,
        )


def evaluate(
    run: Run, source: Any = None, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`{"scores", "test_looks"}` of the run's model on its test part, or on all of another source; of a
    detector also `classes`, `sizes` and `lost`, as `fitwell.tasks.box_mistakes.box_rows` has them.

    The look at the data is counted, and `run.test_looks` says how often it was looked at.

    Args:
        source: anything that `fitwell.data.read` takes; None: the source of the recipe.
        options: settings `data.*` of the other source, without the prefix.

    Raises:
        FolderError: the run has no weights, no source, or no test part.
        DataError: the source cannot be read, or does not fit the model.
    """
    from fitwell.train.evaluate import evaluated
    from fitwell.train.job import build_loss

    spec, recipe = _known(run)
    data, rows = scored_rows(run, source, options)
    model, batches, precision = _at_hand(run, data.inputs[rows], data.targets[rows])
    loss, views = build_loss(recipe), views_of(recipe)
    found = evaluated(model, batches, task_of(spec), loss, precision, views)
    name = run.folder.name if run.folder else "a run in memory"
    run.test_looks = store.look_at_test(data.test_fingerprint(rows), f"evaluate {name}")
    if source is None and run.folder is not None:
        store.save_state(run, run.folder)
    told = Predictions(
        data.keys[rows], rows, found.target, found.decoded.prediction, None, found.loss
    )
    tables = {name: row[name] for row in box_rows(told, spec) for name in OF_BOXES}
    return {"scores": found.scores, "test_looks": run.test_looks, **tables}


def scored_rows(
    run: Run, source: Any = None, options: Mapping[str, Any] | None = None
) -> tuple[Data, np.ndarray]:
    """The data and the rows that `evaluate` scores."""
    spec, recipe = _known(run)
    if source is not None:
        data = read(source, options or {}, like=spec)
        return data, np.flatnonzero(data.part != UNUSED)
    if not recipe["source"]:
        raise FolderError("This run was trained on arrays in memory: name the data to score it on.")
    options = recipe.section("data") | {"seed": recipe["train.seed"]}
    data = read(str(recipe["source"]), options, like=as_parted(spec))
    if run.folder is not None:
        instead = "Name the data to score the model on, if none of it was trained on."
        store.check_same_data(run.folder, data.fingerprint, instead)
    parts = split.fit_rows(data, recipe.section("data"), run.seed)
    if spec.since:
        data, parts = looking_back(data, parts, spec.input_shape[1])
    rows = parts.held_out
    if not len(rows):
        raise FolderError(
            "This run has no test part (data.test = 0): name another source to score it on.",
            where=str(run.folder or ""),
        )
    return data, rows


def _known(run: Run) -> tuple[Spec, Any]:
    if run.spec is None or run.recipe is None:
        raise FolderError(
            "This run has no recipe and spec, so no model.", where=str(run.folder or "")
        )
    return run.spec, run.recipe


def predict(run: Run, inputs: Any, *, ahead: int = 0) -> list[dict[str, Any]]:
    """`[{"input", "prediction", "probability"}]`, one an example, or a step that is forecast.

    Args:
        inputs: image files or folders of them, a CSV or Parquet file with the model's columns, an
            `.npz` file, a .zip or .tar of one of these, several of them, an array, a DataFrame
            or a Dataset of Hugging Face. Targets are not needed. For a forecast, a table with times,
            or several: what comes after its end is forecast.
        ahead: steps that are forecast; 0: `data.horizon`. More of them go on from the model's own
            forecasts.

    Returns:
        prediction: the class's name, or the number in the target's own unit; probability: the
        share that the model gives this class, None for a number. Of several labels the names of those
        that are there, and the share of each; of several targets each number by its name.
        Of a forecast also time and step, and low and high: where 90 % of the held-out windows' errors at
        that step would put the truth; None where there were too few of them, or behind the horizon.
        Of boxes a list of `{"class", "box": [x1, y1, x2, y2]}` in pixels of the picture, the surest first,
        and their scores.

    Raises:
        BadData: inputs that the model cannot read.
        SettingError: `ahead` for a model that does not forecast, or more than it can.
    """
    spec, recipe = _known(run)
    if spec.tokens:
        raise FolderError(
            "A model of language predicts no target: it goes on with a text. Ask it with --prompt (in "
            "Python fw.generate), or score it on another text with `fitwell evaluate RUN FILE`.",
            where=str(run.folder or ""),
        )
    if spec.horizon:
        return _ahead(run, spec, recipe.section("data"), inputs, ahead)
    if ahead:
        raise SettingError(
            f"ahead = {ahead}: this model forecasts no series, it reads {spec.examples}. Leave it out.",
            setting="ahead",
        )
    found = read_inputs(inputs, spec)
    for problem in found.problems:
        warnings.warn(str(problem), stacklevel=3)
    decoded = decode(run, found.inputs)
    if spec.task == "detection":
        decoded = replace(decoded, prediction=_in_pictures(decoded.prediction, found, spec))
    said = [_said(decoded, i, spec) for i in range(len(found.keys))]
    return [
        {"input": key, "prediction": prediction, "probability": probability}
        for key, (prediction, probability) in zip(found.keys, said, strict=True)
    ]


def _ahead(
    run: Run, spec: Spec, options: Mapping[str, Any], source: Any, ahead: int
) -> list[dict[str, Any]]:
    """A row a step of each series, with the interval that held-out errors give."""
    ahead = ahead or spec.horizon
    targets, names = spec.targets or (spec.target,), [column.name for column in spec.columns]
    if ahead > spec.horizon and set(names) != set(targets):
        raise SettingError(
            f"ahead = {ahead}: the model forecasts {spec.horizon:,} steps, and to go on from its own "
            "forecasts it would need those of every column that it reads. Choose at most "
            f"{spec.horizon:,}, or train it to forecast all of them (data.target left out).",
            setting="ahead",
        )
    found = pasts(source, spec, options, ahead)
    for problem in (problem for past in found for problem in past.problems):
        warnings.warn(str(problem), stacklevel=4)
    x = np.stack([past.steps for past in found])
    parts: list[np.ndarray] = []
    places = [targets.index(name) for name in names] if ahead > spec.horizon else []
    while sum(part.shape[1] for part in parts) < ahead:
        said = decode(run, x).prediction.reshape(len(x), spec.horizon, -1)
        parts.append(said)
        if places:
            next_steps = said[:, :, places].transpose(0, 2, 1).astype(np.float32)
            x = np.concatenate([x, next_steps], axis=2)[:, :, -x.shape[2] :]
    said = np.concatenate(parts, axis=1)[:, :ahead].astype(np.float64)
    bounds = _bounds(run, spec, ahead)

    def named(values: np.ndarray) -> Any:
        known = [float(v) if np.isfinite(v) else None for v in values]
        return dict(zip(targets, known, strict=True)) if len(targets) > 1 else known[0]

    return [
        {
            "input": past.name,
            "time": past.times[step],
            "step": step + 1,
            "prediction": named(said[i, step]),
            "probability": None,
            "low": named(said[i, step] + bounds[0, step]),
            "high": named(said[i, step] + bounds[1, step]),
        }
        for i, past in enumerate(found)
        for step in range(ahead)
    ]


def _bounds(run: Run, spec: Spec, ahead: int) -> np.ndarray:
    """[low and high, step, target] what is added to a forecast; nan where it is not known."""
    found = np.full((2, ahead, max(1, len(spec.targets))), np.nan)
    for row in (row for row in run.evidence if row["experiment"] == "intervals"):
        known = np.array([row["low"], row["high"]]).reshape(2, spec.horizon, -1)[:, :ahead]
        found[:, : known.shape[1]] = known
    return found


def _in_pictures(boxes: np.ndarray, found: Inputs, spec: Spec) -> np.ndarray:
    """The boxes [example, box, 6] in pixels of the pictures as they were before they were fitted in."""
    out = boxes.copy()
    for each, size in zip(out, found.sizes, strict=True):
        each[:, 1:5] = letterbox(size, spec.kept_size).undone(each[:, 1:5])
    return out


def _said(decoded: Decoded, row: int, spec: Spec) -> tuple[Any, Any]:
    """(prediction, probability) of one example, as a person reads them."""
    value, chances = decoded.prediction[row], decoded.probabilities
    if spec.task == "detection":
        # What lies in the grey beside the picture alone has no area in it.
        there = (np.nan_to_num(value[:, 5]) >= SHOWN) & (value[:, 3:5] > value[:, 1:3]).all(1)
        shown = value[there].astype(float)
        boxes = [{"class": spec.classes[int(v[0])], "box": v[1:5].round(2).tolist()} for v in shown]
        return boxes, shown[:, 5].round(4).tolist()
    if chances is None:
        if not spec.several:
            return float(value), None
        return {n: float(v) for n, v in zip(spec.several, value, strict=True)}, None
    if spec.several:
        there = [name for name, yes in zip(spec.several, value, strict=True) if yes]
        return there, {n: float(c) for n, c in zip(spec.several, chances[row], strict=True)}
    return spec.classes[int(value)], float(chances[row, int(value)])
