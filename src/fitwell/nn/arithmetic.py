"""Convolution arithmetic: what a layer gives and costs, from its settings alone. No torch.

Shapes are those of one example, the batch left out: (channel, height, width), (token, feature),
(feature,). Multiply-adds count products of weights or of signals with signals that are summed:
convolutions, linear layers and attention; pooling, normalisation and activations count as none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from fitwell.errors import SettingError

Shape: TypeAlias = tuple[int, ...]
Settings: TypeAlias = Mapping[str, Any]


class TooSmall(SettingError):
    """A window that is longer than the axis along which it slides."""


@dataclass(frozen=True)
class Cost:
    """What a layer gives for one example, how many numbers it learns, and its work."""

    output: Shape
    parameters: int
    multiply_adds: int


def cost(name: str, shape: Sequence[int], settings: Settings) -> Cost:
    """Output shape, parameters and multiply-adds of a layer.

    Args:
        name: of a layer in the table.
        shape: of one example that goes in.
        settings: all of the layer's settings.

    Raises:
        SettingError: the shape is not one that the layer takes, or its settings do not fit it.

    >>> lenet = dict(out_channels=6, kernel=5, stride=1, padding=2, dilation=1, groups=1, bias=True)
    >>> cost("conv2d", (1, 28, 28), lenet)
    Cost(output=(6, 28, 28), parameters=156, multiply_adds=117600)
    """
    shape = tuple(shape)
    takes = TAKES[name]
    if takes and len(shape) not in [len(axes) for axes in takes]:
        wanted = " or ".join(f"[{', '.join(axes)}]" for axes in takes)
        raise SettingError(f"{name} needs an input of {wanted}, and gets {list(shape)}.")
    return _COSTS[name](shape, settings)


def example(name: str) -> Shape:
    """A small input that the layer takes.

    >>> example("conv2d"), example("attention")
    ((1, 8, 8), (8, 16))
    """
    sizes = {"channel": 1, "feature": 16}
    return tuple(sizes.get(axis, 8) for axis in (*TAKES[name], ("feature",))[0])


def output_size(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil: bool = False,
    behind: int = 0,
) -> int:
    """Positions of a window along one axis: floor((n + 2p + b - d(k - 1) - 1) / s) + 1.

    Args:
        size: n, the length of the axis.
        padding: p, added on each of the two sides.
        ceil: round up, so that a last window may reach beyond the end.
        behind: b, added on the second side alone.

    Raises:
        TooSmall: the window is longer than the padded axis.

    >>> output_size(28, 5, stride=2, padding=2), output_size(224, 11, stride=4, padding=2)
    (14, 55)
    """
    reach = dilation * (kernel - 1) + 1
    positions = (size + 2 * padding + behind - reach + ceil * (stride - 1)) // stride + 1
    if ceil and (positions - 1) * stride >= size + padding:
        positions -= 1  # as in torch: a window that begins behind the input is none
    if positions < 1:
        spread = f" (kernel {kernel}, dilation {dilation})" if dilation > 1 else ""
        raise TooSmall(
            f"a window of {reach}{spread} does not fit an axis of {size} with {padding} of padding "
            f"on each side. Use a smaller kernel, or padding={-((size - reach) // 2)}.",
            setting="kernel",
        )
    return positions


@dataclass(frozen=True)
class Window:
    """A window that slides along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int
    ceil: bool = False
    behind: int = 0  # padding on the second side beyond that on the first

    def positions(self, size: int) -> int:
        return output_size(
            size,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil=self.ceil,
            behind=self.behind,
        )


