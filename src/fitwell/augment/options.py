"""The settings `augment.*`. No torch."""

from typing import Annotated, Any, TypeAlias

from pydantic import Field

Positive: TypeAlias = Annotated[float, Field(gt=0)]
Share: TypeAlias = Annotated[float, Field(gt=0, le=1)]


def augment_settings(
    *,
    hflip: Annotated[
        float, Field(ge=0, le=1, description="how probably an image is flipped left-right")
    ] = 0.0,
    vflip: Annotated[
        float, Field(ge=0, le=1, description="how probably an image is flipped up-down")
    ] = 0.0,
    crop: Annotated[
        list[Share],
        Field(
            min_length=2,
            max_length=2,
            description="least and largest share of the area that is cut out and "
            "enlarged; its shape is augment.crop_ratio",
        ),
    ] = [1.0, 1.0],  # noqa: B006 - read, never changed
    crop_ratio: Annotated[
        list[Positive],
        Field(
            min_length=2,
            max_length=2,
            description="least and largest width by height of what is cut out, where crop is set",
        ),
    ] = [0.75, 1.3333],  # noqa: B006
    translate: Annotated[
        float,
        Field(ge=0, le=1, description="largest shift, as a share of the side, in each direction"),
    ] = 0.0,
    rotate: Annotated[
        float, Field(ge=0, le=180, description="largest turn in degrees, either way")
    ] = 0.0,
    scale: Annotated[
        list[Positive],
        Field(min_length=2, max_length=2, description="least and largest magnification"),
    ] = [1.0, 1.0],  # noqa: B006
    shear: Annotated[
        float, Field(ge=0, lt=90, description="largest slant in degrees, either way")
    ] = 0.0,
    erase: Annotated[
        float, Field(ge=0, le=1, description="how probably a rectangle is painted over")
    ] = 0.0,
) -> dict[str, Any]:
    """How training images are changed; by default not at all."""
    return dict(locals())
