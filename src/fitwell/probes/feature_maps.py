"""What each stage of a convolution network makes of an image."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fitwell.probes.activations import is_activation
from fitwell.probes.outputs import evaluated


@dataclass(frozen=True)
class Stage:
    """A convolution with what follows it up to its activation.

    Args:
        convolution: its name in the model.
        activation: the name of the activation; empty where none follows before the next convolution,
            and the maps are the convolution's own.
        maps: [batch, channel, height, width].
    """

    convolution: str
    activation: str
    maps: Tensor


@torch.no_grad()
def feature_maps(model: nn.Module, x: Tensor) -> list[Stage]:
    """The stages of a model in the order of computation; maps of a single place are left out.

    Args:
        x: [batch, channel, height, width] as the model reads it.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 4, 3))
    >>> [(s.convolution, s.activation) for s in feature_maps(model, torch.zeros(1, 1, 9, 9))]
    [('0', '2'), ('3', '')]
    """
    stages: list[Stage] = []

    def note(name: str, module: nn.Module, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            return
        # Copies: an activation in place writes over the maps that it was given.
        if isinstance(module, nn.Conv2d):
            stages.append(Stage(name, "", output.float().clone()))
        elif is_activation(module) and stages and not stages[-1].activation:
            stages[-1] = Stage(stages[-1].convolution, name, output.float().clone())

    with evaluated(model, note):
        model(x)
    return [stage for stage in stages if min(stage.maps.shape[2:]) > 1]
