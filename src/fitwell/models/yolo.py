"""YOLO: boxes and classes of all places of a picture in one pass, without anchors.

A backbone of cross-stage-partial blocks (CSPDarknet, see `fitwell.models.csp`) or one of torchvision's, a
pyramid of feature maps that is walked down and up again (PAN), and a head that says at every place of three
maps what is there and how far its sides are.
"""

from functools import partial
from math import log
from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.errors import SettingError
from fitwell.models.csp import (
    Backbone,
    Conv,
    CspSize,
    Images,
    Map,
    Other,
    Partial,
    Sizes,
    conv,
    sizes,
)
from fitwell.models.parts import draw, image_shape
from fitwell.models.trunks import STRIDES, trunk
from fitwell.nn.types import Activation, Init, Norm
from fitwell.spec import Spec

BackboneName: TypeAlias = Annotated[
    str,
    Field(
        description="csp: of model.size, as model.name=csp has it; torchvision:NAME: one of torchvision's "
        "classification networks, such as torchvision:resnet18, to which size, activation and norm do "
        "not apply"
    ),
]

SMALLEST = 32  # pixels of a side: one place of the coarsest map
PRIOR = 0.01  # how probable a class is at a place before anything is learned


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
        # Of sides that are no multiples of 32 backbones round some up, some down.
        mid = self.up1(torch.cat([_as_large(self.half1(low), between), between], 1))
        high = self.up2(torch.cat([_as_large(self.half2(mid), top), top], 1))
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
    """Backbone, neck, and a head for each of three maps.

    Args:
        borrowed: the backbone's name, where it is one of torchvision's; its maps are brought to the widths
            of the size by convolutions 1x1.
    """

    def __init__(
        self, colours: int, classes: int, size: Sizes, conv: Conv, borrowed: str | None = None
    ) -> None:
        super().__init__()
        widths, blocks = size
        if borrowed is not None:
            self.backbone, channels = trunk(borrowed, colours)
            pairs = zip(channels, widths[2:], strict=True)
            self.laterals = nn.ModuleList(conv(c, width, 1) for c, width in pairs)
        else:
            self.backbone = Backbone(colours, widths, blocks, conv)
            self.laterals = nn.ModuleList()
        # Whose weights a network for classes may give, and how their names begin here and there.
        self.backbone_prefixes = ("backbone.", "backbone." if borrowed is None else "")
        self.neck = Neck(widths[2:], conv, blocks=blocks[0])
        self.heads = nn.ModuleList(Head(c, widths[2], classes, conv) for c in widths[2:])
        # What tells classes apart, and stays new where weights knew others.
        self.head_layers = tuple(f"heads.{i}.classes" for i in range(len(STRIDES)))

    def forward(self, x: Images) -> Float[Tensor, "batch place told"]:
        maps = self.backbone(x)
        if self.laterals:
            maps = [lateral(each) for lateral, each in zip(self.laterals, maps, strict=True)]
        maps = self.neck(maps)
        told = [head(each) for head, each in zip(self.heads, maps, strict=True)]
        return torch.cat([_placed(each, s) for each, s in zip(told, STRIDES, strict=True)], 1)


def yolo(
    spec: Spec,
    *,
    size: CspSize = "nano",
    backbone: BackboneName = "csp",
    activation: Activation = "silu",
    norm: Norm = "batch",
    init: Init = "default",
) -> nn.Module:
    """Boxes and classes in one pass: at each place of three maps, what is there and where its sides are.

    Formula: maps = PAN(backbone(x)) at strides 8, 16 and 32; at each place a logit a class, and the
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
    made = partial(conv, norm=norm, activation=activation)
    borrowed = None if backbone == "csp" else backbone
    model = draw(Yolo(colours, len(spec.classes), sizes(size), made, borrowed), init)
    for head in model.heads:
        # Else the many places without anything would rule the first steps (Lin et al. 2017, section 3.3).
        nn.init.constant_(head.classes.bias, -log(1 / PRIOR - 1))  # type: ignore[union-attr]
    return model


def _as_large(x: Tensor, other: Tensor) -> Tensor:
    """A map as large as another, each place repeated."""
    return x if x.shape[2:] == other.shape[2:] else F.interpolate(x, other.shape[2:])


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
