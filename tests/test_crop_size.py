"""`data.crop_size`: images are kept larger than the model sees them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

import fitwell as fw
from fitwell.augment import Augment, augment_settings
from fitwell.augment.batch import resample
from fitwell.augment.geometry import crop, matrices
from fitwell.data import preprocess, read, split
from fitwell.data.batches import Batches
from fitwell.data.inputs import read_inputs
from fitwell.errors import SettingError
from fitwell.report import mistakes
from fitwell.report.pixels import overlay
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train.job import build_job


def pictures(n: int = 60, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8), np.arange(n) % 3


def augment(size: tuple[int, int], **changes: Any) -> Augment:
    settings = {**augment_settings(), **changes}
    return Augment(settings, empty=np.zeros(3), full=np.ones(3), seed=0, size=size)


def test_the_model_sees_the_centre() -> None:
    x, y = pictures()
    data = read((x, y), {"crop_size": 8})
    assert data.spec.input_shape == (3, 8, 8) and data.spec.kept_size == (12, 12)
    assert data.inputs.shape == (60, 3, 12, 12)
    fitted = preprocess.fit(data, np.arange(60))
    factor, shift = (a[:, None, None] for a in fitted.affine())
    assert np.array_equal(fitted.inputs(data.inputs), x[:, :, 2:10, 2:10] * factor + shift)
    again = preprocess.Preprocess.from_json(fitted.to_json())
    assert again == fitted and Spec.from_json(data.spec.to_json()) == data.spec


@pytest.mark.parametrize("most", [0, 1 << 30])  # converted a batch at a time, or all at once
@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_are_cut_however_they_are_kept(
    most: int, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fitwell.data.feeds.MOST_FLOAT_BYTES", most)
    data = read(pictures(), {"crop_size": 7})
    fitted = preprocess.fit(data, np.arange(60))
    rows = np.arange(5, 30)
    batches = Batches(
        data.inputs,
        data.targets,
        rows,
        batch_size=10,
        preprocess=fitted,
        shuffle=False,
        channels_last=channels_last,
    )
    got = torch.cat([batch.x for batch in batches.epoch(0)])
    want = torch.from_numpy(fitted.inputs(data.inputs[rows]))
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    cut = Batches(
        data.inputs,
        data.targets,
        rows,
        batch_size=10,
        preprocess=fitted,
        shuffle=False,
        channels_last=channels_last,
        augment=augment((7, 7)),
    )
    whole = preprocess.Preprocess("images", fitted.mean, fitted.scale).inputs(data.inputs[rows])
    found = torch.cat([batch.x for batch in cut.epoch(0)]).numpy()
    places = {place_of(image, part) for image, part in zip(whole, found, strict=True)}
    assert len(places) > 10 and all(0 <= t <= 5 and 0 <= left <= 5 for t, left in places)


def place_of(image: np.ndarray, part: np.ndarray) -> tuple[int, int]:
    """Where in the image the part is, to the last bit but rounding."""
    high, wide = part.shape[1:]
    for top in range(image.shape[1] - high + 1):
        for left in range(image.shape[2] - wide + 1):
            if np.allclose(image[:, top : top + high, left : left + wide], part, atol=1e-5):
                return top, left
    raise AssertionError("no part of it")


@given(st.integers(0, 1000), st.integers(0, 4), st.integers(0, 5))
def test_without_other_changes_a_random_place_is_cut_out(seed: int, down: int, across: int) -> None:
    x = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    size = (12 - down, 12 - across)
    out = augment(size)(x, seed, 0)
    assert out.shape == (4, 3, *size)
    for image, part in zip(x.numpy(), out.numpy(), strict=True):
        place_of(image, part)
    assert augment(size) and not Augment(augment_settings(), empty=np.zeros(3), seed=0)


def test_flips_cut_out_a_random_place_too() -> None:
    x = torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    out = augment((8, 8), hflip=1.0)(x, 0, 0)
    places = {
        place_of(image, part) for image, part in zip(x.flip(3).numpy(), out.numpy(), strict=True)
    }
    assert len(places) > 8


def test_nearly_all_cut_out_is_nearly_all_seen() -> None:
    """The picture is shrunk to what the model sees, and no middle is cut out of it."""
    ramp = torch.linspace(0, 1, 48).expand(1, 1, 48, 48)
    change = augment((24, 12), crop=[0.98, 0.98], crop_ratio=[1.0, 1.0])
    for x in (ramp, ramp.mT):
        out = change(x.expand(8, 3, 48, 48), 0, 0)
        assert out.shape == (8, 3, 24, 12)
        assert (out.amin((1, 2, 3)) < 0.06).all() and (out.amax((1, 2, 3)) > 0.94).all()


def test_a_part_that_is_cut_out_comes_as_large_as_the_model_sees() -> None:
    """As torchvision's resized_crop gives it, but for the smoothing of what it shrinks."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 48)[None, :] + 0.3 * np.linspace(0, 1, 48)[:, None]
    x = torch.from_numpy(np.stack([ramp, 1 - ramp, ramp**2])).float().expand(6, -1, -1, -1)
    moved = crop(rng, 6, 48, 48, crop=[0.3, 0.9], crop_ratio=[0.8, 1.25])
    shrunk = matrices(6, a=40 / 48, d=36 / 48) @ moved
    ours = resample(x, shrunk, torch.zeros(3, 1, 1), (36, 40))
    for i in range(6):
        a, d = moved[i, 0, 0], moved[i, 1, 1]
        wide, high = 48 / a, 48 / d
        left, top = 24 - moved[i, 0, 2] / a - wide / 2, 24 - moved[i, 1, 2] / d - high / 2
        top, left, high, wide = (round(v) for v in (top, left, high, wide))
        theirs = F.resized_crop(
            x[i], top, left, high, wide, [36, 40], InterpolationMode.BILINEAR, antialias=False
        )
        # Theirs begins at whole pixels: half a pixel of 48 on a slope of 1.3 and of 2 (squared).
        assert (ours[i] - theirs)[:, 2:-2, 2:-2].abs().max() < 0.05


