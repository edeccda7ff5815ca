"""Boxes move as their pictures do: against corners moved one by one, and against moved pictures."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_boxes import scenes, write_voc
from PIL import Image
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

import fitwell as fw
from fitwell.augment import Augment, AugmentBoxes, augment_settings, geometry, move_boxes
from fitwell.augment.batch import resample
from fitwell.cli.main import run
from fitwell.data import preprocess, read
from fitwell.errors import SettingError
from fitwell.pictures.augmented import EDGES, changed, outlined
from fitwell.policies import policy
from fitwell.resolve import augmenting
from fitwell.spec import Spec

CHANGES: dict[str, dict[str, Any]] = {
    "hflip": {"hflip": 0.5},
    "vflip": {"vflip": 0.5},
    "crop": {"crop": [0.3, 0.9]},
    "scale": {"scale": [0.6, 1.5]},
    "shear": {"shear": 20.0},
    "rotate": {"rotate": 40.0},
    "translate": {"translate": 0.2},
    "all": {
        "hflip": 0.5,
        "vflip": 0.5,
        "crop": [0.5, 1.0],
        "scale": [0.8, 1.2],
        "shear": 10.0,
        "rotate": 20.0,
        "translate": 0.1,
    },
}
PHOTOS = Spec("boxes", "detection", (3, 320, 320), ("cat", "dog"), resize="letterbox")


def augment(seed: int = 0, **changes: Any) -> Augment:
    return Augment(augment_settings(**changes), empty=np.zeros(3), full=np.ones(3), seed=seed)


def naive(box: np.ndarray, matrix: np.ndarray, height: int, width: int, least: float) -> np.ndarray:
    """The same by corners, one after another."""
    x1, y1, x2, y2 = box
    points = []
    for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)):
        moved = matrix @ np.array([x - width / 2, y - height / 2, 1.0])
        points.append((moved[0] + width / 2, moved[1] + height / 2))
    left, right = min(p[0] for p in points), max(p[0] for p in points)
    top, bottom = min(p[1] for p in points), max(p[1] for p in points)
    cut = [min(max(left, 0), width), min(max(top, 0), height)]
    cut += [min(max(right, 0), width), min(max(bottom, 0), height)]
    kept = (cut[2] - cut[0]) * (cut[3] - cut[1])
    if kept <= 0 or kept < least * (right - left) * (bottom - top):
        return np.full(4, np.nan)
    return np.array(cut)


coordinates = st.floats(0, 40)
entries = st.floats(-2, 2)


@given(
    st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), min_size=1, max_size=4),
    st.tuples(entries, entries, st.floats(-30, 30), entries, entries, st.floats(-30, 30)),
    st.sampled_from([0.0, 0.25, 0.9]),
)
def test_corners_one_by_one(
    drawn: list[tuple[float, ...]], numbers: tuple[float, ...], least: float
) -> None:
    height, width = 32, 40
    pairs = np.array(drawn).reshape(-1, 2, 2)
    boxes = np.concatenate([pairs.min(1), pairs.max(1)], 1)
    a, b, x, c, d, y = numbers
    matrix = np.array([[a, b, x], [c, d, y], [0, 0, 1]])
    ours = move_boxes(
        torch.from_numpy(boxes)[None], torch.from_numpy(matrix)[None], height, width, least
    )
    for mine, box in zip(ours[0].numpy(), boxes, strict=True):
        theirs = naive(box, matrix, height, width, least)
        near_limit = abs(_share(box, matrix, height, width) - least) < 1e-9
        if not near_limit:
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


def _share(box: np.ndarray, matrix: np.ndarray, height: int, width: int) -> float:
    """The share of the moved box that is in the picture; its sides by the absolute matrix."""
    cut = naive(box, matrix, height, width, 0.0)
    sides = np.abs(matrix[:2, :2]) @ (box[2:] - box[:2])
    return float((cut[2] - cut[0]) * (cut[3] - cut[1]) / max(sides.prod(), 1e-12))


@given(st.integers(0, 10_000))
def test_moved_and_moved_back(seed: int) -> None:
    """Flips and changes of size, which keep boxes upright, are undone by the inverse matrix."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 30, (3, 2, 2))
    boxes = torch.from_numpy(np.concatenate([corners.min(2), corners.max(2)], 1))[None]
    scale, shift = rng.uniform(0.3, 1, 2) * rng.choice([-1, 1], 2), rng.uniform(-3, 3, 2)
    matrix = geometry.matrices(1, a=scale[0], d=scale[1], x=shift[0], y=shift[1])
    far = 10_000  # so that nothing is cut
    there = move_boxes(boxes + far / 2, torch.from_numpy(matrix), far, far, 0.0)
    back = move_boxes(there, torch.from_numpy(np.linalg.inv(matrix)), far, far, 0.0)
    torch.testing.assert_close(back, boxes + far / 2, rtol=0, atol=1e-8)


