"""Examples beside what augmentation makes of them, as a PNG sheet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fitwell.augment import MIXING, Augment, augment_settings
from fitwell.data import preprocess
from fitwell.data.preprocess import Preprocess
from fitwell.data.types import Data
from fitwell.errors import SettingError
from fitwell.pictures.augmented_texts import lines_of
from fitwell.policies import POLICIES
from fitwell.recipe import Recipe
from fitwell.report.pixels import pixels
from fitwell.report.sheet import Panel, Sheet, resized, tiled
from fitwell.resolve import complete
from fitwell.train.job import augment_of

NUM_EXAMPLES = 6
NUM_CHANGED = 7  # of each, in the first epochs of a run
MIXED = tuple(f"augment.{name}" for name in MIXING)
TILE = 96  # pixels of the longer side


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
            f"augment: images and texts are augmented, and these are {data.spec.examples}. Leave it out.",
            setting="augment",
        )
    rows = examples_of(data)
    prepared = preprocess.fit(data, np.arange(len(data)))
    seed = int(recipe["train.seed"])  # type: ignore[call-overload]
    panels, found, lines = [], [], []
    for title, chosen in grids(recipe, data):
        augment = augment_of(chosen, prepared, seed)
        if augment is None:  # a policy that leaves these images alone
            continue
        changes = changes_of(chosen)
        found.append({"name": "augmented", "path": path.as_posix(), "settings": changes})
        if not isinstance(augment, Augment):
            lines += [
                "",
                f"{title}: {said(changes)}",
                *lines_of(data.inputs[rows].tolist(), augment),
            ]
            continue
        images = [data.inputs[rows], *changed(data.inputs[rows], prepared, augment)]
        panels.append(Panel(title, said(changes), grid_of(np.stack(images, 1)), 1.0 / TILE))
    if panels:
        lines = ["Left: examples as they are. Right: as training sees them, an epoch a column."]
    if any(name in changes for changes in (row["settings"] for row in found) for name in MIXED):
        lines.append("mixup and cutmix: with another of these examples, which may be most of it.")
    Sheet(f"Augmentation of {data.name}", panels, lines).write(path)
    return found


def grids(recipe: Recipe, data: Data) -> list[tuple[str, Recipe]]:
    """(title, recipe) of each grid: what the recipe says, or every policy where it says nothing."""
    if changes_of(recipe):
        return [("As the recipe says", recipe)]
    plain = {k: v for k, v in recipe.items() if not k.startswith("augment.")}
    return [
        (f"augment.policy={name}", complete({**plain, "augment.policy": name}, data.spec))
        for name in POLICIES
        if name != "none"
    ]


def changes_of(recipe: Recipe) -> dict[str, Any]:
    """The settings `augment.*` that differ from no change."""
    usual = {f"augment.{key}": value for key, value in augment_settings().items()}
    return {name: recipe[name] for name, value in usual.items() if recipe.get(name, value) != value}


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


def changed(images: np.ndarray, prepared: Preprocess, augment: Augment) -> list[np.ndarray]:
    """[example, channel, height, width] of each of the first epochs, in the unit of the data."""
    factor, shift = (a[:, None, None] for a in prepared.affine())
    x = torch.from_numpy(prepared.inputs(images))
    out: list[np.ndarray] = []
    for epoch in range(NUM_CHANGED):
        seen, _ = augment.mix(augment(x, epoch, 0), epoch, 0)
        raw = (seen.numpy() - shift) / factor
        out.append(raw.round().clip(0, 255).astype(np.uint8) if images.dtype == np.uint8 else raw)
    return out


def grid_of(images: np.ndarray) -> np.ndarray:
    """[row, column, channel, height, width] as one picture; a row has one scale of brightness."""
    height, width = images.shape[3:]
    scale = TILE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    rows = [_side_by_side(row) for row in images]
    tiles = np.stack([[resized(tile, size) for tile in row] for row in rows]) / 255
    return tiled(tiles, gap=3)


def _side_by_side(images: np.ndarray) -> np.ndarray:
    """[column, height, width, colour] uint8 of [column, channel, height, width]."""
    columns, channels, height, width = images.shape
    wide = images.transpose(1, 2, 0, 3).reshape(channels, height, columns * width)
    return pixels(wide).reshape(height, columns, width, -1).transpose(1, 0, 2, 3)
