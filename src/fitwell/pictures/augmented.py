"""Examples beside what augmentation makes of them, as a PNG sheet."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from fitwell.augment import MIXING, Augment, AugmentBoxes, AugmentSounds, augment_settings
from fitwell.data import preprocess
from fitwell.data.preprocess import Preprocess, central
from fitwell.data.types import Data
from fitwell.errors import SettingError
from fitwell.pictures.augmented_sounds import spectrograms_of
from fitwell.pictures.augmented_texts import lines_of
from fitwell.policies import POLICIES
from fitwell.recipe import Recipe
from fitwell.report.pixels import EDGES, pixels
from fitwell.report.sheet import Panel, Sheet, resized, tiled
from fitwell.resolve import augmenting
from fitwell.train.job import augment_of

NUM_EXAMPLES = 6
NUM_CHANGED = 7  # of each, in the first epochs of a run
MIXED = tuple(f"augment.{name}" for name in MIXING)
TILE = 96  # pixels of the longer side
BOX_TILE = 128  # of pictures with boxes, whose edges are a pixel wide


def write_augmented(path: Path, data: Data, recipe: Recipe) -> list[dict[str, Any]]:
    """Draw a few examples, and what training would see of them in its first epochs.

    Where the recipe changes nothing, there is a grid for each policy, to choose from.

    Returns:
        `[{"name": "augmented", "path", "settings"}]`, of every grid what differs from no change.

    Raises:
        SettingError: a table or series, or changes that these examples do not allow.
    """
    if data.spec.kind in ("table", "series"):
        raise SettingError(
            f"augment: images, texts and recordings are augmented, and these are {data.spec.examples}. "
            "Leave it out.",
            setting="augment",
        )
    rows = examples_of(data)
    prepared = preprocess.fit(data, np.arange(len(data)))
    seed = int(recipe["train.seed"])  # type: ignore[call-overload]
    panels, found, lines = [], [], []
    for title, chosen in grids(recipe, data):
        augment = augment_of(chosen, prepared, seed, data.spec.task)
        if augment is None:  # a policy that leaves these images alone
            continue
        changes = changes_of(chosen)
        found.append({"name": "augmented", "path": path.as_posix(), "settings": changes})
        if isinstance(augment, AugmentSounds):
            heard = spectrograms_of(data.inputs[rows], prepared, augment, NUM_CHANGED)
            panels.append(Panel(title, said(changes), grid_of(np.stack(heard, 1)), 1.0 / TILE))
            continue
        if not isinstance(augment, Augment):
            lines += [
                "",
                f"{title}: {said(changes)}",
                *lines_of(data.inputs[rows].tolist(), augment),
            ]
            continue
        boxes = data.targets[rows] if data.spec.kind == "boxes" else None
        images, places = changed(data.inputs[rows], prepared, augment, boxes)
        grid = grid_of(images) if boxes is None else grid_with_boxes(images, places)
        panels.append(Panel(title, said(changes), grid, 1.0 / TILE))
    if panels:
        lines = ["Left: examples as they are. Right: as training sees them, an epoch a column."]
    boxed = data.spec.kind == "boxes"
    if boxed:
        lines.append("Boxes in a colour a class; those mostly out of the picture are left out.")
    if any(name in changes for changes in (row["settings"] for row in found) for name in MIXED):
        what = "mixup: with" if boxed else "mixup and cutmix: with"
        lines.append(f"{what} another of these examples, which may be most of it.")
    Sheet(f"Augmentation of {data.name}", panels, lines).write(path)
    return found


def grids(recipe: Recipe, data: Data) -> list[tuple[str, Recipe]]:
    """(title, recipe) of each grid: what the recipe says, or every policy where it says nothing."""
    if changes_of(recipe):
        return [("As the recipe says", recipe)]
    plain = {k: v for k, v in recipe.items() if not k.startswith("augment.")}
    return [
        (
            f"augment.policy={name}",
            Recipe({**plain, **augmenting({"augment.policy": name}, data.spec)}),
        )
        for name in POLICIES
        if name != "none"
    ]


def changes_of(recipe: Recipe) -> dict[str, Any]:
    """The settings `augment.*` that differ from no change."""
    usual = {f"augment.{key}": value for key, value in augment_settings().items()}
    changed = (name for name, value in usual.items() if recipe.get(name, value) != value)
    return {name: recipe[name] for name in changed if name != "augment.tta"}


def said(changes: Mapping[str, Any]) -> str:
    """The changes in a line.

    >>> said({"augment.policy": "light", "augment.hflip": 0.5, "augment.crop": [0.5, 1.0]})
    'hflip 0.5, crop 0.5 to 1'
    """
    return ", ".join(
        f"{name[8:]} {' to '.join(f'{v:g}' for v in np.atleast_1d(value))}"
        for name, value in changes.items()
        if name != "augment.policy"
    )


def examples_of(data: Data) -> np.ndarray:
    """Rows of a few examples, of different classes first."""
    first = np.empty(0, np.int64)
    if data.spec.task == "classification":
        _, first = np.unique(data.targets, return_index=True)
    others = np.setdiff1d(np.linspace(0, len(data) - 1, 2 * NUM_EXAMPLES).astype(int), first)
    return np.concatenate([np.sort(first), others])[:NUM_EXAMPLES]


def changed(
    images: np.ndarray, prepared: Preprocess, augment: Augment, targets: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The examples as they are, then as training sees them in each of the first epochs.

    Args:
        images: [example, channel, height, width], in the unit of the data.
        targets: [example, box, 5] class and corners of boxes, if any.

    Returns:
        Images [example, column, channel, height, width] in the unit of the data, and their boxes
        [example, column, box, 5].
    """
    factor, shift = (a[:, None, None] for a in prepared.affine())
    x = torch.from_numpy(replace(prepared, seen=()).inputs(images))
    before = torch.zeros(len(x), 0, 5) if targets is None else torch.from_numpy(targets)
    out, places = [central(images, prepared.seen)], [before.numpy()]
    for epoch in range(NUM_CHANGED):
        if isinstance(augment, AugmentBoxes):
            seen, boxes = augment.with_targets(x, before, epoch, 0)
        else:
            seen, boxes = augment.mix(augment(x, epoch, 0), epoch, 0)[0], before
        size, other = out[0].shape[-2:], seen.shape[-2:]  # of a batch of another size (multi_scale)
        if other != size:
            seen = F.interpolate(seen, size, mode="nearest")
            boxes = boxes * boxes.new_tensor([1, *[size[1] / other[1], size[0] / other[0]] * 2])
        raw = (seen.numpy() - shift) / factor
        out.append(raw.round().clip(0, 255).astype(np.uint8) if images.dtype == np.uint8 else raw)
        places.append(boxes.numpy())
    most = max(boxes.shape[1] for boxes in places)
    padded = [
        np.pad(boxes, ((0, 0), (0, most - boxes.shape[1]), (0, 0)), constant_values=np.nan)
        for boxes in places
    ]
    return np.stack(out, 1), np.stack(padded, 1)


