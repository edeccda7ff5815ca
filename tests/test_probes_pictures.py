"""Grad-CAM and feature maps against naive twins, on graphs of every kind, and what they leave alone."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from fitwell.probes import feature_maps, gradcam
from fitwell.probes.gradcam import ClassMaps


def found(model: nn.Module, x: Tensor, classes: Tensor) -> ClassMaps:
    maps = gradcam(model, x, classes)
    assert maps is not None
    return maps


def body(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), *layers)


def test_before_average_pooling_and_a_linear_head_it_is_the_class_activation_map() -> None:
    """CAM (Zhou et al. 2016): the head's own weights; the mean over places is the constant."""
    model = body(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    x, classes = torch.randn(5, 2, 9, 7), torch.tensor([0, 1, 2, 1, 0])
    maps = model[2](model[1](model[0](x)))  # [5, 4, 7, 5]
    head = model[5].get_parameter("weight")
    cam = torch.stack(
        [(head[c][:, None, None] * a).sum(0) for a, c in zip(maps, classes, strict=True)]
    )
    got = found(model, x, classes)
    assert got.layer == "2"
    torch.testing.assert_close(got.maps, cam.relu() / 35)
    assert got.maps.max() > 0


def test_weights_are_mean_finite_differences_of_the_score() -> None:
    front = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh())
    back = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Sigmoid(), nn.Linear(5, 3))
    torch.manual_seed(1)
    model = nn.Sequential(front, back).double()
    x, step = torch.randn(1, 1, 6, 6, dtype=torch.float64), 1e-5
    with torch.no_grad():
        maps = front(x)
        weights = torch.zeros(3, dtype=torch.float64)
        for k, i, j in torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(4)):
            up, down = maps.clone(), maps.clone()
            up[0, k, i, j] += step
            down[0, k, i, j] -= step
            weights[k] += (back(up) - back(down))[0, 2] / (2 * step) / 16
        naive = torch.stack([w * a for w, a in zip(weights, maps[0], strict=True)]).sum(0).relu()
    got = found(model, x, torch.tensor([2]))
    assert got.layer == "0" and naive.max() > 0
    torch.testing.assert_close(got.maps[0], naive.float(), rtol=1e-4, atol=1e-7)


class Residual(nn.Module):
    """Functional and in-place steps, which no hook of a layer sees."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(2, 4, 3, padding=1), Block()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(functional.relu_(self.stem(x))).mean((2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        out += x
        return functional.relu(out)


class Blind(nn.Module):
    """A network whose score does not depend on its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.conv(x)
        return self.head(x.mean((2, 3)))


def tokens() -> nn.Module:
    return torchvision.models.VisionTransformer(8, 2, 1, 2, 8, 16, num_classes=3)


def three_channels(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 1), layer)


def flat(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


LAYERS: list[tuple[Callable[[], nn.Module], str | None]] = [
    (lambda: flat(*body(nn.ReLU(inplace=True), nn.MaxPool2d(2))), "2"),
    (lambda: flat(*body(nn.MaxPool2d(2), nn.ReLU(inplace=True))), "3"),
    (lambda: flat(*body(nn.MaxPool2d(2), nn.Dropout(0.5))), "1"),
    (lambda: flat(body(nn.ReLU()), nn.Sequential(nn.AvgPool2d(2))), "0"),
    (Residual, "block"),
    (lambda: three_channels(torchvision.models.resnet18(num_classes=3)), "1.layer4"),
    (lambda: three_channels(torchvision.models.squeezenet1_1(num_classes=3)), "1.classifier.2"),
    (lambda: three_channels(tokens()), None),
    (lambda: flat(), None),
    (lambda: flat(nn.Conv2d(2, 4, 8)), None),
    (Blind, None),
]


@pytest.mark.parametrize(("make", "layer"), LAYERS)
def test_the_layer_is_the_last_with_places_and_frozen_weights_do_not_matter(
    make: Callable[[], nn.Module], layer: str | None
) -> None:
    side = 64 if layer and layer.startswith("1.") else 8
    torch.manual_seed(0)
    model, x, classes = make(), torch.randn(3, 2, side, side), torch.tensor([2, 0, 1])
    model.eval()(x)  # lazy layers get their shapes
    first = gradcam(model, x, classes)
    assert (first.layer if first else None) == layer
    model.requires_grad_(False)
    again = gradcam(model, x, classes)
    if first is not None and again is not None:
        torch.testing.assert_close(again.maps, first.maps)
        alone = found(model, x[1:2], classes[1:2])
        torch.testing.assert_close(alone.maps[0], first.maps[1], rtol=1e-4, atol=1e-6)
    else:
        assert first is again


def test_a_residual_block_counts_with_what_it_adds() -> None:
    """Maps that a functional step changes in place are taken as they are in the end."""
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(2, 2, 6, 6)
    with torch.no_grad():
        maps = model.block(functional.relu(model.stem(x)))
        naive = (model.head.weight[1][:, None, None] * maps).sum(1).relu() / 36
    torch.testing.assert_close(found(model, x, torch.tensor([1, 1])).maps, naive)


@pytest.mark.parametrize("measure", [lambda m, x: gradcam(m, x, torch.tensor([0])), feature_maps])
@pytest.mark.parametrize("channels", [2, 5])  # 5: the model fails
def test_weights_gradients_statistics_modes_and_hooks_are_left_alone(
    measure: Callable[[nn.Module, Tensor], object], channels: int
) -> None:
    model = body(nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3)).train()
    model[1].eval()  # a frozen layer among others in training mode
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(1, channels, 8, 8)
    kept, state = x.clone(), torch.get_rng_state()
    if channels == 2:
        measure(model, x)
    else:
        with pytest.raises(RuntimeError, match="channels"):
            measure(model, x)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert [m.training for m in model] == [True, False, True, True, True, True] and model.training
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.equal(x, kept) and not x.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_stages_end_with_their_activation_before_it_is_overwritten() -> None:
    low = nn.Hardtanh(0.0, 0.1, inplace=True)  # a second one in place, over what the first gave
    model = body(nn.MaxPool2d(2), nn.ReLU(True), low, nn.Conv2d(4, 6, 3), nn.Conv2d(6, 2, 1))
    x = torch.randn(2, 2, 10, 10)
    stages = feature_maps(model, x)
    names = [(s.convolution, s.activation) for s in stages]
    assert names == [("0", "3"), ("5", ""), ("6", "")]
    model.eval()
    with torch.no_grad():
        first = functional.max_pool2d(model[1](model[0](x)), 2).relu()
        second = model[5](first.clamp(0.0, 0.1))
    torch.testing.assert_close(stages[0].maps, first)
    torch.testing.assert_close(stages[1].maps, second)
    torch.testing.assert_close(stages[2].maps, model[6](second).detach())


def test_one_activation_at_several_places_ends_several_stages() -> None:
    model = torchvision.models.resnet18(num_classes=3)
    stages = feature_maps(model, torch.zeros(1, 3, 32, 32))
    names = [(s.convolution, s.activation) for s in stages]
    assert names[:3] == [
        ("conv1", "relu"),
        ("layer1.0.conv1", "layer1.0.relu"),
        ("layer1.0.conv2", "layer1.0.relu"),
    ]
    assert all(min(s.maps.shape[2:]) > 1 for s in stages)
