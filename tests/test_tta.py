"""`augment.tta`: images are predicted from several views."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.api.results import open_run
from fitwell.augment import Augment, augment_settings, tta
from fitwell.errors import SettingError
from fitwell.pictures.augmented import changes_of
from fitwell.policies import without_old
from fitwell.predict import decode
from fitwell.recipe import Recipe
from fitwell.resolve import augmenting, complete
from fitwell.restraints import augmented
from fitwell.spec import Spec

PHOTOS = Spec("images", "classification", (3, 24, 24), classes=("cat", "dog"), num_examples=90)
QUICK: dict[str, Any] = {"train.epochs": 2, "data.limit": 300, "model.width": 8}


class Weighing(nn.Module):
    """Half of each output is the mean of the left half of an image, and its width is the other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = x[..., : x.shape[-1] // 2].mean((1, 2, 3))
        return torch.stack([left, torch.full_like(left, x.shape[-1])], 1)


def test_outputs_are_the_mean_over_the_views() -> None:
    x = torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    model = Weighing()
    assert torch.equal(tta(model, x), model(x))
    both = (model(x) + model(x.flip(3))) / 2
    torch.testing.assert_close(tta(model, x, tta="mirror"), both)
    mean = x.mean((1, 2, 3))  # of both halves, whatever the size
    several = tta(model, x, tta="scales")
    torch.testing.assert_close(several[:, 0], mean, atol=0.02, rtol=0)
    torch.testing.assert_close(several[:, 1], torch.full((5,), (21 + 24 + 27) / 3))


@pytest.mark.parametrize("views", ["mirror", "scales"])
def test_a_run_is_scored_and_predicts_from_its_views(tmp_path: Path, views: str) -> None:
    settings = {**QUICK, "model.name": "resnet", "model.depth": 20, "augment.tta": views}
    run = fw.fit("digits", settings=settings, out=tmp_path / "run", examples=False)
    plain = fw.fit("digits", settings={**settings, "augment.tta": "none"}, out=tmp_path / "plain")
    assert [e["validation"] for e in run.epochs] == [e["validation"] for e in plain.epochs]
    assert run.scores != plain.scores
    assert all(run.scores[part] != plain.scores[part] for part in ("train", "validation", "test"))
    run = open_run(tmp_path / "run")
    data = fitwell_data.read("digits", {"limit": 300})
    for part in ("validation", "test"):
        kept = run.predictions[part]
        again = decode(run, data.inputs[kept.index]).probabilities
        one = decode(open_run(tmp_path / "plain"), data.inputs[kept.index]).probabilities
        assert kept.probabilities is not None and again is not None and one is not None
        np.testing.assert_allclose(again, kept.probabilities, atol=2e-3)
        assert np.abs(one - kept.probabilities).max() > 0.01
        right = (kept.prediction == kept.target).mean()
        assert run.scores[part]["accuracy"] == pytest.approx(right)
    assert fw.evaluate(run)["scores"]["accuracy"] == pytest.approx(run.scores["test"]["accuracy"])


def test_classifiers_predict_from_views() -> None:
    data = fitwell_data.read("digits", {"limit": 300})
    x, y = data.inputs[:200].astype(np.float32), data.targets[:200]
    chosen = {**QUICK, "model.name": "convnet"}
    found = [
        fw.Classifier(settings={**chosen, "augment.tta": v}, random_state=0)
        .fit(x, y)
        .predict_proba(x)
        for v in ("none", "mirror")
    ]
    assert not np.allclose(found[0], found[1])


def test_networks_of_one_size_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    chosen = {**QUICK, "model.name": "lenet", "augment.tta": "scales"}
    with pytest.raises(SettingError, match=r"lenet does not read images of other sizes") as error:
        fw.fit("digits", settings=chosen, out=tmp_path / "run")
    assert error.value.setting == "augment.tta" and not (tmp_path / "run").exists()
    chosen["augment.tta"] = "mirror"
    assert fw.fit("digits", settings=chosen, out=tmp_path / "run").status == "done"


@pytest.mark.parametrize(
    "spec",
    [
        Spec("table", "classification", (4,), classes=("a", "b"), num_examples=90),
        Spec("text", "classification", (4,), classes=("a", "b"), num_examples=90, vocabulary=9),
        Spec("audio", "regression", (1, 64, 9), num_examples=90, rate=8000, samples=800),
        Spec("series", "classification", (1, 9), classes=("a", "b"), num_examples=90),
    ],
)
def test_only_images_have_views(spec: Spec) -> None:
    with pytest.raises(SettingError, match=r"augment\.tta = mirror: is for images"):
        complete({"augment.tta": "mirror"}, spec)


def test_pictures_with_boxes_have_none() -> None:
    spec = Spec("boxes", "detection", (3, 64, 64), classes=("cat",), num_examples=90)
    assert augmenting({"augment.hflip": 0.5}, spec)["augment.tta"] == "none"
    with pytest.raises(SettingError, match=r"boxes lie elsewhere in each view"):
        augmenting({"augment.tta": "mirror"}, spec)


def test_no_training_image_is_changed_by_it() -> None:
    settings = {**augment_settings(), "tta": "scales"}
    assert not Augment(settings, empty=np.zeros(3), seed=0)
    recipe = complete({"augment.tta": "mirror", "augment.policy": "light"}, PHOTOS)
    assert "augment.tta" not in changes_of(recipe) and changes_of(recipe)
    assert "augment.tta" not in augmented(recipe) and augmented(recipe)
    edited = without_old(recipe, {"augment.policy": "none"})
    assert edited["augment.tta"] == "mirror" and "augment.hflip" not in edited


def test_runs_from_before_predict_as_they_did(tmp_path: Path) -> None:
    fw.fit("digits", settings={**QUICK, "model.name": "convnet"}, out=tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.recipe is not None
    data = fitwell_data.read("digits", {"limit": 300})
    first = decode(run, data.inputs[:20]).probabilities
    assert first is not None
    run.recipe = Recipe({k: v for k, v in run.recipe.items() if k != "augment.tta"})
    again = decode(run, data.inputs[:20]).probabilities
    assert again is not None and np.array_equal(again, first)
