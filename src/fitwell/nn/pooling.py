"""Pooling, where torch's own is slow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# torch vectorises over channels; this many fill a vector register.
_FEW_CHANNELS = 16


class MaxPool2d(nn.MaxPool2d):
    """Maximum of each window.

    Formula: y[c, i, j] = max of x[c, s i : s i + k, s j : s j + k]
    Use: smaller maps, and a little independence of position
    Weakness: throws position away
    Source: Riesenhuber and Poggio 1999, Nature Neuroscience 2

    Few channels in bfloat16 are pooled in float32 on a processor: torch's kernel is quicker for
    them, and a maximum is exact in either.

    >>> MaxPool2d(2)(torch.arange(16.0).view(1, 1, 4, 4)).flatten().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        few = input.ndim == 4 and input.shape[1] < _FEW_CHANNELS
        if few and input.dtype == torch.bfloat16 and input.device.type == "cpu":
            input = input.float()
        return super().forward(input)


class ConcatPool2d(nn.Module):
    """Mean and maximum of each channel over all places, each of the two normalised over the channels.

    Formula: y = [norm(mean over i, j of x[c, i, j]), norm(max over i, j of x[c, i, j])] with
        norm(v) = (v - mean(v)) / sqrt(var(v) + 1e-5)
    Use: before the head of a pretrained network: how much of something there is, and whether there is any
    Weakness: a head twice as wide; how strong an image's features are as a whole is lost
    Source: Howard and Gugger 2020, Information 11(2), section 4.1 (AdaptiveConcatPool2d); Ba, Kiros and
        Hinton 2016, arXiv 1607.06450

    Ours differs: normalised without parameters, since networks without normalisation (SqueezeNet) have
    features of any size, and no one learning rate suits a new head on them.

    >>> x = torch.tensor([[[[1.0, 3.0]], [[3.0, 3.0]], [[0.0, 8.0]]]])  # means 2, 3, 4; maxima 3, 3, 8
    >>> [[f"{v:.2f}" for v in half] for half in ConcatPool2d()(x)[0].chunk(2)]
    [['-1.22', '0.00', '1.22'], ['-0.71', '-0.71', '1.41']]
    """

    def forward(self, x: Tensor) -> Tensor:
        both = (x.mean((2, 3)).float(), x.amax((2, 3)).float())
        return torch.cat([F.layer_norm(v, v.shape[1:]) for v in both], 1)
