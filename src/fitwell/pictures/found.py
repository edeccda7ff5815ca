"""Pictures with the boxes that a detector found drawn into them, and what it said beside them as JSON."""

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from fitwell import store
from fitwell.data.images import pixels
from fitwell.errors import FolderError
from fitwell.report.pixels import EDGES

SAID = "predictions.json"
_PIXELS_A_LINE = 300  # of the longer side: the width of an edge
_LETTERS = 40  # of them high would be a picture


def draw_found(rows: Sequence[dict[str, Any]], classes: tuple[str, ...], out: Path) -> None:
    """Write each picture with its boxes into a folder, and all rows as `predictions.json`.

    Args:
        rows: of `fitwell.predict.predict`; drawn are those whose input is a file.
        out: a new or empty folder.

    Raises:
        FolderError: it holds something already, or cannot be written to.
    """
    used: set[str] = set()
    colours = {name: EDGES[i % len(EDGES)] for i, name in enumerate(classes)}
    with store.saying_no_space(out, "name another folder"):
        out.mkdir(parents=True, exist_ok=True)
        for row in rows:
            path = Path(row["input"])
            if not path.is_file():
                continue
            drawn = _drawn(path, row["prediction"], row["probability"], colours)
            drawn.save(out / f"{_free(path.stem, used)}.jpg", quality=90)
    store.write_text(out / SAID, json.dumps(list(rows), indent=1) + "\n")


def refuse_full(out: Path) -> None:
    """Refuse a folder that holds something already.

    Raises:
        FolderError: it does.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FolderError(
            f"--out {out} is there already and holds something: pictures are never overwritten. Choose "
            "another folder.",
            where=str(out),
        )


def _free(stem: str, used: set[str]) -> str:
    """A name that no other picture has, whatever the case of its letters."""
    names = (stem if i == 1 else f"{stem}-{i}" for i in count(1))
    name = next(name for name in names if name.lower() not in used)
    used.add(name.lower())
    return name


def _drawn(path: Path, boxes: Sequence[Any], scores: Sequence[float], colours: Any) -> Any:
    """The picture of a file, upright, with its boxes, their classes and scores."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        # As the model sees it: of 16 bits, or with parts that are see-through.
        seen = pixels(upright, (upright.height, upright.width), grey=False)
    drawn = Image.fromarray(np.ascontiguousarray(seen.transpose(1, 2, 0)))
    pen = ImageDraw.Draw(drawn)
    width = max(1, round(max(drawn.size) / _PIXELS_A_LINE))
    font = ImageFont.load_default(max(10, round(max(drawn.size) / _LETTERS)))
    for box, score in zip(boxes, scores, strict=True):
        colour = colours[box["class"]]
        pen.rectangle(box["box"], outline=colour, width=width)
        pen.text(
            (box["box"][0] + 2 * width, box["box"][1] + width),
            f"{box['class']} {score:.2f}",
            fill=colour,
            font=font,
            stroke_width=1,
            stroke_fill="black",
        )
    return drawn
