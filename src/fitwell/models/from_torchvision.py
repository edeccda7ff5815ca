"""torchvision's classification networks by name: `torchvision:squeezenet1_0`."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import nn

from fitwell.errors import SettingError, did_you_mean
from fitwell.models.parts import what_it_is
from fitwell.nn.pooling import ConcatPool2d
from fitwell.spec import Spec

PREFIX = "torchvision:"
Pooling: TypeAlias = Annotated[
    Literal["own", "both"],
    Field(
        description="what the head reads of each channel; own: as the network has it; both: mean and "
        "maximum over all places, normalised, without dropout (of SqueezeNet, ResNet, EfficientNet and "
        "others that average)"
    ),
]
# Auxiliary classifiers serve the first training on ImageNet alone, and change what forward returns.
_WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": True}
_EXTRA: dict[str, dict[str, Any]] = {
    "googlenet": _WITHOUT_AUXILIARY,
    "inception_v3": _WITHOUT_AUXILIARY,
}
_LARGEST = (
    320  # sides up to which the least one is looked for; the largest wanted is Inception's 75
)


def torchvision_builder(path: str) -> Callable[..., nn.Module]:
    """A builder of one of torchvision's networks, with a new head for the data.

    Other than three channels: the first convolution is drawn anew for as many. Networks that read
    one size only (vision transformers) are built for the size of the images.

    Raises:
        SettingError: torchvision has no classification network of this name.

    >>> build = torchvision_builder("torchvision:squeezenet1_0")
    >>> build(Spec("images", "regression", (1, 32, 32)))(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 1])
    """
    from torchvision import models

    name = path.removeprefix(PREFIX)
    names = models.list_models(module=models)
    if name not in names:
        raise SettingError(
            f"model.name: torchvision has no classification network {name!r}."
            f"{did_you_mean(name, names)} torchvision.models.list_models() shows all it has.",
            setting="model.name",
        )

    def build(spec: Spec, *, pooling: Pooling = "own") -> nn.Module:
        if len(spec.input_shape) != 3:
            raise SettingError(
                f"model.name={path} needs images, and {what_it_is(spec)}. Set model.name=mlp.",
                setting="model.name",
            )
        channels, height, width = spec.input_shape
        made = _tried(name, spec.num_outputs, (channels, height, width), pooling)
        if isinstance(made, str):
            least = _least(name, spec.num_outputs, channels, max(height, width))
            raise SettingError(
                f"model.name={path} cannot read images of {height}x{width} ({made}). "
                + (f"Set data.image_size={least}, the least that it reads." if least else ""),
                setting="model.name",
            )
        return made

    build.__name__ = name
    build.__doc__ = f"torchvision's {name}."
    return build


def _build(
    name: str, num_outputs: int, channels: int, side: int, pooling: Pooling = "own"
) -> nn.Module:
    from torchvision.models import get_model

    extra = dict(_EXTRA.get(name, {}))
    if name.startswith("vit_"):
        extra["image_size"] = side
    model = get_model(name, weights=None, num_classes=num_outputs, **extra)
    if hasattr(model, "transform_input"):
        # Their published weights read colours from -1 to 1; this takes them there from ImageNet's
        # normalisation, as torchvision does where it loads the weights itself.
        model.transform_input = channels == 3  # type: ignore[bad-argument-type]
    if channels != 3:
        _read_channels(model, channels)
    if pooling == "both":
        _pool_both(name, model)
    return model


def bare(name: str, channels: int) -> nn.Module:
    """The network as it is drawn, for pictures of so many channels."""
    return _build(name, 1, channels, _LARGEST)


def _pool_both(name: str, model: nn.Module) -> None:
    """Give the head the mean and the maximum of each channel, in place of what the network pools, and
    leave out the dropout between the two.

    Raises:
        SettingError: the network has no global average right before its head.
    """
    head = getattr(model, "classifier", None)
    if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.AdaptiveAvgPool2d):  # SqueezeNet
        conv = head[1]
        assert isinstance(conv, nn.Conv2d)
        new = nn.Linear(2 * conv.in_channels, conv.out_channels)
        model.classifier = nn.Sequential(ConcatPool2d(), new)
        return
    average = getattr(model, "avgpool", None)
    linear = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    whole = isinstance(average, nn.AdaptiveAvgPool2d) and average.output_size in (1, (1, 1))
    if not whole or len(linear) != 1 or linear[0][0] not in ("fc", "classifier.1"):
        raise SettingError(
            f"model.pooling = both: torchvision's {name} has no global average right before its head. "
            "Leave it out.",
            setting="model.pooling",
        )
    place, last = linear[0]
    model.avgpool = ConcatPool2d()
    model.set_submodule(place, nn.Linear(2 * last.in_features, last.out_features))
    for parent, at in ((head, "0"), (model, "dropout")):  # EfficientNet and MobileNet; GoogLeNet
        if isinstance(getattr(parent, at, None), nn.Dropout):
            setattr(parent, at, nn.Identity())


def _read_channels(model: nn.Module, channels: int) -> None:
    """Draw the first convolution anew for so many input channels."""
    name, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    parent = model.get_submodule(name.rpartition(".")[0])
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    setattr(parent, name.rpartition(".")[2], new)


@torch.no_grad()
def _tried(
    name: str, num_outputs: int, shape: tuple[int, int, int], pooling: Pooling = "own"
) -> nn.Module | str:
    """The network, after two images of zeros passed through it; or why they do not."""
    channels, height, _ = shape
    try:
        model = _build(name, num_outputs, channels, height, pooling)
        model.eval()(torch.zeros(2, *shape))
    except SettingError:
        raise
    except Exception as error:  # too small for a kernel, or not the one size: torch has many words
        return str(error).split("\n")[0].rstrip(".!") or type(error).__name__
    return model.train()


def _least(name: str, num_outputs: int, channels: int, side: int) -> int:
    """The least larger square that the network reads; 0 where there is none.

    Looked for on the meta device, which computes shapes and no numbers. RegNets cannot be built
    there; they read any size.
    """

    def reads(size: int) -> bool:
        with torch.device("meta"):
            return not isinstance(_tried(name, num_outputs, (channels, size, size)), str)

    coarse = next((s for s in range(32 * (side // 32) + 32, _LARGEST + 1, 32) if reads(s)), 0)
    # One by one below it: vision transformers read multiples of their patch alone.
    return next((s for s in range(max(side, coarse - 32) + 1, coarse) if reads(s)), coarse)
