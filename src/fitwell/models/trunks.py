"""torchvision's classification networks as backbones of a detector: their maps of strides 8, 16 and 32."""

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor, nn

from fitwell.errors import SettingError, did_you_mean
from fitwell.models.from_torchvision import PREFIX, bare

STRIDES = (8, 16, 32)  # pixels of the picture from one place of a map to the next
_SHOWN = (128, 192)  # multiples of 32 that no number of channels is taken for
_SETTING = "model.backbone"


class Trunk(nn.Module):
    """The layers of a network one behind the other up to its last map of stride 32, under their own names.

    Args:
        network: whose layers these are.
        steps: the names of the layers in the order of computation; each reads what the one before gives.
        taken: those whose output is the map of stride 8, 16 and 32.
    """

    def __init__(self, network: nn.Module, steps: list[str], taken: list[str]) -> None:
        super().__init__()
        for name in dict.fromkeys(step.partition(".")[0] for step in steps):
            self.add_module(name, network.get_submodule(name))
        self.steps = steps
        self.taken = taken

    def forward(self, x: Tensor) -> list[Tensor]:
        """The maps of strides 8, 16 and 32."""
        maps = []
        for step in self.steps:
            x = self.get_submodule(step)(x)
            if step in self.taken:
                maps.append(x)
        return maps


def trunk(path: str, colours: int) -> tuple[Trunk, list[int]]:
    """(backbone, channels of its three maps) of a network of torchvision, `torchvision:NAME`.

    A picture is passed through the whole network once. What its layers give each other is followed from
    the picture on, and the last layer of each stride is taken.

    Args:
        colours: channels of the pictures; other than 3: the first convolution is drawn anew.

    Raises:
        SettingError: torchvision has no such network, or its layers do not stand one behind the other
            with maps of strides 8, 16 and 32.

    >>> backbone, channels = trunk("torchvision:resnet18", 3)
    >>> channels, [tuple(m.shape[2:]) for m in backbone(torch.zeros(1, 3, 64, 96))]
    ([128, 256, 512], [(8, 12), (4, 6), (2, 3)])
    """
    from torchvision import models

    name = path.removeprefix(PREFIX)
    names = models.list_models(module=models)
    if not path.startswith(PREFIX) or name not in names:
        raise SettingError(
            f"{_SETTING} = {path}: is neither csp nor a classification network of torchvision, as "
            f"torchvision:NAME.{did_you_mean(name, ['csp', *names])}",
            setting=_SETTING,
        )
    network = bare(name, colours)
    outputs = _chain(network, colours)
    strides = {step: _stride(out) for step, out in outputs.items()}
    taken = [next((s for s in reversed(strides) if strides[s] == n), "") for n in STRIDES]
    if not all(taken):
        found = ", ".join(str(n) for n in sorted({n for n in strides.values() if n}))
        raise SettingError(
            f"{_SETTING} = {path}: a backbone gives maps at every 8, 16 and 32 pixels, one layer behind "
            f"the other, and the layers of this network give {f'them at {found}' if found else 'none'}. "
            "ResNets, RegNets, DenseNets, VGGs, ConvNeXts, MobileNets and EfficientNets do.",
            setting=_SETTING,
        )
    steps = list(outputs)[: list(outputs).index(taken[-1]) + 1]
    return Trunk(network, steps, taken), [outputs[step].shape[1] for step in taken]


@torch.no_grad()
def _chain(network: nn.Module, colours: int) -> dict[str, Tensor]:
    """The layers that read one another's output from the picture on, and what they give."""
    outputs: dict[str, Tensor] = {}
    x = torch.zeros(1, colours, *_SHOWN)
    last = [x]

    def note(name: str, inputs: tuple[object, ...], output: object) -> None:
        if inputs[0] is last[0] and isinstance(output, Tensor):
            outputs[name] = last[0] = output

    hooks = [
        layer.register_forward_hook(lambda _, given, out, name=name: note(name, given, out))
        for name, layer in _opened(network)
    ]
    # A transformer reads one size of picture, and ends before it has given anything.
    with suppress(Exception):
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    network.train()
    return outputs


def _opened(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of a network by name, sequences opened: each is computed as a whole."""
    for name, layer in network.named_children():
        if isinstance(layer, nn.Sequential):
            yield from _opened(layer, f"{prefix}{name}.")
        else:
            yield prefix + name, layer


def _stride(output: Tensor) -> int:
    """Pixels of the picture a place of the map; 0 where it is no map of all of it."""
    if output.ndim != 4 or min(output.shape[2:]) < 2:
        return 0
    strides = {whole / part for whole, part in zip(_SHOWN, output.shape[2:], strict=True)}
    return int(strides.pop()) if len(strides) == 1 and all(s % 1 == 0 for s in strides) else 0