@pytest.mark.parametrize("angle", [0.0, 30.0, -75.0, 90.0])
@pytest.mark.parametrize("factor", [0.7, 1.2])
def test_as_torchvision_moves_boxes(angle: float, factor: float) -> None:
    boxes = torch.tensor([[10.0, 12, 30, 20], [25, 30, 28, 44]])
    turn = np.deg2rad(angle)
    matrix = geometry.matrices(
        1, a=np.cos(turn), b=-np.sin(turn), c=np.sin(turn), d=np.cos(turn)
    ) @ geometry.matrices(1, a=factor, d=factor)
    theirs = F.affine(
        BoundingBoxes(boxes, format=BoundingBoxFormat.XYXY, canvas_size=(60, 60)),  # type: ignore[call-overload]
        angle,
        [0.0, 0.0],
        factor,
        [0.0, 0.0],
    )
    ours = move_boxes(boxes[None], torch.from_numpy(matrix), 60, 60, 0.0)[0]
    torch.testing.assert_close(ours, theirs.as_subclass(torch.Tensor), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(("height", "width"), [(72, 96), (80, 80)])
def test_a_white_rectangle_stays_in_its_box(name: str, height: int, width: int) -> None:
    """The extent of what is white after the change is that of the box, to a pixel: bilinear resampling
    blurs its edge by a half, and white is what is above a half."""
    n = 40
    rng = np.random.default_rng(0)
    low = rng.integers(4, [width - 30, height - 30], (n, 2))
    boxes = np.concatenate([low, low + rng.integers(12, 26, (n, 2))], 1).astype(np.float32)
    x = torch.zeros(n, 3, height, width)
    for i, (x1, y1, x2, y2) in enumerate(boxes.astype(int).tolist()):
        x[i, :, y1:y2, x1:x2] = 1
    changes = augment(**CHANGES[name])
    seen, moved = changes.with_boxes(x, torch.from_numpy(boxes)[:, None], 3, 1)
    torch.testing.assert_close(seen, changes(x, 3, 1), rtol=0, atol=0)
    compared = 0
    for image, box in zip(seen[:, 0].numpy(), moved[:, 0].numpy(), strict=True):
        white = image > 0.5
        if np.isnan(box).any():
            assert white.mean() < 0.25 * 26 * 26 * 4 / (height * width)
            continue
        rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
        extent = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        # Of a turned rectangle the corner itself is sharper than a pixel, so it may be lost in grey;
        # where it is outside, what is seen is less than the box around all of it.
        inside = (box > [0, 0, 0, 0]) & (box < [width, height, width, height])
        upright = name not in ("rotate", "shear", "all")
        if upright:
            np.testing.assert_allclose(extent, box, atol=1.0)
            compared += 1
        elif inside.all():
            np.testing.assert_allclose(extent, box, atol=2.0)
            compared += 1
    assert compared > n / 2


def test_what_is_mostly_out_of_the_picture_is_no_box() -> None:
    box = torch.tensor([[[0.0, 0, 10, 10]]]).repeat(4, 1, 1)
    shifts = np.array([-7.4, -7.6, -10.0, -30.0])
    moved = torch.from_numpy(geometry.matrices(4, x=shifts))
    out = move_boxes(box, moved, 20, 20)[:, 0]
    assert torch.isnan(out).any(1).tolist() == [False, True, True, True]
    torch.testing.assert_close(out[0], torch.tensor([0.0, 0, 2.6, 10]))
    assert not torch.isnan(move_boxes(box[1:2], moved[1:2], 20, 20, 0.1)).any()


def test_no_box_stays_none_and_none_is_moved_without_change() -> None:
    boxes = torch.full((2, 3, 4), torch.nan)
    x = torch.rand(2, 3, 8, 8)
    _, moved = augment(rotate=30.0).with_boxes(x, boxes, 0, 0)
    assert torch.isnan(moved).all() and moved.shape == boxes.shape
    boxes[0, 0] = torch.tensor([1.0, 1, 4, 4])
    same, kept = augment(brightness=0.5).with_boxes(x, boxes, 0, 0)
    assert not torch.equal(same, x)
    assert torch.equal(kept.nan_to_num(), boxes.nan_to_num())


def test_policies_of_boxes_hide_and_mix_nothing() -> None:
    assert policy("light", PHOTOS) == {"augment.hflip": 0.5, "augment.crop": [0.5, 1.0]}
    strong = augmenting({"augment.policy": "strong"}, PHOTOS)
    assert strong["augment.crop"] == [0.25, 1.0] and strong["augment.rotate"] == 0
    assert not strong["augment.mixup"] and not strong["augment.erase"]
    digits = replace(PHOTOS, classes=tuple("0123456789"))
    assert policy("light", digits) == {"augment.crop": [0.5, 1.0]}  # a mirrored 2 is none
    for name in ("cutmix", "erase"):
        with pytest.raises(SettingError, match=f"augment.{name}.*boxes would say"):
            augmenting({f"augment.{name}": 0.5}, PHOTOS)
    with pytest.raises(SettingError, match="first is the least"):
        augmenting({"augment.scale": [2.0, 1.0]}, PHOTOS)


def test_the_sheet_draws_boxes_where_they_are(tmp_path: Any) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    boxes = np.array([[2.0, 3, 10, 12], [np.nan] * 4])
    drawn = outlined(picture, boxes, np.array([0, np.nan]))
    assert not picture.any()
    rows, columns = np.nonzero(drawn.any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 12, 2, 10)
    assert not drawn[4:12, 3:10].any()  # hollow
    data = read(write_voc(tmp_path, scenes(6)), {"image_size": 64})
    prepared = preprocess.fit(data, np.arange(len(data)))
    flip = AugmentBoxes(augment_settings(hflip=1.0), empty=prepared.affine()[1], seed=0, epochs=9)
    images, places = changed(data.inputs, prepared, flip, data.targets)
    assert (images[:, 1:] == data.inputs[:, None, ..., ::-1]).all()
    corners = data.targets[..., 1:]
    flipped = np.stack(
        [64 - corners[..., 2], corners[..., 1], 64 - corners[..., 0], corners[..., 3]], -1
    )
    np.testing.assert_allclose(places[:, 0], data.targets)
    np.testing.assert_allclose(
        places[:, 1:, :, 0], np.broadcast_to(data.targets[:, None, :, 0], places[:, 1:, :, 0].shape)
    )
    np.testing.assert_allclose(
        places[:, 1:, :, 1:], np.broadcast_to(flipped[:, None], places[:, 1:, :, 1:].shape)
    )


def test_show_augment(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path / "things", scenes(8))
    words = ["augment.rotate=20", "augment.shear=5", "augment.hflip=0.5", "augment.scale=[0.8,1.2]"]
    assert run(["show", "things", "--augment", *words]) == 0
    assert "runs/things-augmented.png" in capsys.readouterr().out
    with Image.open("runs/things-augmented.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
    for colour in EDGES[:3]:  # of three classes
        assert (pixels == colour).all(1).sum() > 200
    (usual,) = fw.show("things", augment=True)["pictures"]
    assert usual["settings"]["augment.mosaic"] == 0.5
    assert run(["show", "things"]) == 0
    assert run(["show", "things", "--augment", "augment.mixup=1.5"]) == 0
    assert run(["show", "things", "--augment", "augment.cutmix=1.0"]) == 2


def test_resampled_pictures_are_as_before() -> None:
    """The matrices that boxes get are those that pixels are moved by."""
    x = torch.rand(4, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    changes = augment(rotate=30.0, scale=[0.8, 1.2])
    rng = np.random.default_rng([0, 101, 2, 5])
    drawn = {
        name: geometry.GEOMETRY[name](rng, 4, 12, 16, **values)
        for name, values in changes.geometry.items()
    }
    moved = drawn["rotate"] @ drawn["scale"]
    torch.testing.assert_close(changes(x, 2, 5), resample(x, moved, torch.zeros(3, 1, 1)))