def grid_with_boxes(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """As `grid_of`, of pictures with boxes, each drawn in the colour of its class.

    Args:
        images: [row, column, channel, height, width].
        places: [row, column, box, 5] class and corners.
    """
    size, scale = tile_size(images, BOX_TILE)
    tiles = [
        [
            outlined(resized(tile, size), boxes[:, 1:] * scale, boxes[:, 0])
            for tile, boxes in zip(_side_by_side(row), found, strict=True)
        ]
        for row, found in zip(images, places, strict=True)
    ]
    return tiled(np.array(tiles) / 255, gap=3)


def outlined(picture: np.ndarray, boxes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """[height, width, 3] uint8 with the edges of boxes [box, 4] (x1, y1, x2, y2) drawn into it, of each
    class [box] in one colour; rows of nan are no box."""
    out = picture.copy()
    height, width = out.shape[:2]
    for number, box in zip(classes, boxes, strict=True):
        if np.isnan(box).any():
            continue
        left, right = (int(v) for v in np.clip(np.floor(box[[0, 2]]), 0, width - 1))
        top, bottom = (int(v) for v in np.clip(np.floor(box[[1, 3]]), 0, height - 1))
        colour = EDGES[int(number) % len(EDGES)]
        out[[top, bottom], left : right + 1] = colour
        out[top : bottom + 1, [left, right]] = colour
    return out


def tile_size(images: np.ndarray, tile: int) -> tuple[tuple[int, int], float]:
    """((height, width) of a tile, pixels of it for one of the images), the longer side `tile` pixels."""
    height, width = images.shape[3:]
    scale = tile / max(height, width)
    return (max(1, round(height * scale)), max(1, round(width * scale))), scale


def grid_of(images: np.ndarray) -> np.ndarray:
    """[row, column, channel, height, width] as one picture; a row has one scale of brightness."""
    size, _ = tile_size(images, TILE)
    rows = [_side_by_side(row) for row in images]
    tiles = np.stack([[resized(tile, size) for tile in row] for row in rows]) / 255
    return tiled(tiles, gap=3)


def _side_by_side(images: np.ndarray) -> np.ndarray:
    """[column, height, width, colour] uint8 of [column, channel, height, width]."""
    columns, channels, height, width = images.shape
    wide = images.transpose(1, 2, 0, 3).reshape(channels, height, columns * width)
    return pixels(wide).reshape(height, columns, width, -1).transpose(1, 0, 2, 3)
