"""Mixed examples and their losses; the policies; the sheet of augmented examples."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.api.start import begin
from fitwell.augment import Augment, augment_settings
from fitwell.augment.mixing import cutmix, mix, mixup
from fitwell.cli.main import run as command
from fitwell.data import split
from fitwell.data.batches import Batch, Mixture
from fitwell.errors import SettingError
from fitwell.pictures.augmented import NUM_CHANGED, changed
from fitwell.policies import POLICIES, policy
from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.remedies import REMEDIES, name_of, remedies_for
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train.job import Job, build_job

RNG = np.random.default_rng
DIGITS = Spec("images", "classification", (1, 28, 28), classes=tuple("0123456789"))
SMALL = Spec("images", "classification", (3, 32, 32), classes=("cat", "dog"))
PHOTOS = Spec("images", "classification", (3, 224, 160), classes=("cat", "dog"))
ANGLES = Spec("images", "regression", (1, 64, 64))
TABLE = Spec("table", "classification", (4,), classes=("no", "yes"))


def test_mixup_blends_each_image_with_its_partner() -> None:
    x = torch.rand(64, 3, 5, 4)
    out, (partner, share) = mix(RNG(0), x, {"mixup": 1.0})
    own = share.view(-1, 1, 1, 1)
    torch.testing.assert_close(out, own * x + (1 - own) * x[partner], rtol=0, atol=1e-6)
    assert sorted(partner.tolist()) == list(range(64))
    assert len(set(share.tolist())) == 64  # each its own


class Centred:
    """Random numbers whose places are the middle, where no rectangle is cut at the border."""

    def __init__(self) -> None:
        self.rng = RNG(1)

    def beta(self, *arguments: Any) -> np.ndarray:
        return self.rng.beta(*arguments)

    def random(self, n: int) -> np.ndarray:
        return np.full(n, 0.5)


@pytest.mark.parametrize("strength", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("change", [mixup, cutmix])
def test_shares_are_of_the_beta_distribution(change: Any, strength: float) -> None:
    """Mean 1/2 and variance 1 / (4 (2 a + 1)), of 4,000."""
    shares = change(Centred(), 4000, 100, 100, **{change.__name__: strength}).mean((1, 2))
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.var() - 1 / (4 * (2 * strength + 1))) < 0.015


def test_cutmix_pastes_one_rectangle_shaped_like_the_image() -> None:
    x = torch.rand(500, 2, 40, 60)
    out, (partner, share) = mix(RNG(2), x, {"cutmix": 1.0})
    ratios = []
    for before, after, other, own in zip(x, out, x[partner], share, strict=True):
        pasted = (after != before).any(0)
        assert torch.equal(after[:, pasted], other[:, pasted])
        rows, columns = pasted.any(1), pasted.any(0)
        assert int(pasted.sum()) == int(rows.sum() * columns.sum())
        if not torch.equal(before, other):
            assert abs(own - (1 - pasted.float().mean())) < 1e-6
        inner = not (rows[[0, -1]].any() or columns[[0, -1]].any())
        if inner and rows.sum() >= 10:
            ratios.append(int(columns.sum()) / int(rows.sum()))
    assert len(ratios) > 30 and abs(np.mean(ratios) - 1.5) < 0.05


def test_with_both_each_image_is_mixed_one_way() -> None:
    x = torch.rand(400, 1, 8, 8)
    out, (partner, share) = mix(RNG(3), x, {"mixup": 1.0, "cutmix": 1.0})
    blended = share.view(-1, 1, 1, 1) * x + (1 - share.view(-1, 1, 1, 1)) * x[partner]
    by_mixup = torch.isclose(out, blended, atol=1e-6).all(3).all(2).all(1)
    by_cutmix = ((out == x) | (out == x[partner])).all(3).all(2).all(1)
    assert (by_mixup | by_cutmix).all()
    assert 150 < int(by_mixup.sum()) < 250 and int(by_cutmix.sum()) > 150


def a_job(source: Any, settings: dict[str, Any]) -> Job:
    data = fitwell_data.read(source, {})
    recipe = complete({"train.epochs": 1, **settings}, data.spec)
    return build_job(data, split.fit_rows(data, recipe.section("data"), 0), recipe, seed=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_mixed_examples_is_that_of_mixed_labels(smoothing: float) -> None:
    """Cross-entropy is linear in the label, so PyTorch's with class probabilities is the same."""
    job = a_job("digits", {"loss.label_smoothing": smoothing})
    outputs, y = torch.randn(6, 10), torch.tensor([0, 1, 2, 3, 4, 4])
    partner, share = torch.tensor([3, 2, 1, 0, 5, 4]), torch.rand(6)
    batch = Batch(torch.zeros(6), y, torch.arange(6), Mixture(partner, share))
    labels = share[:, None] * F.one_hot(y, 10) + (1 - share)[:, None] * F.one_hot(y[partner], 10)
    theirs = F.cross_entropy(outputs, labels, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(job.values(outputs, batch), theirs)


def test_the_gradient_of_mixed_numbers_is_that_of_their_mean() -> None:
    images = RNG(0).integers(0, 256, (60, 1, 8, 8), np.uint8)
    job = a_job((images, RNG(0).normal(size=60)), {"loss.name": "mse"})
    outputs = torch.randn(6, 1, requires_grad=True)
    y, partner, share = torch.randn(6), torch.tensor([3, 2, 1, 0, 5, 4]), torch.rand(6)
    batch = Batch(torch.zeros(6), y, torch.arange(6), Mixture(partner, share))
    (ours,) = torch.autograd.grad(job.values(outputs, batch).sum(), outputs)
    mixed = Batch(torch.zeros(6), share * y + (1 - share) * y[partner], torch.arange(6))
    (theirs,) = torch.autograd.grad(job.values(outputs, mixed).sum(), outputs)
    torch.testing.assert_close(ours, theirs)


def test_a_resumed_epoch_mixes_as_an_uninterrupted_one() -> None:
    job = a_job("digits", {"augment.mixup": 0.4, "augment.cutmix": 1.0})
    whole = list(job.batches.epoch(1))
    (rest,) = [b for i, b in enumerate(job.batches.epoch(1, start=len(whole) - 1)) if i == 0]
    assert whole[-1].mixture is not None and rest.mixture is not None
    assert torch.equal(whole[-1].x, rest.x)
    assert torch.equal(whole[-1].mixture.share, rest.mixture.share)
    assert all(b.mixture is None for part in job.parts.values() for b in part.epoch(0))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_who_trains_on_mixed_digits_reads_digits(name: str) -> None:
    settings = {f"augment.{name}": 1.0, "train.epochs": 20}
    run = fw.fit("digits", model="lenet", settings=settings)
    assert run.scores["test"]["accuracy"] > 0.95
    plain = fw.fit("digits", model="lenet", settings={"train.epochs": 20})
    last = [sum(row["loss"] for row in r.steps[-20:]) for r in (run, plain)]
    assert last[0] > 3 * last[1]  # of mixed labels no loss is near 0


@pytest.mark.parametrize("spec", [DIGITS, SMALL, PHOTOS, ANGLES])
def test_a_policy_is_what_its_settings_are(spec: Spec) -> None:
    none, light, strong = (policy(name, spec) for name in POLICIES)
    assert none == {} and light and strong.keys() >= light.keys() and light != strong
    for name, values in (("light", light), ("strong", strong)):
        recipe = complete({"augment.policy": name}, spec)
        assert {n: recipe[n] for n in values} == values
        others = {f"augment.{k}": v for k, v in augment_settings(policy=name).items()}
        assert all(recipe[n] == v for n, v in others.items() if n not in values)


def test_no_policy_flips_what_flips_may_change() -> None:
    for spec in (DIGITS, ANGLES):
        flips = policy("strong", spec).keys() & {"augment.hflip", "augment.vflip"}
        assert not flips
    letters = Spec("images", "classification", (1, 28, 28), classes=("A", "B", "Ç"))
    assert "augment.hflip" not in policy("strong", letters)
    assert (
        policy("light", SMALL)["augment.hflip"] == policy("light", PHOTOS)["augment.hflip"] == 0.5
    )
    assert "augment.vflip" not in policy("strong", SMALL)


def test_a_setting_beside_a_policy_wins() -> None:
    recipe = complete({"augment.policy": "light", "augment.hflip": 0.0}, SMALL)
    assert recipe["augment.hflip"] == 0.0 and recipe["augment.translate"] == 0.1
    with pytest.raises(
        SettingError, match="changes images, texts or recordings, and these are rows of 0 columns"
    ):
        complete({"augment.policy": "light"}, TABLE)


def test_another_policy_over_a_recipe_leaves_the_old_one_behind() -> None:
    before = begin("digits", "", {"augment.policy": "strong", "augment.erase": 0.5}).recipe
    assert before["augment.mixup"] == 0.2
    after = begin(before, "", {"augment.policy": "light"}).recipe
    assert after == begin("digits", "", {"augment.policy": "light"}).recipe
    assert begin(before, "", {"augment.policy": "none"}).recipe["augment.erase"] == 0.0
    assert begin(before, "", {"train.epochs": 3}).recipe["augment.erase"] == 0.5


def overfitted(recipe: Recipe, spec: Spec) -> list[dict[str, Any]]:
    return REMEDIES["augment"](recipe, spec, Finding("overfitting", "high", {}, ""))


def test_augmentation_is_a_remedy_light_first() -> None:
    plain = complete({}, SMALL)
    light, strong = overfitted(plain, SMALL)
    assert light == {"augment.policy": "light", **policy("light", SMALL)}
    assert strong == {"augment.policy": "strong", **policy("strong", SMALL)}
    assert name_of(strong, plain) == "augment.policy: none -> strong"
    remedies = remedies_for(Finding("overfitting", "high", {}, ""), plain, SMALL)
    assert remedies[0].settings == light
    gentle = complete({"augment.policy": "light"}, SMALL)
    (more,) = overfitted(gentle, SMALL)
    assert complete({**gentle, **more}, SMALL) == complete({**plain, **strong}, SMALL)
    assert more.keys() < strong.keys()  # what stays as it is is no edit
    assert overfitted(complete({"augment.policy": "strong"}, SMALL), SMALL) == []
    assert overfitted(complete({"augment.hflip": 0.5}, SMALL), SMALL) == []  # chosen by hand
    assert overfitted(complete({}, TABLE), TABLE) == []


@pytest.mark.parametrize("settings", [{"augment.policy": "strong"}, {"augment.rotate": 90.0}])
def test_what_underfits_is_augmented_no_more(settings: dict[str, Any]) -> None:
    recipe = complete(settings, SMALL)
    (edit,) = REMEDIES["less_regularisation"](
        recipe, SMALL, Finding("underfitting", "high", {}, "")
    )
    assert complete({**recipe, **edit}, SMALL) == complete({}, SMALL)


def test_show_augment_draws_the_policies_of_a_source_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(["show", "digits", "--augment", "--json"]) == 0
    pictures = json.loads(capsys.readouterr().out)["pictures"]
    assert [p["settings"]["augment.policy"] for p in pictures] == ["light", "strong"]
    assert {p["path"] for p in pictures} == {"runs/digits-augmented.png"}
    first = Path("runs/digits-augmented.png").read_bytes()
    assert command(["show", "digits", "--augment"]) == 0
    said = capsys.readouterr()
    assert "runs/digits-augmented.png" in said.out and "augment.rotate=8.0" in said.out
    assert max(map(len, said.out.splitlines())) <= 80 and said.err == ""
    assert Path("runs/digits-augmented.png").read_bytes() == first


def test_show_augment_draws_what_a_run_was_trained_on(tmp_path: Path) -> None:
    images = RNG(0).integers(0, 256, (60, 3, 8, 12), np.uint8)
    settings = {"train.epochs": 1, "train.batch_size": 16, "augment.hflip": 1.0}
    data = (images, np.arange(60) % 3)
    run = fw.fit(data, model="lenet", settings=settings, out=tmp_path / "run")
    (picture,) = fw.show(run, augment=True)["pictures"]
    assert picture["settings"] == {"augment.hflip": 1.0}
    assert picture["path"] == (tmp_path / "run" / "pictures" / "augmented.png").as_posix()
    drawn = Image.open(picture["path"])
    assert drawn.width == 8 * 144 and drawn.height > 144


def test_a_sheet_shows_the_images_themselves() -> None:
    """Drawn in the unit of the data, so a flip gives the mirror image to the last bit."""
    images = RNG(0).integers(0, 256, (5, 3, 8, 12), np.uint8)
    data = fitwell_data.read((images, np.arange(5) % 2), {})
    prepared = fitwell_data.preprocess.fit(data, np.arange(5))
    settings = augment_settings(hflip=1.0)
    flip = Augment(settings, empty=prepared.affine()[1], seed=0)
    columns, _ = changed(images, prepared, flip)
    assert columns.shape == (5, 1 + NUM_CHANGED, 3, 8, 12)
    assert (columns[:, 0] == images).all()
    assert (columns[:, 1:] == images[:, None, ..., ::-1]).all()


def test_show_augment_of_a_table_is_refused() -> None:
    with pytest.raises(
        SettingError,
        match="images, texts and recordings are augmented, and these are rows of 13 columns",
    ):
        fw.show("wine", augment=True)
