"""A run's model at work: scores on a part or another source, predictions for new inputs."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fitwell import store
from fitwell.augment import views_of
from fitwell.box_scores import SHOWN
from fitwell.data import read, split
from fitwell.data.inputs import Inputs, read_inputs
from fitwell.data.letterbox import letterbox
from fitwell.data.types import Data
from fitwell.errors import FolderError
from fitwell.record import Run, Scores
from fitwell.spec import Spec
from fitwell.tasks import Decoded, task_of
from fitwell.train import load_model


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
    from fitwell.data.token_batches import batches_of
    from fitwell.train.job import evaluation_batch
    from fitwell.train.machine import choose_device, suits_channels_last

    spec, recipe = _known(run)
    model, preprocess = load_model(run)
    device = choose_device(str(recipe.get("train.device", "auto")))
    channels_last = suits_channels_last(model, spec)
    batches = batches_of(
        spec,
        values,
        targets,
        np.arange(len(values)),
        batch_size=evaluation_batch(spec),
        device=device,
        preprocess=preprocess,
        channels_last=channels_last,
        shuffle=False,
        carried=recipe.get("train.state") == "carried",
    )
    if channels_last:
        import torch

        model = model.to(memory_format=torch.channels_last)
    return model.to(device), batches, str(run.environment.get("precision", "float32"))


def evaluate(run: Run, source: Any = None, options: Mapping[str, Any] | None = None) -> Scores:
    """Scores of the run's model on its test part, or on all of another source.

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
    return found.scores


def scored_rows(
    run: Run, source: Any = None, options: Mapping[str, Any] | None = None
) -> tuple[Data, np.ndarray]:
    """The data and the rows that `evaluate` scores."""
    spec, recipe = _known(run)
    if source is not None:
        data = read(source, options or {}, like=spec)
        return data, np.arange(len(data))
    if not recipe["source"]:
        raise FolderError("This run was trained on arrays in memory: name the data to score it on.")
    options = recipe.section("data") | {"seed": recipe["train.seed"]}
    data = read(str(recipe["source"]), options, like=spec)
    if run.folder is not None:
        instead = "Name the data to score the model on, if none of it was trained on."
        store.check_same_data(run.folder, data.fingerprint, instead)
    rows = split.fit_rows(data, recipe.section("data"), run.seed).held_out
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


def predict(run: Run, inputs: Any) -> list[dict[str, Any]]:
    """`[{"input", "prediction", "probability"}]`, one an example.

    Args:
        inputs: image files or folders of them, a CSV or Parquet file with the model's columns, an
            `.npz` file, a .zip or .tar of one of these, several of them, an array, a DataFrame
            or a Dataset of Hugging Face. Targets are not needed.

    Returns:
        prediction: the class's name, or the number in the target's own unit; probability: the
        share that the model gives this class, None for a number. Of several labels the names of those
        that are there, and the share of each; of several targets each number by its name. Of boxes a list
        of `{"class", "box": [x1, y1, x2, y2]}` in pixels of the picture, the surest first, and their
        scores.
    """
    spec, _ = _known(run)
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
        shown = value[np.nan_to_num(value[:, 5]) >= SHOWN].astype(float)
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
