"""Mosaic, mixup and the changes of training: boxes lie where their rectangles do, to the pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_boxes import scenes, write_voc

from fitwell.augment import AugmentBoxes, augment_settings
from fitwell.augment.mosaic import FAINT, mosaic, without_gaps
from fitwell.data import read, split
from fitwell.errors import SettingError
from fitwell.resolve import complete
from fitwell.train.job import build_job

SIDE = 64


def painted(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of 0 with one rectangle of a brightness of its own: 1, 2 ... n, its class."""
    rng = np.random.default_rng(seed)
    low = rng.integers(4, 30, (n, 2))
    boxes = np.concatenate([np.arange(n)[:, None], low, low + rng.integers(12, 28, (n, 2))], 1)
    x = torch.zeros(n, 1, SIDE, SIDE)
    for i, (_, x1, y1, x2, y2) in enumerate(boxes.tolist()):
        x[i, :, y1:y2, x1:x2] = i + 1
    return x, torch.from_numpy(boxes.astype(np.float32))[:, None]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_boxes_of_a_mosaic_are_around_what_is_painted(seed: int) -> None:
    x, y = painted(3, seed)
    seen, boxes = mosaic(np.random.default_rng(seed), x, y, torch.full((1, 1, 1), -1.0), mosaic=1.0)
    for picture, found in zip(seen[:, 0], boxes, strict=True):
        for kind, x1, y1, x2, y2 in found[~found[:, 0].isnan()].tolist():
            assert 0 <= x1 < x2 <= SIDE and 0 <= y1 < y2 <= SIDE
            # Its middle is painted in its own brightness; a little inside of its sides it still is.
            inner = picture[round(y1 + 1) : round(y2 - 1), round(x1 + 1) : round(x2 - 1)]
            assert ((inner - kind - 1).abs() < 0.01).all()
        bright = picture > 0.99
        covered = torch.zeros_like(bright)
        for _, x1, y1, x2, y2 in found[~found[:, 0].isnan()].tolist():
            covered[max(0, int(y1)) : int(y2 + 1), max(0, int(x1)) : int(x2 + 1)] = True
        # What is painted and not covered belongs to boxes of which less than a quarter is left.
        assert (bright & ~covered).sum() <= 4 * 0.25 * 28 * 28


def test_a_mosaic_has_four_pictures_its_own_among_them() -> None:
    x = torch.arange(1.0, 6).view(5, 1, 1, 1).expand(5, 1, SIDE, SIDE).contiguous()
    none = torch.full((5, 1, 5), torch.nan)
    seen, _ = mosaic(np.random.default_rng(0), x, none, torch.zeros(1, 1, 1), mosaic=1.0)
    for i, picture in enumerate(seen):
        values = set(picture.round().unique().tolist()) - {0.0}
        assert i + 1 in values and 1 <= len(values) <= 4
    same, _ = mosaic(np.random.default_rng(0), x, none, torch.zeros(1, 1, 1), mosaic=0.0)
    assert torch.equal(same, x)


def boxed(**changes: Any) -> AugmentBoxes:
    full = {**augment_settings(), **changes}
    return AugmentBoxes(full, empty=np.zeros(1), full=np.ones(1), seed=0, epochs=10)


@pytest.mark.parametrize(
    "changes",
    [
        {"hflip": 1.0},
        {"vflip": 1.0},
        {"scale": [0.6, 1.6]},
        {"translate": 0.2},
        {"crop": [0.4, 1.0]},
        {"scale": [0.7, 1.4], "translate": 0.1, "hflip": 0.5},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_training_moves_boxes_with_their_pictures(changes: dict[str, Any]) -> None:
    x, y = painted(8, 1)
    seen, boxes = boxed(**changes).with_targets(x, y, 2, 3)
    assert boxes.shape == (8, 1, 5)
    for i, picture in enumerate(seen[:, 0]):
        if boxes[i, 0].isnan().any():
            continue
        rows, columns = torch.nonzero(picture > (i + 1) / 2, as_tuple=True)
        around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(boxes[i, 0, 1:].numpy(), np.array(around), atol=1.01)
        assert boxes[i, 0, 0] == i


def test_the_last_epochs_have_no_mosaic() -> None:
    augment, (x, y) = boxed(mosaic=1.0, closing=0.2), painted(4, 0)
    assert augment.until == 8
    assert not torch.equal(augment.with_targets(x, y, 7, 0)[0], x)
    last, boxes = augment.with_targets(x, y, 8, 0)
    assert torch.equal(last, x) and torch.equal(boxes, y)


def test_the_same_step_is_changed_alike_and_others_otherwise() -> None:
    augment, (x, y) = boxed(mosaic=0.5, scale=[0.7, 1.4]), painted(4, 0)
    first, again = augment.with_targets(x, y, 1, 2), augment.with_targets(x, y, 1, 2)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], augment.with_targets(x, y, 1, 3)[0])


