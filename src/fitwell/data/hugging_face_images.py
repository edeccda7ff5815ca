"""A column of images of a Hugging Face data set, decoded. No torch."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.files import shape_for
from fitwell.data.hugging_face_parts import Part
from fitwell.data.images import Header, Unreadable, decode, header, header_of, in_threads
from fitwell.data.types import BadData, Problem, both, listed
from fitwell.spec import Spec

CHUNK = 1024  # images decoded at once: bounds the memory


def decoded(
    parts: list[Part], column: str, options: Mapping[str, Any], like: Spec | None
) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """([image, channel, height, width] uint8, the row of each among those of all parts, problems)."""
    files: list[tuple[Any, int]] = []
    for part in parts:
        feature = part.rows.features[column]
        # As they are stored: what is broken is listed, and a JPEG is decoded at the size that is needed.
        stored = part.rows.select_columns([column]).cast_column(column, type(feature)(decode=False))
        files += [(stored, i) for i in range(len(stored))]

    def open_(each: tuple[Any, int]) -> Path | BytesIO | None:
        cell = each[0][each[1]][column]
        if cell is None or (cell["bytes"] is None and not cell["path"]):
            return None
        return Path(cell["path"]) if cell["bytes"] is None else BytesIO(cell["bytes"])

    def head(each: tuple[Any, int]) -> Header | Unreadable | None:
        file = open_(each)
        if file is None:
            return None
        return header(file) if isinstance(file, Path) else header_of(file)

    keys = [key for part in parts for key in part.keys]
    heads = in_threads(head, files)
    rows = [i for i, found in enumerate(heads) if isinstance(found, Header)]
    bad = {i: found.reason for i, found in enumerate(heads) if isinstance(found, Unreadable)}
    none = [keys[i] for i, found in enumerate(heads) if found is None]
    size, grey = ((1, 1), True)
    if rows:
        known = [found for found in heads if isinstance(found, Header)]
        size, grey = shape_for(known, options.get("image_size", 0), like)
    resize = like.resize if like else options["resize"]

    def read(row: int) -> np.ndarray | Unreadable:
        file = open_(files[row])
        assert file is not None
        return decode(file, size, grey, resize)

    images = np.empty((len(rows), 1 if grey else 3, *size), np.uint8)
    kept = []
    for start in range(0, len(rows), CHUNK):
        some_rows = rows[start : start + CHUNK]
        for row, image in zip(some_rows, in_threads(read, some_rows), strict=True):
            if isinstance(image, Unreadable):
                bad[row] = image.reason
            else:
                images[len(kept)] = image
                kept.append(row)
    problems = _left_out(column, none, [(keys[i], bad[i]) for i in sorted(bad)])
    if not kept:
        text = f"None of the {len(files)} rows has an image in {column} that can be read."
        first = Problem("no_images", "error", (column,), text, "See what is wrong with each.")
        raise BadData([first, *problems])
    return images[: len(kept)], np.array(kept), problems


def _left_out(column: str, none: list[str], bad: list[tuple[str, str]]) -> list[Problem]:
    return [
        *listed(
            "missing_image",
            "warning",
            both("row", f"without an image in {column} left out"),
            "Fill them in, or remove the rows.",
            none,
        ),
        *listed(
            "unreadable_files",
            "warning",
            both("image", f"of {column} that cannot be read left out"),
            "Replace them, or remove the rows.",
            dict(bad),
            shown=5,
        ),
    ]
