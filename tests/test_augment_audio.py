"""Augmentation of recordings: the ratio measured, shifts and masks against numpy, training alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import tones

import fitwell as fw
from fitwell.augment import KIND_OF, SOUNDS, AugmentSounds, augment_settings
from fitwell.augment.sounds import frequency_mask, noise_snr, time_mask, time_shift
from fitwell.data import Data, read, split
from fitwell.errors import SettingError
from fitwell.policies import policy
from fitwell.predict import decode
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train.job import Job, build_job

RNG = np.random.default_rng
CHANGES: dict[str, Any] = {
    "noise_snr": [5.0, 15.0],
    "time_shift": 0.3,
    "time_mask": 0.5,
    "frequency_mask": 0.5,
}


def sounds(seed: int, n: int = 6, samples: int = 4000) -> torch.Tensor:
    """[example, 1, samples], of several loudnesses, lengths and places, zeros around."""
    rng = RNG(seed)
    out = np.zeros((n, 1, samples), np.float32)
    for row in out:
        length = int(rng.integers(500, samples))
        start = int(rng.integers(0, samples - length + 1))
        row[0, start : start + length] = rng.normal(0, rng.uniform(0.001, 0.5), length)
    return torch.from_numpy(out)


def augment(seed: int = 0, **changes: Any) -> AugmentSounds:
    return AugmentSounds({**augment_settings(), **changes}, seed=seed)


@given(
    seed=st.integers(0, 999),
    low=st.floats(-20, 60),
    width=st.floats(0, 20),
)
@settings(deadline=None)
def test_the_ratio_of_sound_to_noise_is_the_one_asked_for(
    seed: int, low: float, width: float
) -> None:
    """In dB, over the recording without the zeros at its ends: to 0.6 dB, which is two standard
    deviations and more of the power of 500 samples of noise."""
    x = sounds(seed).double()
    out = noise_snr(RNG(seed), x, noise_snr=[low, low + width])
    for before, after in zip(x[:, 0].numpy(), out[:, 0].numpy(), strict=True):
        there = np.flatnonzero(before)
        inside = slice(there[0], there[-1] + 1)
        noise = after - before
        ratio = 10 * np.log10((before[inside] ** 2).mean() / (noise**2).mean())
        assert low - 0.6 < ratio < low + width + 0.6
        assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.1  # white
        assert noise.std() == pytest.approx(noise[: len(noise) // 2].std(), rel=0.15)  # everywhere


def test_ratios_are_spread_evenly_and_silence_stays() -> None:
    x = torch.ones(2000, 1, 200)
    x[7] = 0
    out = noise_snr(RNG(0), x, noise_snr=[0, 30])
    assert not out[7].any()
    rest = torch.arange(2000) != 7
    ratio = -10 * (out - x)[rest].square().mean((1, 2)).log10()
    assert np.histogram(ratio, bins=3, range=(0, 30))[0].min() > 600


@given(seed=st.integers(0, 999), share=st.floats(0, 1))
@settings(deadline=None)
def test_shifts_are_numpys_and_zeros_come_in(seed: int, share: float) -> None:
    x = sounds(seed)
    out = time_shift(RNG(seed), x, time_shift=share)
    drawn = RNG(seed).uniform(-share, share, len(x))
    for before, after, part in zip(x[:, 0].numpy(), out[:, 0].numpy(), drawn, strict=True):
        there = np.flatnonzero(before)
        by = round(float(np.float32(part) * np.float32(there[-1] + 1 - there[0])))
        expected = np.zeros_like(before)
        kept = before[max(0, -by) : len(before) - max(0, by)]
        expected[max(0, by) : max(0, by) + len(kept)] = kept
        assert np.array_equal(after, expected)


@pytest.mark.parametrize(("change", "axis"), [(time_mask, 3), (frequency_mask, 2)])
def test_masks_are_one_stretch_of_all_widths_and_places(change: Any, axis: int) -> None:
    x = torch.ones(4000, 1, 20, 20)
    out = change(RNG(0), x, **{change.__name__: 0.25})
    covered = (out == 0).all(5 - axis)[:, 0].numpy()
    assert np.array_equal(
        (out == 0).any(5 - axis)[:, 0].numpy(), covered
    )  # all along the other axis
    widths = covered.sum(1)
    assert np.bincount(widths, minlength=6).min() > 550 and widths.max() == 5  # 0 to 5 of 20
    edges = np.abs(np.diff(covered.astype(int), axis=1, prepend=0, append=0)).sum(1)
    assert edges.max() == 2  # in a row
    assert covered.any(0).all()


@pytest.mark.parametrize("name", list(CHANGES))
def test_each_changes_by_seed_epoch_and_step(name: str) -> None:
    change = {name: CHANGES[name]}
    x = sounds(0, 32)
    image = torch.rand(32, 1, 16, 24, generator=torch.Generator().manual_seed(0))

    def seen(augment: AugmentSounds, epoch: int, step: int) -> torch.Tensor:
        mixed, mixture = augment.mix(augment(image, epoch, step), epoch, step)
        assert mixture is None
        return torch.cat([augment.waves(x.clone(), epoch, step).flatten(), mixed.flatten()])

    out = seen(augment(**change), 2, 3)
    assert not torch.equal(out, torch.cat([x.flatten(), image.flatten()]))
    assert torch.equal(out, seen(augment(**change), 2, 3))
    for other in (
        seen(augment(1, **change), 2, 3),
        seen(augment(**change), 1, 3),
        seen(augment(**change), 2, 4),
    ):
        assert not torch.equal(out, other)


def test_each_example_by_itself() -> None:
    x = sounds(0, 8)
    for name in ("noise_snr", "time_shift"):
        out = augment(**{name: CHANGES[name]}).waves(x.clone(), 0, 0)
        silent = x.clone()
        silent[3] = 0
        other = augment(**{name: CHANGES[name]}).waves(silent, 0, 0)
        rest = torch.arange(8) != 3
        assert torch.equal(out[rest], other[rest]) and not other[3].any()


def test_every_entry_is_a_setting_that_changes_something() -> None:
    assert set(SOUNDS) == set(CHANGES)
    assert not augment()
    assert all(augment(**{name: value}) for name, value in CHANGES.items())
    assert {name for name, kind in KIND_OF.items() if kind == "audio"} == set(SOUNDS)


def job(data: Data, **changes: Any) -> Job:
    recipe = complete({"model.name": "lenet", "train.batch_size": 8, **changes}, data.spec)
    return build_job(data, split.fit_rows(data, recipe.section("data"), 0), recipe, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("tones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITWELL_CACHE", str(place / "cache"))
        yield tones(place / "tones", 20)


@pytest.fixture(scope="module")
def data(folder: Path) -> Data:
    return read(folder)


@pytest.mark.parametrize("name", list(CHANGES))
def test_only_training_batches_are_changed(name: str, data: Data) -> None:
    plain, changed = job(data), job(data, **{f"augment.{name}": CHANGES[name]})
    one, other = next(plain.batches.epoch(0)), next(changed.batches.epoch(0))
    assert torch.equal(one.index, other.index) and one.x.shape == other.x.shape
    assert not torch.allclose(one.x, other.x, atol=1e-3)
    assert changed.batches.feed.ready == (name in ("time_mask", "frequency_mask"))
    for part in plain.parts:
        before, after = (next(j.parts[part].epoch(0)).x for j in (plain, changed))
        assert torch.equal(before, after)
    again = job(data, **{f"augment.{name}": CHANGES[name]})
    assert torch.equal(next(again.batches.epoch(0)).x, other.x)


def test_noise_is_heard_before_the_spectrogram_is_normalised(data: Data) -> None:
    """Noise of 0 dB lifts every band above the quietest there was."""
    plain, noisy = job(data), job(data, **{"augment.noise_snr": [0, 0]})
    before, after = (next(j.batches.epoch(0)).x for j in (plain, noisy))
    assert after.mean() > before.mean() + 0.5
    assert plain.preprocess == noisy.preprocess  # fitted without


@pytest.mark.parametrize("key", ["hflip", "mixup", "word_drop"])
def test_changes_of_other_kinds_are_refused(key: str, data: Data) -> None:
    what = "texts" if key == "word_drop" else "images"
    with pytest.raises(
        SettingError, match=rf"augment\.{key} = 0\.5: changes {what}, and these are recordings"
    ):
        complete({f"augment.{key}": 0.5}, data.spec)


@pytest.mark.parametrize("key", list(CHANGES))
def test_changes_of_recordings_are_refused_elsewhere(key: str) -> None:
    images = Spec("images", "classification", (1, 8, 8), ("a", "b"), num_examples=9)
    texts = Spec("text", "classification", (8,), ("a", "b"), num_examples=9, vocabulary=5)
    for spec in (images, texts):
        with pytest.raises(
            SettingError, match=f"{key} = .*changes recordings, and these are {spec.examples}"
        ):
            complete({f"augment.{key}": CHANGES[key]}, spec)
    with pytest.raises(SettingError, match=r"Set augment\.noise_snr=\[5\.0, 9\.0\]"):
        sound = Spec(
            "audio",
            "classification",
            (1, 64, 9),
            ("a", "b"),
            rate=8000,
            samples=640,
            num_examples=9,
        )
        complete({"augment.noise_snr": [9, 5]}, sound)


@pytest.mark.parametrize("name", ["light", "strong"])
def test_policies(name: str, data: Data) -> None:
    recipe = complete({"augment.policy": name}, data.spec)
    assert set(policy(name, data.spec)) == {f"augment.{key}" for key in SOUNDS}
    assert all(recipe[key] == value for key, value in policy(name, data.spec).items())


def test_the_sheet_of_what_training_hears(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fitwell.pictures import write_augmented

    found = write_augmented(tmp_path / "a.png", data, complete({}, data.spec))
    assert [row["settings"]["augment.policy"] for row in found] == ["light", "strong"]
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_improve_may_put_the_policies_on_trial() -> None:
    from fitwell.record import Finding
    from fitwell.remedies.regularisation import augment as remedy

    spec = Spec(
        "audio", "classification", (1, 64, 9), ("a", "b"), rate=8000, samples=640, num_examples=9
    )
    finding = Finding("overfitting", "medium", {}, "")
    edits = remedy(complete({}, spec), spec, finding)
    assert edits and all("augment.noise_snr" in edit for edit in edits)


def test_who_saw_noise_reads_noise(
    folder: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings at -10 dB of white noise, by networks trained without and with it."""
    monkeypatch.chdir(tmp_path)
    power = (data.inputs.astype(float) ** 2).mean((1, 2), keepdims=True)
    noisy = data.inputs + RNG(5).normal(0, 1, data.inputs.shape) * np.sqrt(10 * power)
    noisy = np.rint(noisy).clip(-32768, 32767).astype(np.int16)
    scores = {}
    for name, snr in (("without", [100, 100]), ("with", [-15, 20])):
        chosen: dict[str, Any] = {"train.epochs": 8, "train.batch_size": 8, "model.width": 8}
        run = fw.fit(folder, settings={**chosen, "augment.noise_snr": snr}, out=name)
        scores[name] = float((decode(run, noisy).prediction == data.targets).mean())
    assert scores["with"] > scores["without"] + 0.1
