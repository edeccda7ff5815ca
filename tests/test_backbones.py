"""Backbones of detectors: torchvision's, and weights that a network for classes learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_boxes import scenes, write_voc
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet18

import fitwell as fw
from fitwell.data import read, split
from fitwell.errors import DataError, FitwellError, SettingError
from fitwell.models import build
from fitwell.models.trunks import trunk
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train.finetune import RATE, depths
from fitwell.train.job import Job, build_job, check_buildable
from fitwell.weights import load
from fitwell.weights.pretrained import IMAGENET_MEAN, IMAGENET_STD

SPEC = Spec("boxes", "detection", (3, 64, 64), ("red", "green"))
MOBILE = {"model.backbone": "torchvision:mobilenet_v3_small"}
SMALL = {"train.epochs": 1, "train.batch_size": 4, "train.precision": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("boxes") / "things", scenes(8))


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of torchvision's as it is drawn, in a file."""
    path = tmp_path_factory.mktemp("weights") / "mobile.safetensors"
    torch.manual_seed(1)
    save_file(mobilenet_v3_small(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `csp` on images with classes, from 0 to 255."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8), np.arange(40) % 4
    place = tmp_path_factory.mktemp("runs") / "classes"
    fw.fit((inputs, targets), model="csp", settings={**SMALL, "train.batch_size": 8}, out=place)
    return place


def job_of(folder: Path, **settings: Any) -> Job:
    data = read(str(folder), {"image_size": 64})
    recipe = complete({**SMALL, **settings}, data.spec)
    return build_job(data, split.Rows(np.arange(6), np.arange(6, 8), np.arange(0)), recipe, seed=0)


def test_a_trunk_gives_the_maps_of_its_network() -> None:
    torch.manual_seed(0)
    backbone, channels = trunk("torchvision:resnet18", 3)
    network = resnet18(weights=None)
    network.load_state_dict(backbone.state_dict(), strict=False)
    seen: dict[str, torch.Tensor] = {}
    for name in ("layer2", "layer3", "layer4"):
        layer = network.get_submodule(name)
        layer.register_forward_hook(lambda _, x, out, name=name: seen.update({name: out}))
    x = torch.randn(2, 3, 70, 50)
    with torch.no_grad():
        maps = backbone.eval()(x)
        network.eval()(x)
    assert channels == [128, 256, 512] and len(maps) == 3
    for own, theirs in zip(maps, seen.values(), strict=True):
        assert torch.equal(own, theirs)


@pytest.mark.parametrize(
    "name", ["resnet18", "vgg11", "densenet121", "efficientnet_b0", "googlenet"]
)
def test_any_size_of_picture_goes_through(name: str) -> None:
    """Also of networks whose maps are rounded down where the detector's are rounded up."""
    spec = Spec("boxes", "detection", (1, 64, 64), ("a", "b"))
    model = build("yolo", spec, {"backbone": f"torchvision:{name}"}).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 1, 77, 101)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision:squeezenet1_0", "layers of this network give none"),
        ("torchvision:vit_b_32", "layers of this network give none"),
        # It changes the colours before its first layer, which the layers alone would not.
        ("torchvision:googlenet", "layers of this network give none"),
        ("torchvision:resnet19", "Did you mean resnet18"),
        ("resnet18", "torchvision:NAME"),
        ("", "torchvision:NAME"),
    ],
)
def test_what_is_no_backbone_is_refused_with_the_reason(name: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        build("yolo", SPEC, {"backbone": name})
    assert caught.value.setting == "model.backbone"


def test_every_parameter_of_a_borrowed_backbone_is_used() -> None:
    torch.manual_seed(0)
    model = build("yolo", SPEC, {"backbone": MOBILE["model.backbone"]})
    model(torch.randn(4, 3, 64, 64)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_torchvision_s_weights_go_into_the_backbone(folder: Path, mobile: Path) -> None:
    job = job_of(folder, **MOBILE, **{"model.pretrained": str(mobile)})
    before, after = load(mobile), job.model.state_dict()
    taken = [name for name in after if name.startswith("backbone.")]
    assert taken and all(torch.equal(after[n], before[n.removeprefix("backbone.")]) for n in taken)
    assert job.fitted is not None and set(job.fitted.loaded) == set(taken)
    assert job.fitted.new == ("laterals", "neck", "heads")
    assert "classifier.0.weight" in job.fitted.notes[0]
    # Normalised as the weights know it, in the unit of these pictures.
    np.testing.assert_allclose(job.preprocess.mean, 255 * np.array(IMAGENET_MEAN))
    np.testing.assert_allclose(job.preprocess.scale, 255 * np.array(IMAGENET_STD))


def test_grey_pictures_sum_the_first_convolution(mobile: Path) -> None:
    from fitwell.weights import fit_weights, read_weights

    grey = build(
        "yolo",
        Spec("boxes", "detection", (1, 64, 64), ("a",)),
        {"backbone": MOBILE["model.backbone"]},
    )
    fitted = fit_weights(grey, read_weights(mobile))
    (stem,) = (p for n, p in grey.named_parameters() if n == "backbone.features.0.0.weight")
    torch.testing.assert_close(stem, load(mobile)["features.0.0.weight"].sum(1, keepdim=True))
    assert "summed" in fitted.notes[0]


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "another network"])
def test_weights_that_do_not_fit_are_named(mobile: Path, tmp_path: Path, change: str) -> None:
    tensors, name = load(mobile), "features.3.block.0.0.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unknown":
        name = "features.40.weight"
        tensors[name] = torch.ones(2)
    elif change == "shape":
        tensors[name] = torch.ones(2, 2)
    else:
        tensors, name = nn.Linear(2, 2).state_dict(), "features.0.0.weight"
    save_file(tensors, tmp_path / "changed.safetensors")
    recipe = complete({**MOBILE, "model.pretrained": str(tmp_path / "changed.safetensors")}, SPEC)
    with pytest.raises(DataError, match=name) as caught:
        check_buildable(recipe, SPEC)
    assert caught.value.setting == "model.pretrained"


