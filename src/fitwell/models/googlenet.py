"""GoogLeNet, the first Inception network: modules of four branches."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fitwell.models.parts import assemble, dropout_1d, dropout_rates, in_order
from fitwell.models.stems import Stem, scaled, stem_for
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_2d
from fitwell.nn.pooling import MaxPool2d
from fitwell.nn.types import Activation, Dropout, Init, Norm, Width
from fitwell.spec import Spec

_WIDTH = 64  # of the paper
_EPSILON = 1e-3  # of the batch normalisation that torchvision's weights were trained with

# Channels of: 1x1; 1x1, 3x3; 1x1, second 3x3; 1x1 behind the pool. Table 1 of the paper.
_MODULES = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
_POOL_BEFORE = {"inception4a": "maxpool3", "inception5a": "maxpool4"}


class Inception(nn.Module):
    """1x1, two 3x3 and a pool side by side, their channels one after another; figure 2 (b)."""

    def __init__(self, channels: int, out: tuple[int, ...], *, norm: str, activation: str) -> None:
        super().__init__()

        def conv(channels: int, out: int, kernel: int = 1) -> nn.Sequential:
            return convolution(channels, out, kernel, 1, norm=norm, activation=activation)

        plain, before_3x3, by_3x3, before_second, by_second, pooled = out
        self.branch1 = conv(channels, plain)
        self.branch2 = nn.Sequential(conv(channels, before_3x3), conv(before_3x3, by_3x3, 3))
        self.branch3 = nn.Sequential(
            conv(channels, before_second), conv(before_second, by_second, 3)
        )
        self.branch4 = nn.Sequential(MaxPool2d(3, stride=1, padding=1), conv(channels, pooled))

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out height width"]:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


def googlenet(
    spec: Spec,
    *,
    width: Width = _WIDTH,
    stem: Stem = "auto",
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Dropout = 0.2,
    init: Init = "default",
) -> nn.Sequential:
    """Nine Inception modules: kernels of several sizes side by side.

    Formula: conv 7x7/2 - pool - conv 1x1 - conv 3x3 - pool - 2 modules - pool - 5 modules - pool -
        2 modules, mean over positions, linear; module = [1x1 | 1x1, 3x3 | 1x1, 3x3 | pool, 1x1]
    Use: much accuracy for few parameters and multiplications; the ancestor of the Inception family
    Weakness: many small convolutions, which processors are slow at; ResNet is simpler and better
    Source: Szegedy et al. 2015, CVPR, table 1

    `stem=small` begins with a 3x3 convolution of stride 1. `width` is the number of channels of the
    first convolution, and scales all others. Dropout stands before the head.

    Ours differs as torchvision does, whose parameters it shares by name: the third branch has a 3x3
    kernel where the paper has 5x5, every convolution is normalised, and there are no auxiliary heads.

    >>> import torch
    >>> model = googlenet(Spec("images", "regression", (1, 9, 8)), width=4)
    >>> model(torch.zeros(5, 1, 9, 8)).shape
    torch.Size([5, 1])
    """
    (channels, _, _), small = stem_for(spec, "googlenet", stem, smallest=(8, 15))
    (rate,) = dropout_rates(dropout, 1, "place for it: before the head")

    def wide(channels: int) -> int:
        return scaled(channels, width, of=_WIDTH)

    def conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
        return convolution(channels, out, kernel, stride, norm=norm, activation=activation)

    layers: dict[str, nn.Module | None] = {
        "conv1": conv(channels, wide(64), 3) if small else conv(channels, wide(64), 7, 2),
        "maxpool1": MaxPool2d(3, stride=2, ceil_mode=True),
        "conv2": conv(wide(64), wide(64), 1),
        "conv3": conv(wide(64), wide(192), 3),
        "maxpool2": MaxPool2d(3, stride=2, ceil_mode=True),
    }
    channels = wide(192)
    for name, of_paper in _MODULES.items():
        out = tuple(wide(c) for c in of_paper)
        if name in _POOL_BEFORE:
            kernel = 3 if name == "inception4a" else 2
            layers[_POOL_BEFORE[name]] = MaxPool2d(kernel, stride=2, ceil_mode=True)
        layers[name] = Inception(channels, out, norm=norm, activation=activation)
        channels = out[0] + out[2] + out[4] + out[5]
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = dropout_1d(rate)
    layers["fc"] = nn.Linear(channels, spec.num_outputs)
    return assemble(layers, init)


def convolution(
    channels: int, out: int, kernel: int, stride: int, *, norm: str, activation: str
) -> nn.Sequential:
    """Convolution, normalisation, activation; the size stays at stride 1."""
    normed = norm_2d(norm, out)
    if isinstance(normed, nn.BatchNorm2d):
        normed.eps = _EPSILON
    layers: dict[str, nn.Module | None] = {
        "conv": nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=norm != "batch"),
        "bn": normed,
        "activation": ACTIVATIONS[activation](),
    }
    return in_order(layers)
