"""The settings `augment.*`. No torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from fitwell.policies import Policy

Views: TypeAlias = Literal["none", "mirror", "scales"]

Chance: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Share: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Strength: TypeAlias = Annotated[float, Field(ge=0, le=100)]
# Least and largest.
Range: TypeAlias = Annotated[list[Positive], Field(min_length=2, max_length=2)]
Decibels: TypeAlias = Annotated[
    list[Annotated[float, Field(ge=-40, le=100)]], Field(min_length=2, max_length=2)
]
Shares: TypeAlias = Annotated[list[Share], Field(min_length=2, max_length=2)]

_SAME = [1.0, 1.0]  # read, never changed
# Settings that change no training example by themselves.
CHANGELESS = ("policy", "closing", "tta")
NO_NOISE = [100.0, 100.0]  # dB below the sound: less than the steps of 16 bits; read, never changed


def augment_settings(
    *,
    policy: Annotated[
        Policy,
        Field(
            description="changes chosen for the kind of data: their defaults, each of which may be "
            "set otherwise; none: no change"
        ),
    ] = "none",
    hflip: Annotated[
        Chance, Field(description="how probably an image is flipped left-right")
    ] = 0.0,
    vflip: Annotated[Chance, Field(description="how probably an image is flipped up-down")] = 0.0,
    crop: Annotated[
        Shares,
        Field(
            description="least and largest share of the area that is cut out and enlarged; its "
            "shape is augment.crop_ratio"
        ),
    ] = _SAME,
    crop_ratio: Annotated[
        Range,
        Field(
            description="least and largest width by height of what is cut out, where crop is set"
        ),
    ] = [0.75, 1.3333],  # noqa: B006 - read, never changed
    translate: Annotated[
        Chance, Field(description="largest shift, as a share of the side, in each direction")
    ] = 0.0,
    rotate: Annotated[
        float, Field(ge=0, le=180, description="largest turn in degrees, either way")
    ] = 0.0,
    scale: Annotated[Range, Field(description="least and largest magnification")] = _SAME,
    shear: Annotated[
        float, Field(ge=0, lt=90, description="largest slant in degrees, either way")
    ] = 0.0,
    brightness: Annotated[
        Chance, Field(description="largest change of the brightness, as a share of it, either way")
    ] = 0.0,
    contrast: Annotated[
        Chance, Field(description="largest change of the contrast, as a share of it, either way")
    ] = 0.0,
    saturation: Annotated[
        Chance,
        Field(description="largest change of how strong colours are, as a share, either way"),
    ] = 0.0,
    hue: Annotated[
        float,
        Field(
            ge=0, le=0.5, description="largest turn of the hue, as a share of the wheel, either way"
        ),
    ] = 0.0,
    grey: Annotated[Chance, Field(description="how probably an image loses its colours")] = 0.0,
    blur: Annotated[
        float, Field(ge=0, le=32, description="largest standard deviation of the blur, in pixels")
    ] = 0.0,
    noise: Annotated[
        Chance,
        Field(description="largest standard deviation of the noise, as a share of full brightness"),
    ] = 0.0,
    erase: Annotated[Chance, Field(description="how probably a rectangle is painted over")] = 0.0,
    multi_scale: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            multiple_of=0.125,
            description="largest change of the size at which all images of a batch are seen, as a share "
            "of it, either way, in eighths; one size a batch",
        ),
    ] = 0.0,
    mixup: Annotated[
        Strength,
        Field(
            description="images are blended in pairs: both parameters of the Beta distribution of the "
            "shares; 0: not at all, 0.2: mostly little, 1: any share; of pictures with boxes, which keep "
            "those of both, 1.5 or more"
        ),
    ] = 0.0,
    cutmix: Annotated[
        Strength,
        Field(
            description="a rectangle of another image is pasted in: both parameters of the Beta "
            "distribution of the areas; 0: not at all, 1: any area"
        ),
    ] = 0.0,
    mosaic: Annotated[
        Chance,
        Field(
            description="of pictures with boxes: how probably one is made of four, itself among them, "
            "about a random point"
        ),
    ] = 0.0,
    closing: Annotated[
        Chance,
        Field(
            description="of pictures with boxes: the share of the epochs, at the end, that have neither "
            "mosaic nor mixup"
        ),
    ] = 0.15,
    word_drop: Annotated[
        float, Field(ge=0, lt=1, description="of texts: how probably a word is left out")
    ] = 0.0,
    word_swap: Annotated[
        Chance,
        Field(description="of texts: how probably two neighbouring words change places"),
    ] = 0.0,
    noise_snr: Annotated[
        Decibels,
        Field(
            description="of recordings: least and largest ratio of sound to added white noise, in dB; "
            "100: no noise"
        ),
    ] = NO_NOISE,
    time_shift: Annotated[
        Chance,
        Field(
            description="of recordings: largest shift in time, as a share of the length, either way"
        ),
    ] = 0.0,
    time_mask: Annotated[
        Chance,
        Field(description="of recordings: largest share of the frames covered by the mean"),
    ] = 0.0,
    frequency_mask: Annotated[
        Chance,
        Field(description="of recordings: largest share of the mel bands covered by the mean"),
    ] = 0.0,
    tta: Annotated[
        Views,
        Field(
            description="of images: the views from which each is predicted, by the mean of their outputs "
            "(test-time augmentation); mirror: itself and its mirror image; scales: both, at three sizes, "
            "which takes six times as long; epochs are scored by one view"
        ),
    ] = "none",
) -> dict[str, Any]:
    """How training examples are changed, by default not at all; and how images are seen to be predicted."""
    return dict(locals())


def views_of(recipe: Mapping[str, Any]) -> Views:
    """From which views a recipe's images are predicted; recipes from before know of one.

    >>> views_of({"augment.tta": "mirror"}), views_of({})
    ('mirror', 'none')
    """
    return recipe.get("augment.tta", "none")


def multi_scale_of(recipe: Mapping[str, Any]) -> float:
    """How much the size of batches changes; recipes from before know of one size.

    >>> multi_scale_of({"augment.multi_scale": 0.25}), multi_scale_of({})
    (0.25, 0.0)
    """
    return recipe.get("augment.multi_scale", 0.0)