def test_a_classification_run_gives_a_detector_its_backbone(
    folder: Path, classifier: Path, tmp_path: Path
) -> None:
    job = job_of(folder, **{"model.pretrained": str(classifier)})
    before, after = load(classifier), job.model.state_dict()
    taken = [name for name in before if name.startswith("backbone.")]
    assert len(taken) > 50 and all(torch.equal(after[n], before[n]) for n in taken)
    assert job.fitted is not None and job.fitted.new == ("neck", "heads")
    assert job.fitted.notes == (
        "Left out is what stands behind its backbone: head.weight, head.bias.",
    )
    own = fw.open(classifier)
    assert own.spec is not None and job.preprocess.unit == 255
    settings: dict[str, Any] = {**SMALL, "data.image_size": 64, "model.pretrained": str(classifier)}
    run = fw.fit(str(folder), settings=settings, out=tmp_path / "run")
    assert "Started from" in (tmp_path / "run" / "report.html").read_text()
    assert run.recipe is not None and run.recipe["train.backbone_lr"] == 0.1


def test_another_size_is_not_of_this_model(classifier: Path) -> None:
    recipe = complete({"model.size": "small", "model.pretrained": str(classifier)}, SPEC)
    with pytest.raises(
        DataError, match=r"backbone\.stem\.0\.weight is \[16, 3, 3, 3\] there and \[32"
    ):
        check_buildable(recipe, SPEC)


def test_torchvision_has_no_csp_and_says_what_to_do() -> None:
    recipe = complete({"model.pretrained": "torchvision"}, SPEC)
    with pytest.raises(FitwellError, match=r"of yolo as model\.backbone"):
        check_buildable(recipe, SPEC)


@pytest.mark.parametrize("backbone", ["csp", MOBILE["model.backbone"]])
def test_the_head_of_a_detector_is_all_behind_its_backbone(backbone: str) -> None:
    depth = depths(build("yolo", SPEC, {"backbone": backbone}))
    inside = [d for name, d in depth.items() if name.startswith("backbone.")]
    assert min(inside) == 0 and max(inside) < 1 and inside == sorted(inside)
    behind = {d for n, d in depth.items() if n and not f"{n}.".startswith("backbone.")}
    assert behind == {1.0}


def test_freezing_and_rates_part_at_the_backbone(folder: Path, classifier: Path) -> None:
    start = {"model.pretrained": str(classifier)}
    frozen = job_of(folder, **start, **{"train.freeze": 1.0})
    still = {n.partition(".")[0] for n, p in frozen.model.named_parameters() if not p.requires_grad}
    moving = {n.partition(".")[0] for n, p in frozen.model.named_parameters() if p.requires_grad}
    assert still == {"backbone"} and moving == {"neck", "heads"}
    job = job_of(folder, **start, **{"train.backbone_lr": 0.2})
    rates = {
        (name.startswith("backbone."), group[RATE])
        for group in job.optimizer.param_groups
        for name in group["names"]
    }
    assert rates == {(True, 0.2), (False, 1.0)}
    falling = job_of(folder, **start, **{"train.first_lr": 0.01, "train.backbone_lr": 1.0})
    shares = {n: g[RATE] for g in falling.optimizer.param_groups for n in g["names"]}
    assert shares["backbone.stem.0.weight"] == pytest.approx(0.01)
    assert shares["neck.lateral1.0.weight"] == 1 == shares["heads.2.sides.bias"]
