"""Augmentation: torchvision's v2 as the reference, reproducible, on training images only."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.augment import (
    AUGMENTATIONS,
    KIND_OF,
    OF_COLOURS,
    Augment,
    augment_settings,
    colour,
    geometry,
)
from fitwell.augment.batch import resample
from fitwell.augment.colour import COLOUR, recolour
from fitwell.augment.sharpness import blur
from fitwell.data import split
from fitwell.errors import SettingError
from fitwell.resolve import complete
from fitwell.train.job import build_job

RNG = np.random.default_rng
BLACK = torch.zeros(3, 1, 1)
CHANGES: dict[str, Any] = {
    "hflip": 0.5,
    "vflip": 0.5,
    "crop": [0.3, 0.9],
    "translate": 0.25,
    "rotate": 40.0,
    "scale": [0.7, 1.4],
    "shear": 20.0,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.5,
    "hue": 0.1,
    "grey": 0.3,
    "blur": 1.5,
    "noise": 0.1,
    "erase": 0.8,
    "mixup": 1.0,
    "cutmix": 1.0,
}
WHITE = torch.ones(3, 1, 1)


def augment(seed: int = 0, **changes: Any) -> Augment:
    settings = {**augment_settings(), **changes}
    return Augment(settings, empty=np.zeros(3), full=np.ones(3), seed=seed)


def seen(changes: Augment, x: torch.Tensor, epoch: int, step: int) -> torch.Tensor:
    """What is trained on."""
    return changes.mix(changes(x, epoch, step), epoch, step)[0]


def images(n: int = 6, height: int = 9, width: int = 12) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("angle", [0.0, 25.0, -100.0])
@pytest.mark.parametrize("factor", [0.8, 1.3])
@pytest.mark.parametrize("slant", [0.0, 12.0])
@pytest.mark.parametrize("shift", [[0.0, 0.0], [3.0, -2.0]])
def test_resampling_is_torchvisions_affine(
    angle: float, factor: float, slant: float, shift: list[float]
) -> None:
    """To 1e-5 of a range of 1: both in float32."""
    turn, lean = np.deg2rad(angle), np.tan(np.deg2rad(slant))
    moved = (
        geometry.matrices(1, x=shift[0], y=shift[1])
        @ geometry.matrices(1, a=np.cos(turn), b=-np.sin(turn), c=np.sin(turn), d=np.cos(turn))
        @ geometry.matrices(1, b=-lean)
        @ geometry.matrices(1, a=factor, d=factor)
    )
    x = images(1)
    theirs = F.affine(
        x, angle, shift, factor, [slant, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    torch.testing.assert_close(resample(x, moved, BLACK), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "settings", "value"), [("rotate", {}, 30.0), ("shear", {}, 30.0)])
def test_drawn_angles_are_uniform_either_way(
    name: str, settings: dict[str, Any], value: float
) -> None:
    drawn = geometry.GEOMETRY[name](RNG(0), 4000, 8, 8, **{name: value}, **settings)
    entry = drawn[:, 1, 0] if name == "rotate" else -drawn[:, 0, 1]
    angle = np.rad2deg(np.arcsin(entry) if name == "rotate" else np.arctan(entry))
    assert abs(angle.mean()) < 1
    assert -30 <= angle.min() < -29
    assert 29 < angle.max() <= 30
    assert abs(angle.std() - 60 / 12**0.5) < 0.5


def test_a_crop_is_torchvisions_resized_crop() -> None:
    """A window of whole pixels, so that both see the same pixels; theirs without antialiasing."""
    x = images(1, 8, 12)
    high, wide, top, left = 4, 6, 3, 5
    centre_x, centre_y = left + wide / 2 - 6, top + high / 2 - 4
    moved = geometry.matrices(1, a=12 / wide, d=8 / high, x=-centre_x * 2, y=-centre_y * 2)
    theirs = F.resized_crop(x, top, left, high, wide, [8, 12], antialias=False)
    ours = resample(x, moved, BLACK)
    # At the rim ours sees the pixels beside the window, theirs repeats the last one.
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], rtol=0, atol=1e-5)


def test_crops_have_the_asked_area_and_stay_inside() -> None:
    drawn = geometry.crop(RNG(1), 2000, 40, 60, crop=[0.2, 0.5], crop_ratio=[0.9, 1.1])
    corners = np.linalg.inv(drawn) @ np.array([[-30, 30], [-20, 20], [1, 1]])
    sides = corners[:, :2, 1] - corners[:, :2, 0]
    area = sides.prod(1) / 2400
    assert 0.2 - 1e-9 <= area.min() < 0.21
    assert 0.49 < area.max() <= 0.5 + 1e-9
    assert corners[:, 0].min() >= -30 - 1e-9
    assert corners[:, 0].max() <= 30 + 1e-9
    assert abs(corners[:, 1]).max() <= 20 + 1e-9
    # Anywhere: from border to border, as often at one as at the other.
    assert corners[:, 0].min() < -29.5 and corners[:, 0].max() > 29.5
    centre = corners[:, 0].mean(1) / (60 - sides[:, 0])  # as a share of the way it has
    assert abs(centre.mean()) < 0.02 and abs(centre.std() - 1 / 12**0.5) < 0.02
    ratio = sides[:, 0] / sides[:, 1]
    assert ratio.min() >= 0.9 - 1e-9
    assert ratio.max() <= 1.1 + 1e-9


def test_flips_are_exact_and_as_frequent_as_asked() -> None:
    x = images(400)
    out = augment(hflip=0.25)(x, 0, 0)
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(out, x, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(out, x, strict=True)]
    assert sum(flipped) + sum(same) == 400
    assert 70 < sum(flipped) < 130
    up = augment(vflip=1.0)(x, 0, 0)
    torch.testing.assert_close(up, x.flip(-2), rtol=0, atol=1e-5)


def test_a_shift_is_of_whole_pixels_and_brings_in_black() -> None:
    x = images(50, 8, 8)
    normalised = x * 2 - 1  # black is -1
    changed = Augment({**augment_settings(), "translate": 0.25}, empty=np.full(3, -1.0), seed=0)
    out = changed(normalised, 0, 0)
    for before, after in zip(normalised, out, strict=True):
        shifts = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.allclose(after, shifted(before, dy, dx), atol=1e-5)
        ]
        assert len(shifts) == 1


def shifted(x: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
    return padded[:, 2 - dy : 10 - dy, 2 - dx : 10 - dx]


def mid_tones(n: int = 4, channels: int = 3) -> torch.Tensor:
    """Colours that a change of a third does not drive out of 0 to 1, where theirs clip each time."""
    return images(n)[:, :channels] * 0.4 + 0.3


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_torchvisions(name: str, channels: int) -> None:
    """To 1e-6 of a range of 1."""
    if name in OF_COLOURS and channels == 1:
        return
    x = mid_tones(channels=channels)
    matrices = COLOUR[name](RNG(3), x.mean((2, 3)), **{name: 0.3})
    ours = recolour(x, matrices, BLACK[:channels], WHITE[:channels])
    factors = 1 + 0.3 * (2 * RNG(3).random(len(x)) - 1)
    theirs = [getattr(F, f"adjust_{name}")(i, f) for i, f in zip(x, factors, strict=True)]
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=0, atol=1e-6)


def test_hue_turns_by_the_same_angle_as_theirs_and_keeps_the_mean_of_the_channels() -> None:
    """To 2.3 degrees: HSV measures the angle along a hexagon, ours along a circle."""
    x = images(200) * 0.2 + 0.4  # which no turn drives out of 0 to 1
    matrices = colour.hue(RNG(3), x.mean((2, 3)), hue=0.5)
    turns = 0.5 * (2 * RNG(3).random(len(x)) - 1)
    ours = recolour(x, matrices, BLACK, WHITE)
    theirs = torch.stack([F.adjust_hue(i, float(t)) for i, t in zip(x, turns, strict=True)])
    apart = (hue_of(ours) - hue_of(theirs) + 180) % 360 - 180
    coloured = x.amax(1) - x.amin(1) > 0.02  # the hue of a grey is anything
    assert apart[coloured].abs().max() < 2.3
    torch.testing.assert_close(ours.mean(1), x.mean(1), rtol=0, atol=1e-6)
    # A third of the wheel: red becomes green, green blue, blue red.
    third = colour.hue(Largest(), torch.ones(1, 3), hue=1 / 3)[0, :3, :3]  # type: ignore[arg-type]
    torch.testing.assert_close(third, torch.eye(3).roll(1, 0), rtol=0, atol=1e-6)


def hue_of(x: torch.Tensor) -> torch.Tensor:
    """[image, row, column] hue of HSV in degrees."""
    r, g, b = x.unbind(1)
    high, span = x.amax(1), x.amax(1) - x.amin(1)
    side = torch.where(
        high == r, (g - b) / span, torch.where(high == g, 2 + (b - r) / span, 4 + (r - g) / span)
    )
    return 60 * side


class Largest:
    """Draws the largest number it may."""

    def uniform(self, low: float, high: float, n: int) -> np.ndarray:
        return np.full(n, high)


def test_grey_is_torchvisions_as_often_as_asked() -> None:
    x = images(600)
    out = augment(grey=0.25)(x, 0, 0)
    theirs = F.rgb_to_grayscale(x, num_output_channels=3)
    grey = (out - theirs).abs().amax((1, 2, 3)) < 1e-5
    same = (out - x).abs().amax((1, 2, 3)) < 1e-5
    assert int(grey.sum() + same.sum()) == 600 and 110 < int(grey.sum()) < 190


def test_blur_is_torchvisions_with_a_width_an_image() -> None:
    x = images(5)
    widths = RNG(4).uniform(0, 1.2, 5)
    theirs = [F.gaussian_blur(i, [9, 9], [float(w)] * 2) for i, w in zip(x, widths, strict=True)]
    torch.testing.assert_close(blur(RNG(4), x, blur=1.2), torch.stack(theirs), rtol=0, atol=1e-6)
    assert blur(RNG(4), x[..., :1, :2], blur=30.0).shape == (5, 3, 1, 2)  # no wider than the image


def test_noise_is_normal_of_the_asked_amount_and_stays_in_range() -> None:
    x = torch.full((400, 1, 30, 30), 3.0)  # black is -1, white 7
    settings = {**augment_settings(), "noise": 0.1}
    add = Augment(settings, empty=np.full(1, -1.0), full=np.full(1, 7.0), seed=0)
    amount = (add(x, 0, 0) - x).std((1, 2, 3)) / 8
    assert amount.max() < 0.108 and abs(amount.mean() - 0.05) < 0.004
    loud = Augment({**settings, "noise": 1.0}, empty=np.full(1, -1.0), full=np.full(1, 7.0), seed=0)
    assert loud(x, 0, 0).min() == -1 and loud(x, 0, 0).max() == 7


def test_colours_change_normalised_images_as_plain_ones() -> None:
    """Whatever a channel was divided by: the same change of the picture itself."""
    x, scale, shift = images(), torch.tensor([2.0, 5.0, 0.1]), torch.tensor([-1.0, 3.0, 0.5])
    scale, shift = scale.view(3, 1, 1), shift.view(3, 1, 1)
    settings = {**augment_settings(), **{name: CHANGES[name] for name in COLOUR}}
    plain = Augment(settings, empty=np.zeros(3), full=np.ones(3), seed=5)(x, 1, 2)
    empty, full = shift.flatten().numpy(), (shift + scale).flatten().numpy()
    other = Augment(settings, empty=empty, full=full, seed=5)(x * scale + shift, 1, 2)
    torch.testing.assert_close((other - shift) / scale, plain, rtol=0, atol=1e-5)
    assert plain.min() >= 0 and plain.max() <= 1 and not torch.allclose(plain, x, atol=0.05)


@pytest.mark.parametrize("name", ["saturation", "hue", "grey"])
def test_colours_of_grey_images_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"augment.{name} = 0.1: changes colours.*1 channel,"):
        complete({f"augment.{name}": 0.1}, fitwell_data.read("digits", {}).spec)


def test_colours_of_measurements_are_refused() -> None:
    x = RNG(0).normal(size=(40, 1, 8, 8)).astype(np.float32) * 100
    data = fitwell_data.read((x, np.arange(40) % 2), {})
    with pytest.raises(SettingError, match=r"augment.brightness = 0.2: needs to know what black"):
        complete({"augment.brightness": 0.2}, data.spec)
    colours = np.repeat(x, 3, axis=1)
    spec = fitwell_data.read((colours, np.array(["cat", "dog"] * 20)), {}).spec
    strong = complete({"augment.policy": "strong"}, spec)  # knows better than to change them
    assert strong["augment.brightness"] == 0.0 and strong["augment.hflip"] == 0.5


def test_erasing_paints_one_rectangle_of_the_asked_size() -> None:
    x = torch.ones(500, 1, 40, 50)
    out = augment(erase=0.5)(x, 0, 0)
    areas = []
    for image in out[:, 0]:
        painted = image == 0
        rows, columns = painted.any(1), painted.any(0)
        assert int(painted.sum()) == int(rows.sum() * columns.sum())  # a full rectangle
        assert set(np.diff(np.flatnonzero(rows.numpy())).tolist()) <= {1}
        areas.append(painted.float().mean().item())
    kept = sum(area == 0 for area in areas)
    assert 200 < kept < 300
    assert 0.35 < max(areas) < 0.42
    assert 0.015 < min(area for area in areas if area) < 0.04


@pytest.mark.parametrize("name", list(CHANGES))
def test_each_moves_images_by_seed_epoch_and_step(name: str) -> None:
    x = images(64)
    change = {name: CHANGES[name]}
    out = seen(augment(**change), x, 2, 3)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert not torch.equal(out, x)
    assert torch.equal(out, seen(augment(**change), x, 2, 3))
    for other in (
        seen(augment(1, **change), x, 2, 3),
        seen(augment(**change), x, 1, 3),
        seen(augment(**change), x, 2, 4),
    ):
        assert not torch.equal(out, other)


def test_every_entry_is_a_setting_that_changes_something() -> None:
    assert set(AUGMENTATIONS) == {*CHANGES, *KIND_OF, "multi_scale", "tta"}
    assert set(augment_settings()) == {*AUGMENTATIONS, "crop_ratio", "closing", "policy"}
    assert not augment()
    assert all(augment(**{name: value}) for name, value in CHANGES.items())


def test_together_in_channels_last_as_otherwise() -> None:
    x = images(8)
    changed = augment(**CHANGES)
    last = seen(changed, x.contiguous(memory_format=torch.channels_last), 0, 0)
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, seen(changed, x, 0, 0), rtol=0, atol=1e-5)


def test_only_training_batches_are_augmented() -> None:
    data = fitwell_data.read("digits", {"limit": 300})
    recipe = complete({"augment.rotate": 90, "train.epochs": 1}, data.spec)
    rows = split.fit_rows(data, recipe.section("data"), 0)
    job = build_job(data, rows, recipe, seed=0)
    plain = build_job(data, rows, complete({"train.epochs": 1}, data.spec), seed=0)
    changed, same = next(job.batches.epoch(0)), next(plain.batches.epoch(0))
    assert torch.equal(changed.index, same.index)
    assert not torch.allclose(changed.x, same.x)
    for name, part in job.parts.items():
        assert torch.equal(next(part.epoch(0)).x, next(plain.parts[name].epoch(0)).x)


def test_shifted_digits_are_read_by_who_saw_shifted_ones() -> None:
    digits = fitwell_data.read("digits", {})
    wide = np.pad(digits.inputs, ((0, 0), (0, 0), (3, 3), (3, 3)))
    scores = {}
    for change in (0.0, 0.2):
        settings = {"train.epochs": 20, "augment.translate": change}
        run = fw.fit((wide, digits.targets), model="mlp", settings=settings, examples=False)
        said = fw.predict(run, np.roll(wide, 2, axis=3))
        right = [row["prediction"] == str(t) for row, t in zip(said, digits.targets, strict=True)]
        scores[change] = sum(right) / len(right)
    assert scores[0.2] > scores[0.0] + 0.2


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("wine", {"augment.hflip": 0.5}, "changes images, and these are rows of 13 columns"),
        ("digits", {"augment.scale": [1.2, 0.8]}, r"Set augment\.scale=\[0\.8, 1\.2\]"),
        ("digits", {"augment.crop": [0.5, 1.5]}, "at most 1"),
        ("digits", {"augment.crop": [0.5]}, "a list of at least 2"),
        ("digits", {"augment.flip": 0.5}, r"It has: policy, hflip, vflip"),
    ],
)
def test_what_makes_no_sense_is_refused(
    source: str, settings: dict[str, Any], message: str
) -> None:
    data = fitwell_data.read(source, {})
    with pytest.raises(SettingError, match=message):
        complete(settings, data.spec)
