"""What the families made for photographs share: a second layout for small images.

Their papers shrink a 224x224 photograph 4 times in the first layers, after which a 28x28 image would
have 7x7 positions left. The small stem begins at full resolution instead.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.errors import SettingError
from fitwell.models.parts import image_shape
from fitwell.nn.norms import norm_2d
from fitwell.spec import Spec

LARGE_FROM = 96  # pixels of the shorter side

Stem: TypeAlias = Annotated[
    Literal["auto", "small", "large"],
    Field(
        description="first layers: those of the paper (large), or others that suit small images; "
        f"auto takes the paper's from {LARGE_FROM} pixels on"
    ),
]
DropPathRate: TypeAlias = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="share of examples for which the last residual branch is left out while "
        "training; earlier ones less, in a straight line (stochastic depth)",
        json_schema_extra={
            "formula": "y = x + m F(x) / (1 - p) in block l of L, m = 0 with probability "
            "p = drop_path l / L, else 1, one m an example; y = x + F(x) in evaluation",
            "use": "deep residual networks and transformers: regularises, and shortens the way of "
            "gradients",
            "weakness": "little in shallow networks; a high rate needs more epochs",
            "source": "Huang, Sun, Liu, Sedra and Weinberger 2016, ECCV",
        },
    ),
]


def stem_for(
    spec: Spec, model: str, stem: str, *, smallest: tuple[int, int]
) -> tuple[tuple[int, int, int], bool]:
    """(channel, height, width) of the input, and whether the stem is the small one.

    Args:
        smallest: sides that the small and the large stem can take.

    Raises:
        SettingError: the input is no image, or smaller than the stem can take.

    >>> stem_for(Spec("images", "regression", (3, 28, 30)), "resnet", "auto", smallest=(1, 1))
    ((3, 28, 30), True)
    """
    shape = image_shape(spec, model, smallest=smallest[0])
    side = min(shape[1:])
    small = side < LARGE_FROM if stem == "auto" else stem == "small"
    if not small and side < smallest[1]:
        raise SettingError(
            f"model.name={model} with model.stem=large needs images of at least "
            f"{smallest[1]}x{smallest[1]}, and these are {shape[1]}x{shape[2]}. "
            f"Set data.image_size={smallest[1]}, or model.stem=small.",
            setting="model.stem",
        )
    return shape, small


def norm_or_pass(norm: str, channels: int) -> nn.Module:
    """The normalisation of a feature map; the identity for `none`."""
    return norm_2d(norm, channels) or nn.Identity()


def scaled(channels: int, width: int, of: int) -> int:
    """A number of channels of the paper, where its first layer had `of` and this one has `width`.

    >>> scaled(384, 64, 96), scaled(16, 1, 64)
    (256, 1)
    """
    return max(1, round(channels * width / of))