def test_gaps_close_and_keep_the_order() -> None:
    target = torch.full((2, 4, 5), torch.nan)
    target[0, 1], target[0, 3], target[1, 2] = 1.0, 2.0, 3.0
    assert without_gaps(target)[..., 0].nan_to_num(-1).tolist() == [[1, 2], [3, -1]]


def test_batches_change_boxes_in_training_alone(tmp_path: Path) -> None:
    data = read(str(write_voc(tmp_path / "things", scenes(8))), {"image_size": 64})
    recipe = complete({"augment.policy": "none", "augment.hflip": 1.0}, data.spec)
    rows = split.Rows(np.arange(5), np.arange(5, 8), np.arange(0))
    job = build_job(data, rows, recipe, seed=0)
    (batch,) = job.batches.epoch(0)
    for index, moved in zip(batch.index, batch.y, strict=True):
        own = torch.from_numpy(data.targets[index])
        there = ~own[:, 0].isnan()
        flipped = torch.stack([64 - own[:, 3], own[:, 2], 64 - own[:, 1], own[:, 4]], 1)
        torch.testing.assert_close(moved[: there.sum(), 1:], flipped[there], atol=1e-3, rtol=0)
    (still,) = job.parts["validation"].epoch(0)
    np.testing.assert_array_equal(still.y.numpy(), data.targets[5:])


def test_the_point_lies_in_the_middle_and_what_is_left_is_empty() -> None:
    """Half of a picture on each side of it covers from 0.2 to 0.8 at least, both ways."""
    x, none = torch.ones(20, 1, 40, 160), torch.full((20, 1, 5), torch.nan)
    seen, _ = mosaic(np.random.default_rng(0), x, none, torch.full((1, 1, 1), -1.0), mosaic=1.0)
    assert set(seen.round().unique().tolist()) == {-1.0, 1.0}
    assert (seen[:, :, 9:31, 33:127].round() == 1).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.2, 1.5, 8.0]))
def test_a_blend_is_the_mean_of_two_pictures_with_the_boxes_of_both(seed: int, a: float) -> None:
    x, y = painted(6, seed)
    seen, boxes = boxed(mixup=a).with_targets(x, y, 0, seed)
    partner, share = boxed(mixup=a).mix(x, 0, seed)[1] or (torch.empty(0), torch.empty(0))
    for i, (picture, found) in enumerate(zip(seen, boxes, strict=True)):
        j, own = int(partner[i]), float(share[i])
        torch.testing.assert_close(picture, own * x[i] + (1 - own) * x[j], atol=1e-5, rtol=0)
        expected = [y[i]] if i == j or own >= FAINT else []
        expected += [y[j]] if i != j and 1 - own >= FAINT else []
        there = found[~found[:, 0].isnan()]
        assert torch.equal(there, torch.cat(expected))


def test_pictures_without_boxes_are_blended_and_add_none() -> None:
    x, y = painted(4, 0)
    y[1:] = torch.nan
    _, boxes = boxed(mixup=50.0).with_targets(x, y, 0, 0)
    classes = boxes[..., 0].nan_to_num(-1)
    assert set(classes.flatten().tolist()) == {-1.0, 0.0} and 1 <= (classes == 0).sum() <= 2


def test_the_last_epochs_blend_nothing() -> None:
    augment, (x, y) = boxed(mixup=8.0, closing=0.2), painted(8, 0)
    assert not torch.equal(augment.with_targets(x, y, 7, 0)[0], x)
    last, boxes = augment.with_targets(x, y, 8, 0)
    assert torch.equal(last, x) and torch.equal(boxes, y)


def test_what_is_blended_was_moved_before() -> None:
    """Mirrored, then blended with mirrored ones: the boxes of both are mirrored."""
    x, y = painted(4, 3)
    _, boxes = boxed(mixup=50.0, hflip=1.0).with_targets(x, y, 0, 1)
    told = boxes[~boxes[..., 0].isnan()]
    assert len(told) > 4
    for kind, *corners in told.tolist():
        _, x1, y1, x2, y2 = y[int(kind), 0].tolist()
        assert corners == [SIDE - x2, y1, SIDE - x1, y2]


def test_mixup_trains_and_cutmix_is_refused(tmp_path: Path) -> None:
    data = read(str(write_voc(tmp_path / "things", scenes(8))), {"image_size": 64})
    recipe = complete({"augment.mixup": 1.5, "train.batch_size": 6}, data.spec)
    rows = split.Rows(np.arange(6), np.arange(6, 8), np.arange(0))
    job = build_job(data, rows, recipe, seed=0)
    (batch,) = job.batches.epoch(0)
    assert batch.mixture is None and batch.y.shape[1] > data.targets.shape[1]
    with pytest.raises(SettingError, match=r"augment\.cutmix.*not to be seen"):
        complete({"augment.cutmix": 1.0}, data.spec)
