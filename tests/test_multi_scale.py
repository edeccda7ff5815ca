"""`augment.multi_scale`: each batch is trained on at a size of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.augment import Augment, augment_settings
from fitwell.augment.resizing import sizes
from fitwell.data import split
from fitwell.errors import SettingError
from fitwell.pictures.augmented import changed, write_augmented
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train import fit
from fitwell.train.job import build_job

QUICK: dict[str, Any] = {
    "model.name": "resnet",
    "model.depth": 20,
    "model.width": 8,
    "data.limit": 300,
}


def augment(seed: int = 0, **changes: Any) -> Augment:
    settings = {**augment_settings(), **changes}
    return Augment(settings, empty=np.zeros(3), full=np.ones(3), seed=seed)


def test_a_batch_is_seen_at_each_of_the_sizes_and_no_other() -> None:
    x = torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    changes = augment(multi_scale=0.25)
    seen = [changes(x, epoch, step) for epoch in range(4) for step in range(50)]
    found = [tuple(images.shape[2:]) for images in seen]
    assert set(found) == set(sizes(32, 48, 0.25))
    assert set(found) == {(24, 36), (28, 42), (32, 48), (36, 54), (40, 60)}
    for size in set(found):
        assert 20 <= found.count(size) <= 60  # 40 of 200 each, to 3.5 standard deviations
    for images in seen[:10]:
        whole = F.interpolate(x, images.shape[2:], mode="bilinear", align_corners=False)
        assert torch.equal(images, whole)


def test_the_size_depends_on_seed_epoch_and_step_alone() -> None:
    x = torch.zeros(4, 3, 32, 32)

    def shapes(seed: int, epoch: int, size: int = 4) -> list[int]:
        return [augment(seed, multi_scale=0.5)(x[:size], epoch, s).shape[2] for s in range(12)]

    assert shapes(0, 0) == shapes(0, 0) == shapes(0, 0, 1)
    assert shapes(0, 0) != shapes(1, 0) != shapes(0, 1)


def test_other_changes_are_what_they_are_without_it() -> None:
    x = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    both, one = augment(multi_scale=0.5, hflip=0.5), augment(hflip=0.5)
    for step in range(6):
        seen = both(x, 0, step)
        whole = F.interpolate(one(x, 0, step), seen.shape[2:], mode="bilinear", align_corners=False)
        assert torch.equal(seen, whole)


def test_boxes_grow_with_their_pictures() -> None:
    x = torch.zeros(2, 3, 40, 80)
    x[:, :, 10:20, 30:50] = 1.0
    boxes = torch.tensor([[[30.0, 10, 50, 20], [torch.nan] * 4]]).repeat(2, 1, 1)
    grown = set()
    for step in range(12):
        seen, moved = augment(multi_scale=0.5, hflip=1.0).with_boxes(x, boxes, 0, step)
        height, width = seen.shape[2:]
        grown.add(height)
        expected = torch.tensor([30 * width / 80, height / 4, 50 * width / 80, height / 2])
        torch.testing.assert_close(moved[:, 0], expected.expand(2, 4))
        assert torch.isnan(moved[:, 1]).all()
        lit = (seen[0, 0] > 0.5).nonzero()
        extent = torch.cat([lit.amin(0).flip(0), lit.amax(0).flip(0) + 1]).float()
        torch.testing.assert_close(extent, moved[0, 0], atol=1.0, rtol=0)
    assert len(grown) > 3


def test_it_is_trained_on_and_scores_are_of_the_images_own_size(tmp_path: Path) -> None:
    settings = {**QUICK, "train.epochs": 2, "augment.multi_scale": 0.25}
    run = fw.fit("digits", settings=settings, out=tmp_path / "run", examples=False)
    plain = fw.fit("digits", settings={**settings, "augment.multi_scale": 0.0})
    assert run.scores != plain.scores
    data = fitwell_data.read("digits", {"limit": 300})
    recipe = complete(settings, data.spec)
    job = build_job(data, split.fit_rows(data, recipe.section("data"), 0), recipe, seed=0)
    assert {batch.x.shape[2] for batch in job.batches.epoch(0)} - {8}
    assert {b.x.shape[2] for part in job.parts.values() for b in part.epoch(0)} == {8}


def test_going_on_sees_the_same_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = fitwell_data.read("digits", {"limit": 300})
    recipe = complete({**QUICK, "train.epochs": 3, "augment.multi_scale": 0.5}, data.spec)
    rows = split.fit_rows(data, recipe.section("data"), 0)
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    whole = fit.train_once(data, rows, recipe, folder=_new(tmp_path / "whole"), threads=1)
    short = fit.train_once(data, rows, recipe, folder=_new(tmp_path / "short"), threads=1, epochs=1)
    assert short.folder is not None
    short.status = "interrupted"
    fit.store.save_run(short, short.folder, rows=False)
    on = fit.resume(short.folder, data, rows)
    assert len(on.steps) < len(whole.steps)  # it stops where it was asked to
    assert [r["loss"] for r in on.steps] == [r["loss"] for r in whole.steps[: len(on.steps)]]


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("value", [0.1, 0.75, -0.125])
def test_sizes_are_eighths_up_to_a_half(value: float) -> None:
    spec = Spec("images", "classification", (3, 24, 24), classes=("a", "b"), num_examples=90)
    with pytest.raises(SettingError, match=r"augment\.multi_scale") as error:
        complete({"augment.multi_scale": value}, spec)
    assert str(value) in error.value.message


@pytest.mark.parametrize(
    ("model", "why"), [("lenet", "does not read images of other sizes"), ("vit", "other sizes")]
)
def test_networks_of_one_size_are_refused_before_anything_is_written(
    tmp_path: Path, model: str, why: str
) -> None:
    chosen = {"data.limit": 300, "model.name": model, "augment.multi_scale": 0.25}
    with pytest.raises(SettingError, match=why) as error:
        fw.fit("digits", settings=chosen, out=tmp_path / "run")
    assert error.value.setting == "augment.multi_scale"
    assert "Leave it out" in error.value.message and not (tmp_path / "run").exists()


def test_tables_have_no_size() -> None:
    spec = Spec("table", "classification", (4,), classes=("a", "b"), num_examples=90)
    with pytest.raises(SettingError, match=r"augment\.multi_scale = 0\.25: changes images"):
        complete({"augment.multi_scale": 0.25}, spec)


def test_the_picture_shows_all_batches_at_one_size(tmp_path: Path) -> None:
    data = fitwell_data.read("digits", {"limit": 60})
    recipe = complete({**QUICK, "augment.multi_scale": 0.5}, data.spec)
    path = tmp_path / "sheet.png"
    (found,) = write_augmented(path, data, recipe)
    assert path.exists() and found["settings"] == {"augment.multi_scale": 0.5}
    prepared = build_job(
        data, split.fit_rows(data, recipe.section("data"), 0), recipe, seed=0
    ).preprocess
    settings = {**augment_settings(), "multi_scale": 0.5}
    grey = Augment(settings, empty=np.zeros(1), full=np.ones(1), seed=3)
    images, _ = changed(data.inputs[:5], prepared, grey)
    assert images.shape[2:] == (1, 8, 8)
    assert any((images[:, 0] != images[:, k]).any() for k in range(1, images.shape[1]))
