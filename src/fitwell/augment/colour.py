"""Changes of colour: each gives one matrix an image, and their product changes all pixels at once.

A matrix takes a colour, (red, green, blue, 1) or (grey, 1) with values from 0 to 1, to what it
becomes. Each function draws its own numbers from `rng`; `mean` is the mean colour of each image as it
is by then. Values are brought back into 0 to 1 once, after the last change.
"""

from collections.abc import Callable
from math import pi

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from fitwell.augment.images import Images, laid_out_as

Means = Float[Tensor, "image channel"]
Matrices = Float[Tensor, "image entry entry"]

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look


def brightness(rng: Generator, mean: Means, *, brightness: float) -> Matrices:
    """Makes the image lighter or darker.

    Formula: x' = b x, with b uniform in [1 - r, 1 + r]
    Use: photographs taken in any light
    Weakness: what is too bright becomes plain white
    Source: Howard 2013, arXiv:1312.5402, section 2.2

    >>> half_or_more = brightness(np.random.default_rng(0), torch.ones(1, 3), brightness=0.5)
    >>> 0.5 <= half_or_more[0, 0, 0].item() <= 1.5
    True
    """
    return _scaled(_factor(rng, mean, brightness), mean)


def contrast(rng: Generator, mean: Means, *, contrast: float) -> Matrices:
    """Moves all colours away from the image's mean grey, or towards it.

    Formula: x' = c x + (1 - c) g, with c uniform in [1 - r, 1 + r], g the mean grey of the image
    Use: photographs taken through haze, with any camera
    Weakness: little where images are normalised one by one
    Source: Howard 2013, arXiv:1312.5402, section 2.2

    >>> flat = contrast(np.random.default_rng(0), torch.full((1, 1), 0.25), contrast=0.5)[0]
    >>> grey = torch.tensor([0.25, 1.0])
    >>> torch.allclose(flat @ grey, grey)  # the mean itself stays
    True
    """
    factor = _factor(rng, mean, contrast)
    out = _scaled(factor, mean)
    out[:, :-1, -1] = ((1 - factor) * (mean @ _luma(mean)))[:, None]
    return out


def saturation(rng: Generator, mean: Means, *, saturation: float) -> Matrices:
    """Makes colours stronger or paler.

    Formula: x' = s x + (1 - s) g, with s uniform in [1 - r, 1 + r], g the pixel's own grey
    Use: photographs taken with any camera
    Weakness: wrong where the strength of a colour means something
    Source: Howard 2013, arXiv:1312.5402, section 2.2

    >>> paler = saturation(np.random.default_rng(0), torch.ones(1, 3), saturation=0.5)[0]
    >>> white = torch.ones(4)
    >>> torch.allclose(paler @ white, white, atol=1e-3)  # what has no colour stays
    True
    """
    return _towards_grey(_factor(rng, mean, saturation), mean)


def hue(rng: Generator, mean: Means, *, hue: float) -> Matrices:
    """Turns all colours around the colour wheel, by the same angle.

    Formula: x' = cos(a) x + (1 - cos a) m + sin(a) / sqrt(3) (b - g, r - b, g - r) with a = 2 pi h,
        h uniform in [-r, r], m the mean of the pixel's channels: a turn about the axis of the greys
    Use: small turns for photographs under lamps of any colour
    Weakness: wrong where the colour tells the classes apart
    Source: Howard 2013, arXiv:1312.5402, section 2.2, for changes of colour

    Ours differs from a turn of HSV's hue, as in torchvision: the angle is the same to 2.3 degrees, and
    the mean of the channels is kept rather than their largest.

    >>> same = hue(np.random.default_rng(0), torch.ones(1, 3), hue=0.0)[0]
    >>> torch.allclose(same, torch.eye(4))
    True
    """
    angle = 2 * pi * _drawn(rng, mean, -hue, hue)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    ones = torch.ones(3, 3, device=mean.device)
    across = ones.new_tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    out = _scaled(torch.ones_like(angle), mean)
    out[:, :3, :3] = cos * torch.eye(3, device=mean.device) + (1 - cos) / 3 * ones
    out[:, :3, :3] += sin / 3**0.5 * across
    return out


def grey(rng: Generator, mean: Means, *, grey: float) -> Matrices:
    """Takes the colour away.

    Formula: with probability p: x' = g, the pixel's grey, in all three channels
    Use: where shape should count more than colour
    Weakness: wrong where the colour tells the classes apart
    Source: Chen, Kornblith, Norouzi and Hinton 2020, ICML, appendix A

    >>> out = grey(np.random.default_rng(0), torch.ones(1, 3), grey=1.0)[0]
    >>> r, g, b, _ = (out @ torch.tensor([0.2, 0.9, 0.4, 1.0])).tolist()
    >>> r == g == b
    True
    """
    keeps = _drawn(rng, mean, 0.0, 1.0) >= grey
    return _towards_grey(keeps.float(), mean)


# In the order in which they are done to an image.
COLOUR: dict[str, Callable[..., Matrices]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
    "grey": grey,
}
OF_COLOURS = ("saturation", "hue", "grey")  # need three channels


def recolour(x: Images, matrices: Matrices, empty: Tensor, full: Tensor) -> Images:
    """Each normalised image with its colours changed by its matrix.

    Args:
        empty, full: [channel, 1, 1] what black and white are in `x`.

    >>> x = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
    >>> darker = torch.diag(torch.tensor([0.5, 1.0]))[None]
    >>> recolour(x, darker, torch.zeros(1, 1, 1), torch.ones(1, 1, 1)).flatten().tolist()
    [0.0, 0.25, 0.5]
    """
    n, channels, height, width = x.shape
    low, span = empty.flatten(), (full - empty).flatten()
    linear = matrices[:, :-1, :-1] * (span[:, None] / span)
    shift = matrices[:, :-1, -1] * span + low - linear @ low
    pixels = x.permute(0, 2, 3, 1).reshape(n, height * width, channels)
    out = torch.baddbmm(shift[:, None], pixels, linear.mT)
    out = torch.minimum(torch.maximum(out, low), low + span)
    return laid_out_as(out.reshape(n, height, width, channels).permute(0, 3, 1, 2), x)


def _drawn(rng: Generator, mean: Means, low: float, high: float) -> Tensor:
    """[image] uniform numbers, on the device of `mean`."""
    return torch.from_numpy(rng.uniform(low, high, len(mean)).astype(np.float32)).to(mean.device)


def _factor(rng: Generator, mean: Means, reach: float) -> Tensor:
    return _drawn(rng, mean, 1 - reach, 1 + reach)


def _luma(mean: Means) -> Tensor:
    """[channel] weights of the channels in grey."""
    weights = LUMA if mean.shape[1] == 3 else (1.0,)
    return torch.tensor(weights, device=mean.device)


def _scaled(factor: Tensor, mean: Means) -> Matrices:
    """The matrix that multiplies every channel."""
    n, channels = mean.shape
    out = torch.zeros(n, channels + 1, channels + 1, device=mean.device)
    out[:, range(channels), range(channels)] = factor[:, None]
    out[:, -1, -1] = 1.0
    return out


def _towards_grey(factor: Tensor, mean: Means) -> Matrices:
    """The matrix that keeps `factor` of a pixel's colour, and takes the rest from its grey."""
    out = _scaled(factor, mean)
    out[:, :-1, :-1] += (1 - factor)[:, None, None] * _luma(mean)
    return out