def test_it_trains_predicts_and_is_read_again(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(60):
        place = tmp_path / "shapes" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
        picture[10:30, 10:30] += 120 * (i % 2)
        Image.fromarray(picture).save(place / f"{i}.png")
    settings = {
        "data.image_size": 20,
        "data.crop_size": 16,
        "train.epochs": 12,
        "model.name": "convnet",
        "model.width": 4,
    }
    run = fw.fit(str(tmp_path / "shapes"), settings=settings, out=tmp_path / "run")
    assert run.spec is not None and run.spec.input_shape == (3, 16, 16)
    assert run.scores["test"]["accuracy"] == 1.0
    found = read_inputs(tmp_path / "shapes" / "a" / "0.png", run.spec)
    assert found.inputs.shape == (1, 3, 20, 20)
    said = fw.predict(run, tmp_path / "shapes")
    assert np.mean([p["prediction"] == p["input"].split("/")[-2] for p in said]) == 1.0
    assert fw.evaluate(run, source=str(tmp_path / "shapes"))["scores"]["accuracy"] == 1.0


def test_training_sees_random_places_and_evaluation_the_centre() -> None:
    data = read(pictures(), {"crop_size": 8})
    recipe = complete({"model.name": "linear"}, data.spec)
    job = build_job(data, split.fit_rows(data, {}, 0), recipe, seed=0)
    first, second = (next(job.batches.epoch(epoch)).x for epoch in (0, 1))
    assert first.shape[1:] == second.shape[1:] == (3, 8, 8)
    assert next(job.parts["validation"].epoch(0)).x.shape[1:] == (3, 8, 8)
    again, changed = (next(job.parts["train"].epoch(epoch)).x for epoch in (0, 1))
    assert torch.equal(again, changed)


def test_what_is_too_large_or_no_image_is_refused() -> None:
    with pytest.raises(SettingError, match=r"data.crop_size = 13: larger than the images.*12x12"):
        read(pictures(), {"crop_size": 13})
    assert read(pictures(), {"crop_size": 12}).spec.stored == ()
    table = (np.random.default_rng(0).normal(size=(20, 2)), [0, 1] * 10)
    with pytest.raises(
        SettingError, match=r"data.crop_size = 8: is for images, and these are rows"
    ):
        read(table, {"crop_size": 8})


def test_a_map_of_a_mistake_covers_what_the_model_saw() -> None:
    data = read(pictures(), {"crop_size": 8})
    shares = np.linspace(0, 1, 64).reshape(8, 8).tolist()
    middle = data.inputs[7][:, 2:10, 2:10]
    assert (
        mistakes._looked(data, 7, shares)
        == overlay(middle, shares)
        != overlay(data.inputs[7], shares)
    )
