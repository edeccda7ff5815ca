"""torchvision's networks by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models as theirs

import fitwell as fw
from fitwell.api.results import open_run
from fitwell.errors import SettingError
from fitwell.models import build, load_builder
from fitwell.models.from_torchvision import torchvision_builder
from fitwell.nn.pooling import ConcatPool2d
from fitwell.predict import decode
from fitwell.spec import Spec
from fitwell.train.finetune import depths
from fitwell.trials.worker import unimportable
from fitwell.weights import fit_weights

# RegNets compute their widths with tensors, which the meta device of the test does not have.
NAMES = [name for name in theirs.list_models(module=theirs) if not name.startswith("regnet")]
SMALL = ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "resnet18", "googlenet"]


def spec(side: int, channels: int = 3) -> Spec:
    return Spec("images", "classification", (channels, side, side), tuple("abcde"))


@pytest.mark.parametrize("name", SMALL)
def test_weights_and_logits_are_torchvisions(name: str) -> None:
    extra = {"init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    reference = theirs.get_model(name, weights=None, num_classes=5, **extra)
    if name == "googlenet":
        # As where torchvision loads its own weights.
        reference.transform_input = True  # type: ignore[bad-argument-type]
    model = build(f"torchvision:{name}", spec(64), {})
    assert fit_weights(model, reference.state_dict()).new == ()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model.eval()(x), reference.eval()(x))
    assert isinstance(model.train()(x), torch.Tensor)  # no auxiliary outputs


@pytest.mark.parametrize("name", SMALL)
def test_a_head_for_the_data_and_any_number_of_channels(name: str) -> None:
    for channels in (1, 4):
        model = build(f"torchvision:{name}", spec(64, channels), {})
        assert model(torch.randn(2, channels, 64, 64)).shape == (2, 5)
        first = next(iter(model.parameters()))
        assert first.shape[1] == channels
    source = theirs.get_model(
        name, weights=None, **({"init_weights": False} if "goog" in name else {})
    )
    grey = build(f"torchvision:{name}", spec(64, 1), {})
    fitted = fit_weights(grey, source.state_dict())
    assert fitted.notes and len(fitted.new) == 2
    table = Spec("table", "classification", (4,), tuple("abcde"))
    with pytest.raises(SettingError, match=r"needs images.*model\.name=mlp"):
        build(f"torchvision:{name}", table, {})


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_a_head_last_and_reads_channels_first(name: str) -> None:
    # On the meta device: shapes only, so that the largest is as quick as the smallest.
    from fitwell.models import from_torchvision

    with torch.device("meta"):
        model = from_torchvision._build(name, 5, 1, 224)
    parameters = dict(model.named_parameters())
    depth = depths(model)
    last = [n for n in parameters if depth[n.rpartition(".")[0]] == 1]
    assert {parameters[n].shape[0] for n in last} == {5}, last
    stems = [p for n, p in parameters.items() if p.ndim == 4]
    assert stems[0].shape[1] == 1


@pytest.mark.parametrize(
    ("name", "side", "least"),
    [
        ("squeezenet1_0", 8, 21),
        ("vit_b_32", 28, 32),  # refused while it is built
        ("vit_b_16", 40, 48),
        pytest.param("swin_t", 2, 4, marks=pytest.mark.slow),
        pytest.param("maxvit_t", 64, 221, marks=pytest.mark.slow),
    ],
)
def test_images_too_small_name_the_least_size(name: str, side: int, least: int) -> None:
    builder = torchvision_builder(f"torchvision:{name}")
    with pytest.raises(SettingError, match=f"data.image_size={least},") as caught:
        builder(spec(side))
    assert caught.value.setting == "model.name"
    with torch.device("meta"):
        assert isinstance(builder(spec(least)), torch.nn.Module)


@pytest.mark.parametrize("name", ["squeezenet1_0", "resnet18", "efficientnet_b0", "googlenet"])
def test_the_head_may_read_mean_and_maximum(name: str) -> None:
    builder = torchvision_builder(f"torchvision:{name}")
    size = spec(96)  # its last map has more than one place
    plain, both = builder(size), builder(size, pooling="both")
    (last,) = [m for m in both.modules() if isinstance(m, nn.Linear)]
    assert last.out_features == size.num_outputs
    assert any(isinstance(m, nn.Dropout) for m in plain.modules()) == (name != "resnet18")
    assert not any(isinstance(m, nn.Dropout) for m in both.modules())
    x = torch.randn(4, *size.input_shape)
    seen: list[torch.Tensor] = []
    pooled: list[torch.Tensor] = []
    pool = next(m for m in both.modules() if isinstance(m, ConcatPool2d))
    pool.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    last.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
    with torch.no_grad():
        out = both.eval()(x)
    assert seen[0].shape[2] > 1
    halves = (seen[0].mean((2, 3)), seen[0].amax((2, 3)))
    want = torch.cat([nn.functional.layer_norm(half, half.shape[1:]) for half in halves], 1)
    torch.testing.assert_close(pooled[0], want)
    torch.testing.assert_close(out, last(want))
    fitted = fit_weights(both, plain.state_dict())  # all but the head is the network's own
    assert len(fitted.new) == 2 and len(fitted.loaded) == len(both.state_dict()) - 2


@pytest.mark.parametrize(
    "name", ["alexnet", "densenet121", "mobilenet_v3_small", "shufflenet_v2_x0_5"]
)
def test_other_heads_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"torchvision's {name} has no global average") as caught:
        torchvision_builder(f"torchvision:{name}")(spec(64), pooling="both")
    assert caught.value.setting == "model.pooling"


def test_a_run_with_both_is_trained_kept_and_explained(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 3, 24, 24), dtype=np.uint8), np.arange(60) % 3
    settings = {"model.pooling": "both", "train.epochs": 1, "optim.lr": 1e-6}
    run = fw.fit((x, y), model="torchvision:squeezenet1_1", settings=settings, out=tmp_path / "run")
    again = open_run(tmp_path / "run")
    assert again.recipe is not None and again.recipe["model.pooling"] == "both"
    assert [row for row in again.evidence if row.get("experiment") == "gradcam"]
    kept = run.predictions["validation"]
    found = decode(again, x[kept.index]).probabilities
    assert found is not None and kept.probabilities is not None
    np.testing.assert_allclose(found, kept.probabilities, atol=1e-3)


def test_unknown_names_get_a_suggestion_and_workers_can_build_known_ones() -> None:
    with pytest.raises(SettingError, match="Did you mean squeezenet1_0") as caught:
        load_builder("torchvision:squezenet1_0")
    assert caught.value.setting == "model.name"
    with pytest.raises(SettingError, match="no classification network"):
        load_builder("torchvision:fasterrcnn_resnet50_fpn")
    assert unimportable("torchvision:resnet18") == ""
    assert "resnet18" in unimportable("torchvision:resnet188")
