"""A run's model at work: scores on a part or another source, predictions for new inputs."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitwell import store
from fitwell.data import read, split
from fitwell.data.types import Data, refuse
from fitwell.errors import FolderError
from fitwell.record import Run, Scores
from fitwell.spec import Spec
from fitwell.tasks import Decoded, score, task_of
from fitwell.train import load_model

BATCH = 512
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class Inputs:
    """Inputs without targets.

    Args:
        values: [example, channel, height, width] uint8 or float32, or [example, column] float32.
        keys: [example] what to call each: its path, or its row.
    """

    values: np.ndarray
    keys: list[str]


def decode(run: Run, values: np.ndarray) -> Decoded:
    """What the run's model says of raw inputs: [example] predictions, [example, class] probabilities.

    Raises:
        FolderError: the run has no weights.
    """
    return _outputs(run, values)[0]


def _outputs(run: Run, values: np.ndarray) -> tuple[Decoded, Any, Any]:
    """(decoded, raw outputs [example, output], preprocessing)."""
    from fitwell.data.batches import Batches
    from fitwell.train.evaluate import outputs_of
    from fitwell.train.machine import choose_device, has_convolutions

    model, preprocess = load_model(run)
    assert run.spec is not None and run.recipe is not None
    task = task_of(run.spec)
    device = choose_device(str(run.recipe.get("train.device", "auto")))
    # The targets are not looked at: they only make these inputs a part like any other.
    batches = Batches(
        values,
        np.zeros(len(values), np.int64),
        np.arange(len(values)),
        batch_size=BATCH,
        device=device,
        preprocess=preprocess,
        channels_last=has_convolutions(model) and values.ndim == 4,
        shuffle=False,
    )
    if batches.layout is not None and has_convolutions(model) and values.ndim == 4:
        import torch

        model = model.to(memory_format=torch.channels_last)
    precision = str(run.environment.get("precision", "float32"))
    outputs = outputs_of(model.to(device), batches, precision)
    return task.decode(outputs.cpu().numpy(), preprocess.restore), outputs, preprocess


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
    import torch

    from fitwell.train.job import build_loss

    spec, recipe = _known(run)
    data, rows = scored_rows(run, source, options)
    decoded, outputs, preprocess = _outputs(run, data.inputs[rows])
    target = data.targets[rows]
    y = torch.from_numpy(preprocess.targets(target)).to(outputs.device)
    losses = build_loss(recipe)(outputs, y).cpu().numpy()
    name = run.folder.name if run.folder else "a run in memory"
    run.test_looks = store.look_at_test(data.test_fingerprint(rows), f"evaluate {name}")
    if source is None and run.folder is not None:
        store.save_state(run, run.folder)
    return score(task_of(spec), target, decoded, losses)


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
            `.npz` archive, several of these, an array, or a DataFrame. Targets are not needed.

    Returns:
        prediction: the class's name, or the number in the target's own unit; probability: the
        share that the model gives this class, None for a number.
    """
    spec, _ = _known(run)
    read_inputs_of = [inputs] if isinstance(inputs, str | Path) else inputs
    named = isinstance(read_inputs_of, list) and all(
        isinstance(item, str | Path) for item in read_inputs_of
    )
    found = (
        read_files([Path(item) for item in read_inputs_of], spec)
        if named
        else read_arrays(inputs, spec)
    )
    decoded = decode(run, found.values)
    rows = []
    for i, key in enumerate(found.keys):
        value = decoded.prediction[i]
        chances = decoded.probabilities
        rows.append(
            {
                "input": key,
                "prediction": spec.classes[int(value)] if spec.classes else float(value),
                "probability": float(chances[i, int(value)]) if chances is not None else None,
            }
        )
    return rows


