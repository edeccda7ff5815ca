"""Normalisation layers by name, for vectors and for feature maps."""

from torch import nn

from fitwell.errors import SettingError

_MOST_GROUPS = 8
_SMALLEST_GROUP = 4


def norm_1d(name: str, features: int) -> nn.Module | None:
    """The normalisation of [batch, feature]; None for `none`.

    Raises:
        SettingError: a layer of one unit would be normalised over itself and become a constant.
    """
    if name in ("layer", "group") and features < 2:
        raise SettingError(
            f"model.norm={name} turns a layer of one unit into a constant. "
            "Set model.norm=batch or none, or a larger model.width.",
            setting="model.norm",
        )
    if name == "batch":
        return nn.BatchNorm1d(features)
    if name == "layer":
        return nn.LayerNorm(features)
    if name == "group":
        return nn.GroupNorm(num_groups(features), features)
    return None


def norm_2d(name: str, channels: int) -> nn.Module | None:
    """The normalisation of [batch, channel, height, width]; None for `none`."""
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)  # one group: over channels and positions of an example
    if name == "group":
        return nn.GroupNorm(num_groups(channels), channels)
    return None


def num_groups(channels: int) -> int:
    """At most 8 groups of equal size, of at least 4 channels each; else one.

    A group of one unit would be normalised over itself and carry nothing on.

    >>> num_groups(64), num_groups(6), num_groups(12)
    (8, 1, 3)
    """
    fitting = (
        g
        for g in range(_MOST_GROUPS, 0, -1)
        if channels % g == 0 and channels // g >= _SMALLEST_GROUP
    )
    return next(fitting, 1)
