"""Grad-CAM: which places of an image spoke for a class."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fitwell.probes.activations import is_activation
from fitwell.probes.outputs import evaluated, is_pooling


@dataclass(frozen=True)
class ClassMaps:
    """Grad-CAM of a batch.

    Args:
        layer: the module whose feature maps were weighed.
        maps: [batch, height, width] of that layer, not negative, in no unit: only the places of one
            map can be compared.
    """

    layer: str
    maps: Tensor


def gradcam(model: nn.Module, x: Tensor, classes: Tensor) -> ClassMaps | None:
    """The places of each image that spoke for the class named.

    Formula: w_k = mean over i, j of dy / dA_k[i, j]; L = ReLU(sum over k of w_k A_k), with y the
    class's raw output and A_k the k-th feature map of the layer
    Use: to see whether a network looked at the object, or at what happens to stand beside it
    Weakness: as coarse as the layer's maps; where, and not what; a head that flattens weighs each place
    by itself, so that averaged gradients may leave an empty map (Draelos and Carin 2020, arXiv
    2011.08891)
    Source: Selvaraju et al. 2017, ICCV, equations 1 and 2

    The layer is the last one before the head with maps of more than one row and column; pooling is
    passed over, since the maps before it are finer (the paper, too, takes VGG's before its last
    pooling). Any module graph will do. Weights, their gradients and modes stay as they are.

    Args:
        model: gives raw outputs, [batch, class].
        x: [batch, channel, height, width] as the model reads it.
        classes: [batch] int64.

    Returns:
        None where no layer has such maps or the score does not depend on them, and for networks that
        go on with tokens (ViT): their maps are patches that the rest has not seen together yet.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> found = gradcam(model, torch.ones(5, 1, 4, 4), torch.zeros(5, dtype=torch.long))
    >>> found.layer, found.maps.shape
    ('1', torch.Size([5, 2, 2]))
    """
    last = _LastMaps()
    with evaluated(model, last.note), torch.enable_grad():
        # The input asks for a gradient, so that there is one below frozen weights too; times one,
        # since a first layer that works in place may not write on a leaf.
        outputs = model(x.detach().requires_grad_() * 1)
        if last.maps is None:
            return None
        # In evaluation mode no row depends on another, so the sum has the gradient of each.
        score = outputs.float().gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, last.maps, allow_unused=True)
    if gradient is None:
        return None
    weights = gradient.float().mean((2, 3), keepdim=True)
    return ClassMaps(last.layer, (weights * last.maps.detach().float()).sum(1).relu())


class _LastMaps:
    """The last feature maps that were computed, and whose they are."""

    def __init__(self) -> None:
        self.layer = ""
        self.maps: Tensor | None = None
        self._pooled: Tensor | None = None

    def note(self, name: str, module: nn.Module, output: object) -> None:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        if output.ndim == 3 and any(True for _ in module.parameters(recurse=False)):
            self.maps = None  # [batch, token, feature]
        elif output.ndim != 4 or min(output.shape[2:]) < 2:
            return
        elif is_pooling(module):
            self._pooled = output
        elif output is not self._pooled or is_activation(module):
            # Else a block, or idle dropout, gave on what its pooling gave.
            self.layer, self.maps = name, output
