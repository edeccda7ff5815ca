"""The mistakes of a detector that the report shows: which, in which order, and what is drawn."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from boxes_said import SPEC, a_detector

from fitwell.box_matching import KINDS
from fitwell.data.types import Data
from fitwell.record import Predictions
from fitwell.report.box_mistakes import PICTURES, mistakes, picture, worst
from fitwell.report.html import write_report

CLASSES = SPEC.classes
# One picture a kind of mistake: the annotated boxes, and what is said.
MADE: dict[str, tuple[list[list[float]], list[list[float]]]] = {
    "wrong class": ([[0, 10, 10, 30, 30]], [[1, 10, 10, 30, 30, 0.9]]),
    "badly placed": ([[0, 10, 10, 30, 30]], [[0, 20, 10, 40, 30, 0.8]]),
    "doubled": ([[0, 10, 10, 30, 30]], [[0, 10, 10, 30, 30, 0.9], [0, 11, 10, 31, 30, 0.5]]),
    "background": ([[0, 10, 10, 30, 30]], [[0, 10, 10, 30, 30, 0.9], [2, 60, 60, 90, 90, 0.7]]),
    "missed": ([[2, 10, 10, 30, 40]], [[2, 10, 10, 30, 40, 0.1]]),  # not shown
}


def made() -> Predictions:
    target, said = (np.full((len(MADE), 2, size), np.nan) for size in (5, 6))
    for row, (annotated, told) in enumerate(MADE.values()):
        target[row, : len(annotated)] = annotated
        said[row, : len(told)] = told
    keys = np.array([f"{kind}.png" for kind in MADE])
    return Predictions(keys, np.arange(len(MADE)), target, said, None, np.ones(len(MADE)))


def data_of(predictions: Predictions) -> Data:
    pictures = np.full((len(predictions.keys), 3, 100, 100), 90, np.uint8)
    free = np.full(len(pictures), "")
    return Data("things", SPEC, pictures, predictions.target, predictions.keys, free, (), "0")


def test_each_kind_of_mistake_is_told() -> None:
    found = {one.kind: one.text for one in mistakes(made(), CLASSES)}
    assert found == {
        "wrong class": "dog 0.90, annotated cat",
        "badly placed": "cat 0.80, overlap 0.33",
        "doubled": "cat 0.50",
        "background": "owl 0.70",
        "missed": "owl, 20 × 30 pixels",
    }


def test_kinds_come_by_what_they_cost_and_pictures_by_how_sure_they_are() -> None:
    one = made()
    sections = worst(one, data_of(one), CLASSES, {"missed": 0.4, "doubled": 0.2})
    assert [section["kind"] for section in sections][:2] == ["missed", "doubled"]
    assert {section["kind"] for section in sections} == set(KINDS)
    assert all(
        section["pictures"][0][0] == f"{section['kind']}.png" and section["count"] == 1
        for section in sections
    )
    keys = np.array([f"{i}.png" for i in range(6)])
    target, said = (np.repeat(boxes[:1], 6, 0) for boxes in (one.target, one.prediction))
    many = Predictions(keys, np.arange(6), target, said, None, np.ones(6))
    many.prediction[:, 0, 5] = [0.3, 0.9, 0.5, 0.2, 0.6, 0.4]
    many.target[1, 1] = [0, 60, 60, 80, 80]  # a second one in a picture that is shown
    many.prediction[1, 1] = [1, 60, 60, 80, 80, 0.8]
    (section, _) = worst(many, data_of(many), CLASSES, {"wrong class": 1.0})
    assert section["count"] == 6  # one more has too low a score
    assert [key for key, _, _ in section["pictures"]] == ["1.png", "4.png", "2.png", "5.png"]
    assert len(section["pictures"]) == PICTURES


def test_a_mistake_is_drawn_where_it_is() -> None:
    """Of a grey picture: white where the box was annotated, its class's colour where it was found."""
    from PIL import Image

    one = made()
    for boxes in (one.target, one.prediction):
        boxes[1, 0, 1:5] += 45
    found = next(m for m in mistakes(one, CLASSES) if m.kind == "badly placed")
    image = np.full((3, 100, 100), 90, np.uint8)
    address = picture(image, one.target[1, :1], one.prediction[1, :1], found)
    drawn = Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))
    pixels = np.asarray(drawn.convert("RGB")).astype(int)
    # Three times the 30 pixels that both boxes cover, as far to the right and below as there is picture.
    scale, start = drawn.width / 90, 10
    row = pixels[round((65 - start) * scale)]
    white = np.flatnonzero((row > 200).all(1)) / scale + start
    coloured = np.flatnonzero((row[:, 0] > 180) & (row[:, 2] < 80)) / scale + start
    assert abs(white.min() - 55) < 1.5 and abs(white.max() - 75) < 1.5
    assert abs(coloured.min() - 65) < 1.5 and abs(coloured.max() - 85) < 1.5


def test_the_page_holds_no_picture_where_none_is_wanted(tmp_path: Any) -> None:
    run = a_detector(swapped=0.1)
    data = data_of(run.predictions["held_out"])
    shown, bare = tmp_path / "shown.html", tmp_path / "bare.html"
    write_report(run, shown, data=data, source="things")
    write_report(run, bare, examples=False, data=data, source="things")
    assert "Wrong class" in shown.read_text() and "data:image/jpeg" in shown.read_text()
    assert "data:image/jpeg" not in bare.read_text() and "0/3.png" not in bare.read_text()
    assert "embeds no example" in bare.read_text() and "embeds no example" not in shown.read_text()


@pytest.mark.parametrize("name", ["mAP50", "mAP50-95"])
def test_scores_are_written_as_the_field_writes_them(name: str, tmp_path: Any) -> None:
    page = tmp_path / "page.html"
    write_report(a_detector(), page)
    assert name in page.read_text() and "Map" not in page.read_text()