def windows(settings: Settings, axes: int) -> list[Window]:
    """The window of a convolution or pooling layer along each of its axes.

    >>> windows({"kernel": [2, 3], "stride": 0}, 2)[1]
    Window(kernel=3, stride=3, padding=0, dilation=1, ceil=False, behind=0)
    >>> same = {"kernel": 4, "stride": 1, "padding": "same"}
    >>> windows(same, 1)[0].padding, windows(same, 1)[0].positions(10)
    (1, 10)
    """
    kernel = each(settings["kernel"], axes)
    stride = strides(settings["stride"], settings["kernel"], axes)
    dilation = each(settings.get("dilation", 1), axes)
    padding = settings.get("padding", 0)
    if padding == "same":
        if max(stride) > 1:
            raise SettingError(
                f"padding = same: keeps the size, which a stride of {max(stride)} does not. Use a "
                "stride of 1, or a number as padding.",
                setting="padding",
            )
        added = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    else:
        added = [2 * side for side in each(0 if padding == "valid" else padding, axes)]
    ceil = settings.get("ceil_mode", False)
    return [
        Window(k, s, both // 2, d, ceil, both % 2)
        for k, s, both, d in zip(kernel, stride, added, dilation, strict=True)
    ]


def strides(stride: int | Sequence[int], kernel: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """The stride along each axis, 0 being the kernel's size.

    >>> strides([0, 1], 2, 2)
    (2, 1)
    """
    pairs = zip(each(stride, axes), each(kernel, axes), strict=True)
    return tuple(step or size for step, size in pairs)


def each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number an axis, from one for all of them or a list.

    >>> each(3, 2), each([2, 3], 2)
    ((3, 3), (2, 3))
    """
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _linear(shape: Shape, settings: Settings) -> Cost:
    *rows, n_in = shape
    n_out = settings["out_features"]
    return Cost((*rows, n_out), n_out * (n_in + settings["bias"]), prod(rows) * n_in * n_out)


def _convolution(shape: Shape, settings: Settings) -> Cost:
    channels, *sizes = shape
    out, groups = settings["out_channels"], settings["groups"]
    for what, number in (("channels of the input", channels), ("out_channels", out)):
        if number % groups:
            raise SettingError(
                f"groups = {groups}: must divide the {number} {what}.", setting="groups"
            )
    sliding = windows(settings, len(sizes))
    for size, window in zip(sizes, sliding, strict=True):
        _mirrored(settings, window.padding + window.behind, size)
    positions = [window.positions(size) for size, window in zip(sizes, sliding, strict=True)]
    weights = channels // groups * prod(window.kernel for window in sliding)
    return Cost(
        (out, *positions), out * (weights + settings["bias"]), out * prod(positions) * weights
    )


def _mirrored(settings: Settings, padding: int, size: int) -> None:
    mode = settings.get("padding_mode", "zeros")
    most = {"reflect": size - 1, "circular": size}.get(mode)
    if most is not None and padding > most:
        raise SettingError(
            f"padding = {settings['padding']}: {mode} takes {padding} from the input, and an axis of "
            f"{size} has no more than {most}.",
            setting="padding",
        )


def _pooling(shape: Shape, settings: Settings) -> Cost:
    channels, *sizes = shape
    sliding = windows(settings, len(sizes))
    for window in sliding:
        if window.padding > window.kernel // 2:
            raise SettingError(
                f"padding = {window.padding}: at most half the kernel of {window.kernel}, so that "
                "every window holds some of the input.",
                setting="padding",
            )
    positions = [window.positions(size) for size, window in zip(sizes, sliding, strict=True)]
    return Cost((channels, *positions), 0, 0)


def _batchnorm(shape: Shape, settings: Settings) -> Cost:
    return Cost(shape, 2 * shape[0] * settings["affine"], 0)


def _groupnorm(shape: Shape, settings: Settings) -> Cost:
    if settings["groups"] and shape[0] % settings["groups"]:
        raise SettingError(
            f"groups = {settings['groups']}: must divide the {shape[0]} channels of the input.",
            setting="groups",
        )
    return _batchnorm(shape, settings)


def _layernorm(shape: Shape, settings: Settings) -> Cost:
    axes = settings["axes"]
    if axes > len(shape):
        raise SettingError(
            f"axes = {axes}: the input {list(shape)} has only {len(shape)}.", setting="axes"
        )
    return Cost(shape, 2 * prod(shape[-axes:]) * settings["affine"], 0)


def _unflatten(shape: Shape, settings: Settings) -> Cost:
    channels = settings["channels"]
    if shape[0] % channels:
        raise SettingError(
            f"channels = {channels}: must divide the {shape[0]} numbers of the input.",
            setting="channels",
        )
    return Cost((channels, shape[0] // channels), 0, 0)


def _attention(shape: Shape, settings: Settings) -> Cost:
    tokens, features = shape
    if features % settings["heads"]:
        raise SettingError(
            f"heads = {settings['heads']}: must divide the {features} features of a token.",
            setting="heads",
        )
    # Queries, keys, values and the output; then every token with every other, twice.
    multiply_adds = 4 * tokens * features**2 + 2 * tokens**2 * features
    return Cost(shape, 4 * features * (features + settings["bias"]), multiply_adds)


def _same(shape: Shape, settings: Settings) -> Cost:
    return Cost(shape, 0, 0)


_MAP = ("channel", "height", "width")
_ROW = ("channel", "position")
# The inputs that a layer takes; none named: any.
TAKES: dict[str, tuple[tuple[str, ...], ...]] = {
    "linear": (),
    "conv1d": (_ROW,),
    "conv2d": (_MAP,),
    "maxpool2d": (_MAP,),
    "avgpool2d": (_MAP,),
    "global_avgpool": (_ROW, _MAP),
    "batchnorm1d": (("feature",), _ROW),
    "batchnorm2d": (_MAP,),
    "layernorm": (),
    "groupnorm": (("feature",), _ROW, _MAP),
    "dropout": (),
    "dropout2d": (_MAP,),
    "flatten": (),
    "unflatten": (("feature",),),
    "tokens": (_ROW, _MAP),
    "attention": (("token", "feature"),),
}
_COSTS: dict[str, Callable[[Shape, Settings], Cost]] = {
    "linear": _linear,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "maxpool2d": _pooling,
    "avgpool2d": _pooling,
    "global_avgpool": lambda shape, settings: Cost(shape[:1], 0, 0),
    "batchnorm1d": _batchnorm,
    "batchnorm2d": _batchnorm,
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "dropout": _same,
    "dropout2d": _same,
    "flatten": lambda shape, settings: Cost((prod(shape),), 0, 0),
    "unflatten": _unflatten,
    "tokens": lambda shape, settings: Cost((prod(shape[1:]), shape[0]), 0, 0),
    "attention": _attention,
}
