"""torchvision's networks by name."""

import pytest
import torch
from torchvision import models as theirs

from fitwell.errors import SettingError
from fitwell.models import build, load_builder
from fitwell.models.from_torchvision import torchvision_builder
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


def test_unknown_names_get_a_suggestion_and_workers_can_build_known_ones() -> None:
    with pytest.raises(SettingError, match="Did you mean squeezenet1_0") as caught:
        load_builder("torchvision:squezenet1_0")
    assert caught.value.setting == "model.name"
    with pytest.raises(SettingError, match="no classification network"):
        load_builder("torchvision:fasterrcnn_resnet50_fpn")
    assert unimportable("torchvision:resnet18") == ""
    assert "resnet18" in unimportable("torchvision:resnet188")
