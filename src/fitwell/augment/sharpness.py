"""Changes between neighbouring pixels: blur and noise."""

from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from fitwell.augment.images import Images, laid_out_as


def blur(rng: Generator, x: Images, *, blur: float) -> Images:
    """Blurs each image by a width of its own.

    Formula: convolution with exp(-(u^2 + v^2) / (2 s^2)), normalised, up to 3 s; s uniform in [0, b]
        pixels
    Use: photographs that may be out of focus or enlarged
    Weakness: hides the fine detail that may tell the classes apart
    Source: Chen, Kornblith, Norouzi and Hinton 2020, ICML, appendix A

    >>> x = torch.zeros(1, 1, 9, 9)
    >>> x[..., 4, 4] = 1.0
    >>> out = blur(np.random.default_rng(0), x, blur=1.0)
    >>> round(out.sum().item(), 4), out.max().item() < 1
    (1.0, True)
    """
    n, channels, height, width = x.shape
    sigma = torch.from_numpy(rng.uniform(0, blur, n).astype(np.float32)).to(x.device)
    sides = [min(ceil(3 * blur), side - 1) for side in (height, width)]
    # Each channel of each image is a group of its own.
    out = x.reshape(1, n * channels, height, width)
    for axis, reach in enumerate(sides):
        at = torch.arange(-reach, reach + 1, device=x.device)
        bell = torch.exp(-0.5 * (at / sigma.clamp_min(1e-3)[:, None]) ** 2)
        taps = (bell / bell.sum(1, keepdim=True)).repeat_interleave(channels, 0)
        shape = (n * channels, 1, -1, 1) if axis == 0 else (n * channels, 1, 1, -1)
        border = (0, 0, reach, reach) if axis == 0 else (reach, reach, 0, 0)
        padded = F.pad(out, border, mode="reflect")
        out = F.conv2d(padded, taps.view(shape), groups=n * channels)
    return laid_out_as(out.view(x.shape), x)


def noise(rng: Generator, x: Images, empty: Tensor, full: Tensor, *, noise: float) -> Images:
    """Adds normal noise, of an amount of its own for each image.

    Formula: x' = x + s z, with z standard normal, s uniform in [0, r] of full brightness; brought
        back into the range
    Use: photographs in little light, sensors that are noisy
    Weakness: trains longer; no help against other noise
    Source: Bishop 1995, Neural Computation 7

    Args:
        empty, full: [channel, 1, 1] what black and white are in `x`.

    >>> grey = torch.full((1, 1, 50, 50), 0.5)
    >>> out = noise(np.random.default_rng(0), grey, torch.zeros(1, 1, 1), torch.ones(1, 1, 1), noise=0.1)
    >>> 0 < (out - grey).std().item() < 0.1
    True
    """
    amount = torch.from_numpy(rng.uniform(0, noise, len(x)).astype(np.float32)).to(x.device)
    # Drawn on the processor, so that they are the same on every device.
    source = torch.Generator().manual_seed(int(rng.integers(2**63)))
    normal = torch.randn(x.shape, generator=source).to(x.device)
    out = x + normal * amount[:, None, None, None] * (full - empty)
    return torch.minimum(torch.maximum(out, empty), full)
