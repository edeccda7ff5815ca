"""CSPDarknet: blocks that half of the channels go around. The backbone of `yolo`, and a classifier."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.models.parts import assemble, dropout_1d, dropout_rates, image_shape
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_2d
from fitwell.nn.types import Activation, Dropout, Init, Norm
from fitwell.spec import Spec

CspSize: TypeAlias = Annotated[
    Literal["nano", "small", "medium", "large"],
    Field(description="of the network: a quarter, half, three quarters or all of the channels"),
]
Map: TypeAlias = Float[Tensor, "batch channel height width"]
Other: TypeAlias = Float[Tensor, "batch out rows columns"]
Images: TypeAlias = Float[Tensor, "batch colour high wide"]

_SIZES = {
    "nano": (1 / 4, 1 / 3),
    "small": (1 / 2, 1 / 3),
    "medium": (3 / 4, 2 / 3),
    "large": (1, 1),
}
_CHANNELS, _BLOCKS = (64, 128, 256, 512, 1024), (3, 9, 9, 3)  # of the large one


class Sizes(NamedTuple):
    """Channels behind each halving of the picture, and blocks of each stage."""

    widths: list[int]
    blocks: list[int]


def sizes(name: str) -> Sizes:
    """What a size is.

    >>> sizes("nano")
    Sizes(widths=[16, 32, 64, 128, 256], blocks=[1, 3, 3, 1])
    """
    wide, deep = _SIZES[name]
    widths = [round(channels * wide) for channels in _CHANNELS]
    return Sizes(widths, [max(1, round(count * deep)) for count in _BLOCKS])


def conv(
    channels: int, out: int, size: int, stride: int = 1, *, norm: str, activation: str
) -> nn.Sequential:
    """Convolution, normalisation, activation; as large as the map, or half as large."""
    return nn.Sequential(
        nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=norm != "batch"),
        norm_2d(norm, out) or nn.Identity(),
        ACTIVATIONS[activation](),
    )


Conv = Callable[..., nn.Sequential]  # `conv` with its norm and activation


class Residual(nn.Module):
    """x + conv 3x3(conv 1x1(x)): the block of Darknet-53 (Redmon and Farhadi 2018, table 1).

    Args:
        add: whether x is added, which the blocks of the pyramid leave out.
    """

    def __init__(self, channels: int, conv: Conv, *, add: bool) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 1)
        self.conv2 = conv(channels, channels, 3)
        self.add = add

    def forward(self, x: Map) -> Map:
        y = self.conv2(self.conv1(x))
        return x + y if self.add else y


class Partial(nn.Module):
    """Blocks that half of the channels go around: a cross-stage-partial stage.

    Formula: conv 1x1([blocks(conv 1x1(x)), conv 1x1(x)])
    Source: Wang et al. 2020, CVPR workshops, figure 3b (CSPNet); as in Ge et al. 2021 (YOLOX)
    """

    def __init__(self, channels: int, out: int, conv: Conv, *, blocks: int, add: bool) -> None:
        super().__init__()
        half = out // 2
        self.conv1 = conv(channels, half, 1)
        self.conv2 = conv(channels, half, 1)
        self.blocks = nn.Sequential(*(Residual(half, conv, add=add) for _ in range(blocks)))
        self.conv3 = conv(2 * half, out, 1)

    def forward(self, x: Map) -> Other:
        through, around = self.conv1(x), self.conv2(x)
        return self.conv3(torch.cat([self.blocks(through), around], 1))


class Pooled(nn.Module):
    """A map beside itself pooled over 5, 9 and 13 places, which then sees most of the picture.

    Source: He, Zhang, Ren and Sun 2014, ECCV (spatial pyramid pooling); Bochkovskiy, Wang and Liao 2020,
        section 3.4 (YOLOv4); one pool over another, since that of 5 of that of 5 is that of 9
    """

    def __init__(self, channels: int, conv: Conv) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.conv2 = conv(4 * (channels // 2), channels, 1)

    def forward(self, x: Map) -> Map:
        maps = [self.conv1(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.conv2(torch.cat(maps, 1))


class Backbone(nn.Module):
    """CSPDarknet: the picture halved five times, with a partial stage behind each but the first.

    Source: Ge et al. 2021, YOLOX; Redmon and Farhadi 2018 and Wang et al. 2020 for its parts

    Ours differs: a convolution with stride 2 is the first layer, where theirs sorts pixels by four.
    """

    def __init__(self, colours: int, widths: list[int], blocks: list[int], conv: Conv) -> None:
        super().__init__()
        self.stem = conv(colours, widths[0], 3, 2)
        self.stages = nn.ModuleList()
        for i, (channels, out) in enumerate(pairwise(widths)):
            last = i == len(blocks) - 1
            stage = nn.Sequential(conv(channels, out, 3, 2))
            if last:
                stage.append(Pooled(out, conv))
            stage.append(Partial(out, out, conv, blocks=blocks[i], add=not last))
            self.stages.append(stage)

    def forward(self, x: Images) -> list[Tensor]:
        """The maps of strides 8, 16 and 32."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]


class Coarsest(Backbone):
    """The backbone with its last map alone."""

    def forward(self, x: Images) -> Map:  # type: ignore[bad-override]
        return super().forward(x)[-1]


def csp(
    spec: Spec,
    *,
    size: CspSize = "nano",
    activation: Activation = "silu",
    norm: Norm = "batch",
    dropout: Dropout = 0.0,
    init: Init = "default",
) -> nn.Sequential:
    """CSPDarknet: cross-stage-partial blocks, with a linear head: the backbone of yolo as a classifier.

    Formula: five times conv 3x3 with stride 2, a partial stage behind each but the first; mean over
        positions; linear
    Use: to learn a backbone from images with classes, for a detector: model.pretrained of yolo
    Weakness: halves images five times, so those below 64 pixels leave it few places
    Source: Wang et al. 2020, CVPR workshops (CSPNet); Ge et al. 2021, YOLOX, arXiv:2107.08430

    Dropout stands before the head.

    >>> model = csp(Spec("images", "regression", (3, 40, 64)))
    >>> model(torch.zeros(2, 3, 40, 64)).shape
    torch.Size([2, 1])
    """
    colours = image_shape(spec, "csp", smallest=1)[0]
    (rate,) = dropout_rates(dropout, 1, "place for it: before the head")
    widths, blocks = sizes(size)
    made = partial(conv, norm=norm, activation=activation)
    layers: dict[str, nn.Module | None] = {
        "backbone": Coarsest(colours, widths, blocks, made),
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "dropout": dropout_1d(rate),
        "head": nn.Linear(widths[-1], spec.num_outputs),
    }
    return assemble(layers, init)
