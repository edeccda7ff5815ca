"""Scores of boxes: by hand, by pycocotools-like files, and in any order; mistakes by kind."""

import json
from pathlib import Path

import numpy as np
import pytest

from fitwell.box_matching import KINDS, match
from fitwell.box_scores import mean, precisions, table
from fitwell.metrics import METRICS
from fitwell.record import Predictions
from fitwell.spec import Spec
from fitwell.tasks.box_mistakes import box_rows, lost

NONE5, NONE6 = [np.nan] * 5, [np.nan] * 6


def some(seed: int, pictures: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Annotated boxes of three classes, and boxes said: moved ones, doubled ones, and others."""
    rng = np.random.default_rng(seed)
    target = np.full((pictures, 6, 5), np.nan, np.float32)
    said = np.full((pictures, 14, 6), np.nan, np.float32)
    for i in range(pictures):
        count = int(rng.integers(0, 7))
        low = rng.uniform(0, 200, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(8, 110, (count, 2))], 1)
        target[i, :count] = np.column_stack([rng.integers(0, 3, count), boxes])
        moved = boxes + rng.normal(0, 4, boxes.shape)
        kinds = np.where(rng.random(count) < 0.8, target[i, :count, 0], rng.integers(0, 3, count))
        said[i, :count] = np.column_stack([kinds, moved, rng.random(count)])
        low = rng.uniform(0, 200, (4, 2))
        other = np.column_stack(
            [rng.integers(0, 3, 4), low, low + rng.uniform(8, 99, (4, 2)), rng.random(4)]
        )
        said[i, count : count + 4] = other
    return target, said


def by_hand(target: np.ndarray, said: np.ndarray, least: float) -> float:
    """Average precision at an overlap, class by class, as its definition has it."""
    from fitwell.data.letterbox import overlaps

    found = []
    for kind in range(3):
        total = int((target[..., 0] == kind).sum())
        if not total:
            continue
        rows = [
            (float(box[5]), i, box[1:5])
            for i, picture in enumerate(said)
            for box in picture
            if box[0] == kind
        ]
        taken: set[tuple[int, int]] = set()
        hits = []
        for _, i, box in sorted(rows, key=lambda row: -row[0]):
            shares = [
                (float(overlaps(box[None], target[i, j : j + 1, 1:])[0, 0]), j)
                for j in range(target.shape[1])
                if target[i, j, 0] == kind and (i, j) not in taken
            ]
            best = max(shares, default=(0.0, -1))
            hits.append(best[0] >= least)
            if hits[-1]:
                taken.add((i, best[1]))
        right = np.cumsum(hits)
        recall, precision = right / total, right / (np.arange(len(hits)) + 1)
        each = [max(precision[recall >= r - 1e-9], default=0.0) for r in np.linspace(0, 1, 101)]
        found.append(float(np.mean(each)))
    return float(np.mean(found))


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_their_definition(seed: int) -> None:
    target, said = some(seed)
    # One of 101 recalls may be equal to a share but for its last digit.
    assert METRICS["map50"](target, said) == pytest.approx(by_hand(target, said, 0.5), abs=5e-4)
    each = [by_hand(target, said, least) for least in np.linspace(0.5, 0.95, 10)]
    assert METRICS["map"](target, said) == pytest.approx(np.mean(each), abs=5e-4)


def test_scores_are_those_of_files_in_coco_s_format(tmp_path: Path) -> None:
    """Written as pycocotools reads them, and scored from there."""
    from faster_coco_eval import COCO, COCOeval_faster

    target, said = some(5)
    boxes = [
        (i, box) for i, picture in enumerate(target) for box in picture if not np.isnan(box[0])
    ]
    document = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(len(target))],
        "categories": [{"id": k, "name": str(k)} for k in range(3)],
        "annotations": [
            {
                "id": n,
                "image_id": i,
                "category_id": int(b[0]),
                "bbox": [float(v) for v in (b[1], b[2], b[3] - b[1], b[4] - b[2])],
                "area": float((b[3] - b[1]) * (b[4] - b[2])),
                "iscrowd": 0,
            }
            for n, (i, b) in enumerate(boxes, 1)
        ],
    }
    results = [
        {
            "image_id": i,
            "category_id": int(b[0]),
            "bbox": [float(v) for v in (b[1], b[2], b[3] - b[1], b[4] - b[2])],
            "score": float(b[5]),
        }
        for i, picture in enumerate(said)
        for b in picture
        if not np.isnan(b[0])
    ]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    (tmp_path / "said.json").write_text(json.dumps(results))
    truth = COCO(str(tmp_path / "truth.json"))
    scored = COCOeval_faster(truth, truth.loadRes(str(tmp_path / "said.json")), "bbox")
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert METRICS["map"](target, said) == pytest.approx(scored.stats[0], abs=1e-6)
    assert METRICS["map50"](target, said) == pytest.approx(scored.stats[1], abs=1e-6)
    sizes = [row["map"] for row in table(target, said, ("a", "b", "c"))["sizes"]]
    expected = [
        None if value < 0 else pytest.approx(value, abs=1e-6) for value in scored.stats[3:6]
    ]
    assert sizes == expected


def test_neither_order_nor_padding_counts() -> None:
    target, said = some(9)
    rng = np.random.default_rng(0)
    pictures = rng.permutation(len(target))
    wide = np.pad(said, ((0, 0), (0, 5), (0, 0)), constant_values=np.nan)
    shuffled = wide[pictures][:, rng.permutation(wide.shape[1])]
    for name in ("map50", "map"):
        assert METRICS[name](target[pictures], shuffled) == pytest.approx(
            METRICS[name](target, said)
        )


def test_nothing_said_is_0_and_nothing_annotated_has_no_score() -> None:
    target, said = some(1)
    assert METRICS["map50"](target, np.full((len(target), 1, 6), np.nan)) == 0.0
    assert np.isnan(mean(precisions(np.full((12, 1, 5), np.nan), said)))
    assert np.isnan(METRICS["map"](target[:0], said[:0]))


BOX = [0.0, 20, 20, 60, 60]
CASES = {
    "": [[0.0, 20, 20, 60, 60, 0.9]],
    "wrong class": [[1.0, 20, 20, 60, 60, 0.9]],
    "badly placed": [[0.0, 20, 20, 60, 34, 0.9]],
    "background": [[0.0, 80, 80, 99, 99, 0.9]],
    "doubled": [[0.0, 20, 20, 60, 60, 0.9], [0.0, 20, 20, 60, 58, 0.8]],
}


@pytest.mark.parametrize("kind", CASES)
def test_a_mistake_has_its_kind(kind: str) -> None:
    target = np.array([BOX, [1.0, 5, 5, 9, 9], NONE5])
    said = np.array([*CASES[kind], NONE6])
    matched = match(target, said)
    assert matched.kind[len(CASES[kind]) - 1] == kind and matched.kind[-1] == ""
    assert matched.missed.tolist() == [kind == "background", True, False]


def test_mending_a_kind_gains_what_it_cost() -> None:
    target = np.array([[BOX], [BOX], [BOX]])
    said = np.array([[[0.0, 20, 20, 60, 60, 0.9]], [[0.0, 20, 20, 60, 34, 0.8]], [NONE6]])
    found = lost(target, said, [match(*pair) for pair in zip(target, said, strict=True)])
    assert list(found) == list(KINDS)
    assert found["badly placed"] > 0.3 and found["missed"] > 0.1
    assert found["wrong class"] == found["doubled"] == found["background"] == 0


def test_the_row_of_a_part_is_json_and_of_boxes_alone() -> None:
    target, said = some(2)
    keys = np.array([f"{i}.png" for i in range(len(target))])
    part = Predictions(keys, np.arange(12), target, said, None, np.zeros(12))
    (row,) = box_rows(part, Spec("boxes", "detection", (3, 320, 320), ("a", "b", "c")))
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert {one["key"] for one in row["sure"]} <= set(keys)
    sides = (target[..., 3:] - target[..., 1:3]).min(-1)
    assert (
        row["tiny"]["tiny"] == (sides < 16).sum() and row["tiny"]["larger"] == (sides >= 16).sum()
    )
    assert 0 < row["tiny"]["larger_found"] < row["tiny"]["larger"]
    assert sum(one["boxes"] for one in row["classes"]) == sum(one["boxes"] for one in row["sizes"])
    assert box_rows(part, Spec("images", "classification", (3, 9, 9), ("a", "b"))) == []


def test_the_curve_is_at_an_overlap_of_a_half() -> None:
    target, said = np.array([[BOX]]), np.array([[[0.0, 20, 20, 60, 51, 0.9]]])  # 0.775 of it
    (row,) = table(target, said, ("a",))["classes"]
    assert row["curve"] == [1.0] * 21 and row["map50"] == pytest.approx(1)
    assert row["map"] == pytest.approx(0.6)  # 0.5 to 0.75 of ten


def test_the_row_of_a_part_has_the_part_s_score() -> None:
    """A hundred boxes of each class are looked at, however sure those of another are."""
    wrong = [[0.0, 80, 80, 90 + i, 99, 0.9] for i in range(120)]
    said = np.array([[*wrong, [1.0, *BOX[1:], 0.1]]])
    target = np.array([[[0.0, 1, 1, 9, 9], [1.0, *BOX[1:]]]])
    part = Predictions(np.array(["a"]), np.arange(1), target, said, None, np.zeros(1))
    (row,) = box_rows(part, Spec("boxes", "detection", (3, 320, 320), ("a", "b")))
    assert [one["map50"] for one in row["classes"]] == pytest.approx([0, 1])
    assert row["map50"] == METRICS["map50"](target, said) == pytest.approx(0.5)


@pytest.mark.parametrize(("better", "found"), [(99, 0.01), (100, 0.0)])
def test_a_hundred_boxes_of_a_picture_are_looked_at(better: int, found: float) -> None:
    wrong = [[0.0, 80, 80, 90 + i, 99, 0.9] for i in range(better)]
    said = np.array([[*wrong, [*BOX, 0.1]]])
    assert METRICS["map50"](np.array([[BOX]]), said) == pytest.approx(found)
