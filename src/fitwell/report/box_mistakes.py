"""The worst mistakes of a detector, as pictures: what it says and what is annotated, kind by kind."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fitwell.box_matching import KINDS, match
from fitwell.box_scores import SHOWN
from fitwell.data.letterbox import overlaps
from fitwell.record import Predictions
from fitwell.report.pixels import EDGES, pixels, uri

PICTURES = 4  # of a kind
_SIDE = 320  # pixels of a drawn picture
_AROUND = 3.0  # times the longer side of the boxes in question are shown
_LEAST = 0.4  # of the picture's longer side
_WIDTH, _THIN = 3, 1
_WHITE = (255, 255, 255)


class Mistake(NamedTuple):
    """One mistake.

    Args:
        row: of the predictions.
        kind: one of `KINDS`.
        worst: the score of what is said; of what was missed its area.
        said: the box that is wrong [6], or None.
        asked: the annotated box that it should have been, or that was missed [5], or None.
        text: the same in a few words.
    """

    row: int
    kind: str
    worst: float
    said: np.ndarray | None
    asked: np.ndarray | None
    text: str


def mistakes(predictions: Predictions, classes: tuple[str, ...]) -> list[Mistake]:
    """All among the boxes with a score of 0.25 and more, and the things that none of these is of."""
    found = []
    for row in range(len(predictions.target)):
        target, said = shown(predictions, row)
        matched = match(target, said)
        for i in np.flatnonzero(matched.kind != ""):
            box = said[i]
            thing = target[matched.object[i]] if matched.object[i] >= 0 else None
            text = _text(str(matched.kind[i]), box, thing, classes)
            found.append(Mistake(row, str(matched.kind[i]), float(box[5]), box, thing, text))
        for thing in target[matched.missed]:
            wide, high = thing[3] - thing[1], thing[4] - thing[2]
            text = f"{classes[int(thing[0])]}, {wide:.0f} × {high:.0f} pixels"
            found.append(Mistake(row, "missed", float(wide * high), None, thing, text))
    return found


def shown(predictions: Predictions, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The boxes annotated in a picture [box, 5], and those found with a score of 0.25 and more [box, 6]."""
    target, said = predictions.target[row], predictions.prediction[row]
    return target[~np.isnan(target[:, 0])], said[np.nan_to_num(said[:, 5]) >= SHOWN]


def worst(
    predictions: Predictions, data: Any, classes: tuple[str, ...], lost: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Kinds of mistakes, what costs most first: `kind`, `count`, and `pictures` of the worst as (key,
    words, data URI), each of another picture; nothing of what did not happen.

    Args:
        lost: kind -> map50 that it costs.
    """
    found = mistakes(predictions, classes)
    sections = []
    for kind in sorted(KINDS, key=lambda kind: -lost.get(kind, 0.0)):
        own = sorted((m for m in found if m.kind == kind), key=lambda m: -m.worst)
        if own:
            pictures = list(_drawn(own, predictions, data))
            sections.append({"kind": kind, "count": len(own), "pictures": pictures})
    return sections


def _drawn(
    own: Iterable[Mistake], predictions: Predictions, data: Any
) -> Iterable[tuple[str, str, str]]:
    """The first few, each of another picture, of those whose pictures are in the data."""
    used: set[int] = set()
    for one in own:
        key, index = str(predictions.keys[one.row]), int(predictions.index[one.row])
        if one.row in used or index >= len(data.inputs) or str(data.keys[index]) != key:
            continue
        used.add(one.row)
        yield key, one.text, picture(data.inputs[index], *shown(predictions, one.row), one)
        if len(used) == PICTURES:
            return


def _text(kind: str, box: np.ndarray, thing: np.ndarray | None, classes: tuple[str, ...]) -> str:
    said = f"{classes[int(box[0])]} {box[5]:.2f}"
    if thing is None:
        return said
    if kind == "wrong class":
        return f"{said}, annotated {classes[int(thing[0])]}"
    return f"{said}, overlap {overlaps(box[None, 1:5], thing[None, 1:])[0, 0]:.2f}"


def picture(image: np.ndarray, target: np.ndarray, said: np.ndarray, mistake: Mistake) -> str:
    """The part of a picture around a mistake as a data URI: annotated boxes in white, those found in a
    colour a class, the ones in question thick.

    Args:
        image: [channel, height, width].
        target: [box, 5] class and corners.
        said: [box, 6], with the score behind them.
    """
    from PIL import Image, ImageDraw

    whole = Image.fromarray(pixels(image))
    about = [box[1:5] for box in (mistake.said, mistake.asked) if box is not None]
    left, top, right, bottom = window(np.stack(about), whole.size)
    scale = _SIDE / max(right - left, bottom - top)
    size = round((right - left) * scale), round((bottom - top) * scale)
    drawn = whole.crop((left, top, right, bottom)).resize(size)
    pen = ImageDraw.Draw(drawn)

    def edge(box: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
        corners = (box[1:5] - [left, top, left, top]) * scale
        if width > _THIN:  # seen on white, too
            around = (corners + np.array([-1, -1, 1, 1])).tolist()
            pen.rectangle(around, outline="black", width=width + 2)
        pen.rectangle(corners.tolist(), outline=colour, width=width)

    for box in target:
        edge(box, _WHITE, _THIN)
    for box in said:
        edge(box, EDGES[int(box[0]) % len(EDGES)], _THIN)
    if mistake.asked is not None:
        edge(mistake.asked, _WHITE, _WIDTH)
    if mistake.said is not None:
        edge(mistake.said, EDGES[int(mistake.said[0]) % len(EDGES)], _WIDTH)
    return uri(drawn, "JPEG")


def window(corners: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the square part of a picture that shows boxes with what is around
    them, cut at its edges.

    >>> window(np.array([[10.0, 10, 20, 20]]), (100, 80))
    (0, 0, 40, 40)
    >>> window(np.array([[0.0, 0, 90, 70]]), (100, 80))
    (0, 0, 100, 80)
    """
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    side = max(_AROUND * float((high - low).max()), _LEAST * max(size))
    found = []
    for middle, length in zip((low + high) / 2, size, strict=True):
        start = min(max(0.0, float(middle) - side / 2), max(0.0, length - side))
        found.append((round(start), round(min(length, start + side))))
    (left, right), (top, bottom) = found
    return left, top, right, bottom
