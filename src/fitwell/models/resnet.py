"""ResNet: 18 to 152 layers for photographs, 20 to 110 for small images."""

from typing import Annotated, Literal, TypeAlias

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.models.parts import assemble, dropout_1d, dropout_rates
from fitwell.models.stems import DropPathRate, Stem, norm_or_pass, stem_for
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.droppath import drop_path as path
from fitwell.nn.types import Activation, Dropout, Init, Norm, Width
from fitwell.spec import Spec

ResNetDepth: TypeAlias = Annotated[
    Literal[18, 34, 50, 101, 152, 20, 32, 44, 56, 110],
    Field(description="layers: 18 to 152 in four stages; 20 to 110 in three, for small images"),
]
Map: TypeAlias = Float[Tensor, "batch channel height width"]
Smaller: TypeAlias = Float[Tensor, "batch out rows columns"]


class Basic(nn.Module):
    """f(x + norm - conv 3x3 - f - norm - conv 3x3), figure 5 on the left."""

    expansion = 1

    def __init__(
        self, channels: int, width: int, *, stride: int, activation: str, norm: str, drop: float
    ) -> None:
        super().__init__()
        bias = norm != "batch"
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=bias)
        self.bn1 = norm_or_pass(norm, width)
        self.activation1 = ACTIVATIONS[activation]()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.bn2 = norm_or_pass(norm, width)
        self.drop_path = path(drop)
        self.downsample = shortcut(channels, width, stride, norm)
        self.activation2 = ACTIVATIONS[activation]()

    def forward(self, x: Map) -> Smaller:
        y = self.activation1(self.bn1(self.conv1(x)))
        y = self.drop_path(self.bn2(self.conv2(y)))
        return self.activation2(y + self.downsample(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, the second with four times the channels; figure 5 right."""

    expansion = 4

    def __init__(
        self, channels: int, width: int, *, stride: int, activation: str, norm: str, drop: float
    ) -> None:
        super().__init__()
        bias, out = norm != "batch", width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=bias)
        self.bn1 = norm_or_pass(norm, width)
        self.activation1 = ACTIVATIONS[activation]()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=bias)
        self.bn2 = norm_or_pass(norm, width)
        self.activation2 = ACTIVATIONS[activation]()
        self.conv3 = nn.Conv2d(width, out, 1, bias=bias)
        self.bn3 = norm_or_pass(norm, out)
        self.drop_path = path(drop)
        self.downsample = shortcut(channels, out, stride, norm)
        self.activation3 = ACTIVATIONS[activation]()

    def forward(self, x: Map) -> Smaller:
        y = self.activation1(self.bn1(self.conv1(x)))
        y = self.activation2(self.bn2(self.conv2(y)))
        y = self.drop_path(self.bn3(self.conv3(y)))
        return self.activation3(y + self.downsample(x))


_STAGES: dict[int, tuple[type[Basic | Bottleneck], tuple[int, ...]]] = {
    18: (Basic, (2, 2, 2, 2)),
    34: (Basic, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
    # Section 4.2: 6 n + 2 layers.
    20: (Basic, (3, 3, 3)),
    32: (Basic, (5, 5, 5)),
    44: (Basic, (7, 7, 7)),
    56: (Basic, (9, 9, 9)),
    110: (Basic, (18, 18, 18)),
}


def resnet(
    spec: Spec,
    *,
    width: Width = 64,
    depth: ResNetDepth = 18,
    stem: Stem = "auto",
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Dropout = 0.0,
    drop_path: DropPathRate = 0.0,
    init: Init = "default",
) -> nn.Sequential:
    """Residual network: each block adds to what it was given.

    Formula: y = f(x + F(x)), F = conv - norm - f - conv - norm; four stages, each half as large with
        twice the channels; mean over positions; linear
    Use: images of any size; the standard against which others are measured
    Weakness: costs far more than a plain small network, whose accuracy may do
    Source: He, Zhang, Ren and Sun 2016, CVPR, table 1 (18 to 152) and section 4.2 (20 to 110)

    Large stem: conv 7x7 with stride 2, max pool 3x3 with stride 2. Small: conv 3x3. `width` is the
    number of channels of the first stage; the paper has 64, and 16 for the depths 20 to 110. Dropout
    stands before the head.

    Ours differs as torchvision does, whose parameters it shares by name: the 3x3 convolution of a
    bottleneck has the stride, and every shortcut that changes shape is a 1x1 convolution.

    >>> import torch
    >>> model = resnet(Spec("images", "regression", (1, 9, 7)), width=4, depth=20)
    >>> model(torch.zeros(5, 1, 9, 7)).shape
    torch.Size([5, 1])
    """
    (channels, _, _), small = stem_for(spec, "resnet", stem, smallest=(1, 1))
    (rate,) = dropout_rates(dropout, 1, "place for it: before the head")
    block, stages = _STAGES[depth]
    bias = norm != "batch"
    layers: dict[str, nn.Module | None] = {
        "conv1": nn.Conv2d(channels, width, 3, padding=1, bias=bias)
        if small
        else nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=bias),
        "bn1": norm_or_pass(norm, width),
        "activation": ACTIVATIONS[activation](),
        "maxpool": None if small else nn.MaxPool2d(3, stride=2, padding=1),
    }
    channels, built = width, 0
    for i, blocks in enumerate(stages):
        stage = nn.Sequential()
        for j in range(blocks):
            built += 1
            stage.append(
                block(
                    channels,
                    width * 2**i,
                    stride=2 if i > 0 and j == 0 else 1,
                    activation=activation,
                    norm=norm,
                    drop=drop_path * built / sum(stages),
                )
            )
            channels = width * 2**i * block.expansion
        layers[f"layer{i + 1}"] = stage
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = dropout_1d(rate)
    layers["fc"] = nn.Linear(channels, spec.num_outputs)
    return assemble(layers, init)


def shortcut(channels: int, out: int, stride: int, norm: str) -> nn.Module:
    """The way around a block: the identity, or a 1x1 convolution where the shape changes."""
    if stride == 1 and channels == out:
        return nn.Identity()
    convolution = nn.Conv2d(channels, out, 1, stride, bias=norm != "batch")
    return nn.Sequential(convolution, norm_or_pass(norm, out))
