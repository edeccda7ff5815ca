"""What a convolution network learned, as pictures: its filters, and what it makes of examples.

Two PNG sheets in the run folder, `pictures/filters.png` and `pictures/feature_maps.png`. They show a
part of a large network, and say which.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from fitwell.data import read
from fitwell.data.types import Data
from fitwell.errors import DataError, FitwellError, SettingError
from fitwell.probes import feature_maps
from fitwell.probes.feature_maps import Stage
from fitwell.record import Predictions, Run
from fitwell.report.pixels import pixels, shown_images
from fitwell.report.sheet import Panel, Sheet, resized, signed, tiled, wrapped
from fitwell.train import load_model

MOST_LAYERS = 8  # of a sheet: the first, the last, and others evenly between
MOST_FILTERS = 64  # of the first layer, or of a depthwise one
MOST_COLUMNS = 16  # filters of a deeper layer
MOST_ROWS = 8  # channels of each
ZOOM = 5  # pixels of a weight: the lines between filters are thinner than a weight
MOST_CHANNELS = 12  # feature maps of a stage
NUM_EXAMPLES = 3
TILE = 64  # pixels of the longer side of an example, and of each of its maps


def write_pictures(run: Run, data: Data | None = None) -> list[dict[str, Any]]:
    """Write the sheets of a run's model: `[{"name", "path", "layers"}]`.

    Without the data there are filters only, and a warning that says why.

    Args:
        data: what was trained on; read from the recipe's source by default.

    Raises:
        FolderError: the run has no weights, or its folder cannot be written to.
        SettingError: its model has no convolutions.
    """
    model, preprocess = load_model(run)
    assert run.folder is not None and run.spec is not None and run.recipe is not None
    layers = convolutions(model)
    if not layers:
        raise SettingError(
            f"filters: {run.recipe['model.name']} has no 2-dimensional convolution, so it has no "
            "filters to show. `fitwell fit SOURCE --model lenet` trains a network that has.",
            setting="filters",
        )
    shown = evenly(list(layers), MOST_LAYERS)
    panels = [filter_panel(name, layers[name]) for name in shown]
    heading = _some("Learned filters", len(shown), len(layers), "convolutions")
    path = run.folder / "pictures" / "filters.png"
    Sheet(heading, panels).write(path)
    found = [{"name": "filters", "path": path.as_posix(), "layers": shown}]
    try:
        rows, predictions, data = examples_of(run, data)
        chosen = predictions.index[rows]
        images = shown_images(data, chosen)
        stages = feature_maps(model, torch.from_numpy(preprocess.inputs(data.inputs[chosen])))
        if data.spec.kind == "audio":  # high tones above, as in the pictures
            stages = [replace(stage, maps=stage.maps.flip(2)) for stage in stages]
        if not stages:
            raise DataError("those of this model have a single place.")
    except FitwellError as error:
        warnings.warn(f"No feature maps: {error.message}", stacklevel=2)
        return found
    some = evenly(stages, MOST_LAYERS)
    lines = [_said(predictions, row, run.spec.classes) for row in rows]
    panels = [map_panel(stage, images) for stage in some]
    heading = _some("Feature maps", len(some), len(stages), "stages")
    path = path.with_name("feature_maps.png")
    Sheet(heading, panels, lines).write(path)
    names = [stage.convolution for stage in some]
    return [*found, {"name": "feature_maps", "path": path.as_posix(), "layers": names}]


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Name -> layer of every 2-dimensional convolution, in the order of the model."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many items, first and last among them.

    >>> evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[i] for i in places]


def filter_panel(name: str, layer: nn.Conv2d) -> Panel:
    """The filters of a layer: small pictures where each looks at an image or at one map; else a column
    a filter and a row an input channel."""
    weight = layer.weight.detach().float().cpu().numpy()  # [filter, channel, height, width]
    count, channels, height, width = weight.shape
    limit = float(np.abs(weight).max()) or 1.0
    shares = weight[:MOST_FILTERS, :MOST_ROWS] / limit
    shares = shares.repeat(ZOOM, axis=2).repeat(ZOOM, axis=3)
    title = f"{name}: {count} filters of {channels} × {height} × {width}"
    note = f"red positive, blue negative, white zero; largest |weight| {limit:.2g}"
    single = height * width == 1
    if channels == layer.in_channels and channels in (1, 3) and not single:
        colours = shares.transpose(0, 2, 3, 1)
        tiles = 0.5 + 0.5 * np.broadcast_to(colours, (*colours.shape[:3], 3))
        note = f"mid-grey is zero, brighter positive, darker negative; largest |weight| {limit:.2g}"
    elif channels == 1:
        tiles = signed(shares[:, 0])
    else:
        kept = shares[:MOST_COLUMNS].swapaxes(0, 1)
        title = _first(title, kept.shape[1], count, "filters")
        title = _first(title, kept.shape[0], channels, "channels")
        note = f"a column a filter, a row an input channel; {note}"
        grid = tiled(signed(kept), gap=0 if single else 1)
        return Panel(title, note, grid, min(0.12, 0.4 / width) / ZOOM)
    title = _first(title, len(tiles), count, "filters")
    return Panel(title, note, wrapped(tiles, columns=12), 0.55 / width / ZOOM)


def map_panel(stage: Stage, images: np.ndarray) -> Panel:
    """The channels of a stage that differ most over the examples: a row an example, a column each."""
    maps = stage.maps.cpu().numpy()
    count = maps.shape[1]
    kept = np.sort(np.argsort(-maps.var(axis=(0, 2, 3)), kind="stable")[:MOST_CHANNELS])
    largest = np.abs(maps[:, kept]).max(axis=(0, 2, 3), keepdims=True)
    shares = maps[:, kept] / np.where(largest > 0, largest, 1.0)
    scale = TILE / max(images.shape[2:])
    size = (max(1, round(images.shape[2] * scale)), max(1, round(images.shape[3] * scale)))
    inputs = np.stack([resized(pixels(image) / 255, size) for image in images])
    drawn = np.stack([[resized(m, size) for m in signed(row)] for row in shares])
    after = f" with {stage.activation}" if stage.activation else ""
    title = f"{stage.convolution}{after}: {count} maps of {maps.shape[2]} × {maps.shape[3]}"
    which = " (those that differ most)" if len(kept) < count else ""
    note = f"channels {', '.join(str(i) for i in kept)}{which}; full colour is a channel's largest value"
    grid = tiled(np.concatenate([inputs[:, None], drawn], axis=1), gap=2)
    return Panel(title, note, grid, 0.6 / TILE)


def examples_of(run: Run, data: Data | None) -> tuple[np.ndarray, Predictions, Data]:
    """A few held-out examples of different classes: rows of predictions, these, and the data.

    Raises:
        FitwellError: the run has none, or its data is not at hand.
    """
    assert run.recipe is not None
    predictions = run.studied
    if predictions is None:
        raise DataError("the run has no held-out predictions.")
    if data is None:
        if not run.recipe["source"]:
            raise DataError("the run was trained on data in memory, which is not at hand.")
        data = read(str(run.recipe["source"]), run.recipe.section("data"), like=run.spec)
    _, first = np.unique(predictions.target, axis=0, return_index=True)
    rows = np.sort(first)[:NUM_EXAMPLES]
    index = predictions.index[rows]
    if index.max() >= len(data) or list(data.keys[index]) != list(predictions.keys[rows]):
        raise DataError("the data is not the same any more as when the run was trained.")
    return rows, predictions, data


def _said(predictions: Predictions, row: int, classes: Sequence[str]) -> str:
    target, chosen = predictions.target[row], predictions.prediction[row]
    key = str(predictions.keys[row])
    if target.ndim:  # several labels or numbers
        return f"{key}: {int((target == chosen).sum())} of {len(target)} right" if classes else key
    if not classes:
        return f"{key}: {target:.4g}, predicted {chosen:.4g}"
    right = target == chosen
    said = "recognised" if right else f"taken for {classes[int(chosen)]}"
    return f"{key}: {classes[int(target)]}, {said}"


def _some(heading: str, shown: int, count: int, what: str) -> str:
    return heading if shown == count else f"{heading}: {shown} of {count} {what}"


def _first(title: str, shown: int, count: int, what: str) -> str:
    return title if shown == count else f"{title}, the first {shown} {what}"
