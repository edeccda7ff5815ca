"""YOLO: boxes and classes of all places of a picture in one pass, without anchors.

A backbone of cross-stage-partial blocks (CSPDarknet), a pyramid of feature maps that is walked down and up
again (PAN), and a head that says at every place of three maps what is there and how far its sides are.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import log
from typing import Annotated, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.errors import SettingError
from fitwell.models.parts import draw, image_shape
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_2d
from fitwell.nn.types import Activation, Init, Norm
from fitwell.spec import Spec

YoloSize: TypeAlias = Annotated[
    Literal["nano", "small", "medium", "large"],
    Field(description="of the network: a quarter, half, three quarters or all of the channels"),
]
Map: TypeAlias = Float[Tensor, "batch channel height width"]
Other: TypeAlias = Float[Tensor, "batch out rows columns"]
Images: TypeAlias = Float[Tensor, "batch colour high wide"]

SIZES = {"nano": (1 / 4, 1 / 3), "small": (1 / 2, 1 / 3), "medium": (3 / 4, 2 / 3), "large": (1, 1)}
STRIDES = (8, 16, 32)  # pixels of the picture from one place of a map to the next
SMALLEST = 32  # pixels of a side: one place of the coarsest map
PRIOR = 0.01  # how probable a class is at a place before anything is learned
_CHANNELS, _BLOCKS = (64, 128, 256, 512, 1024), (3, 9, 9, 3)  # of the large one


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
        return self.conv3(torch.cat([self.blocks(self.conv1(x)), self.conv2(x)], 1))


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


class Neck(nn.Module):
    """The pyramid: what coarse maps know goes down to the fine ones, and places go up again.

    Source: Lin et al. 2017, CVPR (FPN, downwards); Liu, Qi, Qin, Shi and Jia 2018, CVPR (PANet, upwards)
    """

    def __init__(self, widths: list[int], conv: Conv, *, blocks: int) -> None:
        super().__init__()
        fine, middle, coarse = widths

        def merged(channels: int, out: int) -> Partial:
            return Partial(2 * channels, out, conv, blocks=blocks, add=False)

        self.lateral1, self.down1 = conv(coarse, middle, 1), merged(middle, middle)
        self.lateral2, self.down2 = conv(middle, fine, 1), merged(fine, fine)
        self.half1, self.up1 = conv(fine, fine, 3, 2), merged(fine, middle)
        self.half2, self.up2 = conv(middle, middle, 3, 2), merged(middle, coarse)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = maps
        top = self.lateral1(coarse)
        between = self.lateral2(self.down1(torch.cat([_as_large(top, middle), middle], 1)))
        low = self.down2(torch.cat([_as_large(between, fine), fine], 1))
        mid = self.up1(torch.cat([self.half1(low), between], 1))
        high = self.up2(torch.cat([self.half2(mid), top], 1))
        return [low, mid, high]


class Head(nn.Module):
    """Two towers over a map, one for classes and one for sides: a decoupled head, without anchors.

    Formula: logits = conv 1x1(tower(x)), distances = softplus(conv 1x1(tower(x))) in strides
    Source: Ge et al. 2021, YOLOX, section 2.1 (decoupled); Tian, Shen, Chen and He 2019, ICCV (distances
        from a place, FCOS)

    Ours differs: no objectness, as in TOOD, whose assignment makes the class's score say how well the box
    fits; softplus, whose slope is bounded, where FCOS has the exponential.
    """

    def __init__(self, channels: int, width: int, classes: int, conv: Conv) -> None:
        super().__init__()
        self.stem = conv(channels, width, 1)
        self.class_tower = nn.Sequential(conv(width, width, 3), conv(width, width, 3))
        self.box_tower = nn.Sequential(conv(width, width, 3), conv(width, width, 3))
        self.classes = nn.Conv2d(width, classes, 1)
        self.sides = nn.Conv2d(width, 4, 1)

    def forward(self, x: Map) -> Other:
        """[batch, 4 + class, height, width], float32: bfloat16 has no digits for places."""
        x = self.stem(x)
        sides = F.softplus(self.sides(self.box_tower(x)).float())
        return torch.cat([sides, self.classes(self.class_tower(x)).float()], 1)


class Yolo(nn.Module):
    """Backbone, neck, and a head for each of three maps."""

    def __init__(
        self, colours: int, classes: int, widths: list[int], blocks: list[int], conv: Conv
    ) -> None:
        super().__init__()
        self.backbone = Backbone(colours, widths, blocks, conv)
        self.neck = Neck(widths[2:], conv, blocks=blocks[0])
        self.heads = nn.ModuleList(Head(c, widths[2], classes, conv) for c in widths[2:])
        # What tells classes apart, and stays new where weights knew others.
        self.head_layers = tuple(f"heads.{i}.classes" for i in range(len(STRIDES)))

    def forward(self, x: Images) -> Float[Tensor, "batch place told"]:
        maps = self.neck(self.backbone(x))
        told = [head(each) for head, each in zip(self.heads, maps, strict=True)]
        return torch.cat([_placed(each, s) for each, s in zip(told, STRIDES, strict=True)], 1)


def yolo(
    spec: Spec,
    *,
    size: YoloSize = "nano",
    activation: Activation = "silu",
    norm: Norm = "batch",
    init: Init = "default",
) -> nn.Module:
    """Boxes and classes in one pass: at each place of three maps, what is there and where its sides are.

    Formula: maps = PAN(CSPDarknet(x)) at strides 8, 16 and 32; at each place a logit a class, and the
        distances of four sides from it, softplus(z) strides
    Use: detection, from small data on; nano is quick enough for a processor
    Weakness: objects of a few pixels have few places; a larger data.image_size gives them more
    Source: Redmon, Divvala, Girshick and Farhadi 2016, CVPR; Ge et al. 2021, YOLOX, arXiv:2107.08430;
        Feng et al. 2021, ICCV (TOOD, whose assignment trains it)

    The output is [batch, place, 7 + class]: x, y and stride of the place in pixels, the distances of the
    left, upper, right and lower side in strides, and the logits (see `fitwell.nn.boxes.places_of`). Any
    size of picture will do.

    >>> from fitwell.spec import Spec
    >>> model = yolo(Spec("boxes", "detection", (3, 64, 96), ("cat", "dog")))
    >>> model(torch.zeros(2, 3, 64, 96)).shape  # 8x12 + 4x6 + 2x3 places
    torch.Size([2, 126, 9])
    """
    if spec.task != "detection":
        raise SettingError(
            f"model.name=yolo finds boxes, and these are {spec.examples}. Set model.name=convnet for "
            "images, model.name=mlp for other data.",
            setting="model.name",
        )
    colours = image_shape(spec, "yolo", smallest=SMALLEST)[0]
    wide, deep = SIZES[size]
    widths = [round(channels * wide) for channels in _CHANNELS]
    blocks = [max(1, round(count * deep)) for count in _BLOCKS]
    made = partial(conv, norm=norm, activation=activation)
    model = draw(Yolo(colours, len(spec.classes), widths, blocks, made), init)
    for head in model.heads:
        # Else the many places without anything would rule the first steps (Lin et al. 2017, section 3.3).
        nn.init.constant_(head.classes.bias, -log(1 / PRIOR - 1))  # type: ignore[union-attr]
    return model


def _as_large(x: Tensor, other: Tensor) -> Tensor:
    """A map as large as another, each place repeated."""
    return F.interpolate(x, other.shape[2:], mode="nearest")


def _placed(told: Tensor, stride: int) -> Tensor:
    """[batch, place, 3 + 4 + class] of a map [batch, 4 + class, height, width]: x, y and stride first."""
    batch, _, height, width = told.shape
    y, x = (
        (torch.arange(n, device=told.device, dtype=told.dtype) + 0.5) * stride
        for n in (height, width)
    )
    place = torch.stack(
        [
            x.expand(height, width),
            y[:, None].expand(height, width),
            x.new_full((height, width), stride),
        ]
    )
    return torch.cat([place.expand(batch, -1, -1, -1), told], 1).flatten(2).transpose(1, 2)
