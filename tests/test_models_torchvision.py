"""Equal names, equal shapes and equal logits: torchvision's networks of random weights as reference."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as reference

from fitwell.models import build
from fitwell.spec import Spec

PLAIN = {"norm": "none", "stem": "large"}
LARGE = {"stem": "large"}
BASE_16 = {"width": 768, "depth": 12, "heads": 12, "patch": 16}


def googlenet(num_classes: int) -> nn.Module:
    return reference.googlenet(num_classes=num_classes, aux_logits=False, init_weights=False)


def small_vit(num_classes: int) -> nn.Module:
    return reference.VisionTransformer(32, 8, 2, 4, 16, 64, num_classes=num_classes)


# name -> torchvision's network, ours, its settings, and the side of the images to compare on.
PAIRS: dict[str, tuple[Callable[..., nn.Module], str, dict[str, Any], int]] = {
    "resnet18": (reference.resnet18, "resnet", {"depth": 18, **LARGE}, 64),
    "resnet34": (reference.resnet34, "resnet", {"depth": 34, **LARGE}, 33),
    "resnet50": (reference.resnet50, "resnet", {"depth": 50, **LARGE}, 33),
    "resnet101": (reference.resnet101, "resnet", {"depth": 101, **LARGE}, 33),
    "resnet152": (reference.resnet152, "resnet", {"depth": 152, **LARGE}, 33),
    "vgg11": (reference.vgg11, "vgg", {"depth": 11, **PLAIN}, 32),
    "vgg13": (reference.vgg13, "vgg", {"depth": 13, **PLAIN}, 32),
    "vgg16": (reference.vgg16, "vgg", {"depth": 16, **PLAIN}, 32),
    "vgg19": (reference.vgg19, "vgg", {"depth": 19, **PLAIN}, 32),
    "vgg11_bn": (reference.vgg11_bn, "vgg", {"depth": 11, **LARGE}, 47),
    "vgg13_bn": (reference.vgg13_bn, "vgg", {"depth": 13, **LARGE}, 32),
    "vgg16_bn": (reference.vgg16_bn, "vgg", {"depth": 16, **LARGE}, 32),
    "vgg19_bn": (reference.vgg19_bn, "vgg", {"depth": 19, **LARGE}, 32),
    "alexnet": (reference.alexnet, "alexnet", {"version": "torchvision", **LARGE}, 80),
    "googlenet": (googlenet, "googlenet", LARGE, 65),
    "densenet121": (reference.densenet121, "densenet", {"depth": 121, **LARGE}, 32),
    "densenet169": (reference.densenet169, "densenet", {"depth": 169, **LARGE}, 32),
    "densenet201": (reference.densenet201, "densenet", {"depth": 201, **LARGE}, 32),
    "small vit": (small_vit, "vit", {"width": 16, "depth": 2, "heads": 4, "patch": 8}, 32),
    "vit_b_16": (reference.vit_b_16, "vit", BASE_16, 224),
}
QUICK = ("resnet18", "resnet50", "vgg11", "vgg11_bn", "alexnet", "googlenet", "small vit")
SLOW = ("resnet34", "vgg16_bn", "densenet121", "vit_b_16")


def both(name: str, num_classes: int) -> tuple[nn.Module, nn.Module, int]:
    """torchvision's network and ours, without memory for their weights; and the side."""
    theirs, ours, settings, side = PAIRS[name]
    spec = Spec(
        "images", "classification", (3, side, side), tuple(str(i) for i in range(num_classes))
    )
    with torch.device("meta"):
        return theirs(num_classes=num_classes), build(ours, spec, settings), side


def drawn(shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Random weights that keep the signal's size, and random running statistics."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, like in shapes.items():
        spread = math.sqrt(6 / max(1, like[0].numel())) if like.ndim > 1 else 0.2
        value = torch.empty(like.shape).uniform_(-spread, spread, generator=generator)
        state[name] = value + 1 if name.endswith("running_var") else value
    return {k: torch.tensor(1) if k.endswith("tracked") else v for k, v in state.items()}


@pytest.mark.parametrize("name", PAIRS)
def test_parameters_have_torchvisions_names_and_shapes(name: str) -> None:
    theirs, ours, _ = both(name, 1000)
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (theirs, ours)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_torchvisions_weights_give_its_logits(name: str) -> None:
    theirs, ours, side = both(name, 10)
    state = drawn(theirs.state_dict())
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    logits = []
    for model in (theirs, ours):
        model.load_state_dict(state, strict=True, assign=True)
        with torch.no_grad():
            logits.append(model.eval()(x))
    assert logits[0].std() > 1e-2  # weights that give nothing would agree on anything
    torch.testing.assert_close(logits[1], logits[0], atol=1e-5, rtol=1e-5)