def read_files(paths: Sequence[Path], spec: Spec) -> Inputs:
    """Every example in the files named, as the model reads it.

    Raises:
        DataError: a path is missing or unreadable, or does not fit the model.
    """
    if not paths:
        raise refuse("no_input", "No input was named.", "Give files or folders.", "predict")
    blocks, keys = [], []
    images: list[Path] = []
    for path in paths:
        if not path.exists():
            raise refuse(
                "missing_path",
                f"There is no file or folder {path}.",
                "Check the path and the current folder.",
                str(path),
            )
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES)
            if not inside:
                raise refuse(
                    "no_images",
                    f"{path} holds no image file.",
                    f"Images end in {', '.join(IMAGES)}.",
                    str(path),
                )
            images += inside
        elif path.suffix.lower() == ".npz":
            values, names = _npz(path, spec)
            blocks.append(values)
            keys += names
        elif path.suffix.lower() in IMAGES or spec.kind == "images":
            images.append(path)
        else:
            values, names = _table(path, spec)
            blocks.append(values)
            keys += names
    if images:
        blocks.append(_images(images, spec))
        keys += [str(path) for path in images]
    return Inputs(np.concatenate(blocks), keys)


def read_arrays(values: Any, spec: Spec) -> Inputs:
    """An array or DataFrame as the model reads it."""
    if hasattr(values, "columns") and spec.kind == "table":
        from fitwell.data.table import load_frame, read_like

        table = load_frame(values)
        return Inputs(read_like(table, spec)[0], table.keys)
    from fitwell.data.arrays import inputs_array, refuse_nonfinite

    array, _ = inputs_array(values, "X")
    keys = [f"row {i}" for i in range(len(array))]
    refuse_nonfinite(array, keys, "X")
    return Inputs(_fitting(array, spec, "X"), keys)


def _npz(path: Path, spec: Spec) -> tuple[np.ndarray, list[str]]:
    from fitwell.data.arrays import inputs_array, refuse_nonfinite
    from fitwell.data.npz import inputs_name, load_npz

    arrays = load_npz(path)
    array, _ = inputs_array(arrays[inputs_name(arrays, path)], path.name)
    keys = [f"{path} row {i}" for i in range(len(array))]
    refuse_nonfinite(array, keys, path.name)
    return _fitting(array, spec, path.name), keys


def _table(path: Path, spec: Spec) -> tuple[np.ndarray, list[str]]:
    from fitwell.data.table import load_table, read_like

    table = load_table(path)
    values, problems = read_like(table, spec)
    for problem in problems:
        warnings.warn(str(problem), stacklevel=2)
    return values, [f"{path} {key}" for key in table.keys]


def _images(paths: Sequence[Path], spec: Spec) -> np.ndarray:
    from fitwell.data.images import Unreadable, in_threads
    from fitwell.data.images import decode as decode_image

    if spec.kind != "images":
        raise refuse(
            "not_a_table",
            f"{paths[0]} is an image, and this model reads a table of {len(spec.columns)} columns.",
            "Give a CSV, Parquet or .npz file.",
            [str(p) for p in paths],
        )
    channels, height, width = spec.input_shape
    size, grey = (height, width), channels == 1
    decoded = in_threads(lambda p: decode_image(p, size, grey, spec.resize), paths)
    bad = [(p, d.reason) for p, d in zip(paths, decoded, strict=True) if isinstance(d, Unreadable)]
    if bad:
        raise refuse(
            "unreadable_image",
            f"{len(bad)} of {len(paths)} images cannot be read: {bad[0][0]} ({bad[0][1]}).",
            "Leave them out, or save them again.",
            [str(p) for p, _ in bad],
        )
    return np.stack([d for d in decoded if not isinstance(d, Unreadable)])


def _fitting(array: np.ndarray, spec: Spec, where: str) -> np.ndarray:
    """The array, images resized, or a sentence that says which shape the model reads."""
    if spec.kind == "images" and array.ndim == 4 and array.shape[1] == spec.input_shape[0]:
        if array.shape[2:] != tuple(spec.input_shape[1:]):
            from fitwell.data.images import resize_array

            return resize_array(array, (spec.input_shape[1], spec.input_shape[2]), spec.resize)
        return array
    if spec.kind == "table" and array.ndim == 2 and array.shape[1] == len(spec.columns):
        return array
    reads = (
        f"images of shape {list(spec.input_shape)}"
        if spec.kind == "images"
        else f"tables of {len(spec.columns)} columns"
    )
    raise refuse(
        "wrong_shape",
        f"{where} has shape {list(array.shape)}, and this model reads {reads}.",
        "Give it as the training data was.",
        where,
    )
