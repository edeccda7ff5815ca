"""Changes of place: each gives one 3x3 matrix an image, and their product is resampled once.

A matrix takes a point of the image, (x, y, 1) in pixels from its centre with y downwards, to where it
goes. Each function draws its own numbers from `rng`, for `n` images of `height` and `width`.
"""

from collections.abc import Callable, Sequence
from math import pi

import numpy as np
from numpy.random import Generator

Matrices = np.ndarray  # [image, 3, 3] float64


def hflip(rng: Generator, n: int, height: int, width: int, *, hflip: float) -> Matrices:
    """Flips left and right.

    Formula: x' = -x with probability p
    Use: photographs of things that face either way
    Weakness: wrong where left and right mean something: digits, letters, traffic signs
    Source: Krizhevsky, Sutskever and Hinton 2012, NeurIPS, section 4.1

    >>> flipped = hflip(np.random.default_rng(0), 1, 8, 8, hflip=1.0)[0]
    >>> (flipped @ [2, 3, 1]).tolist()
    [-2.0, 3.0, 1.0]
    """
    return matrices(n, a=np.where(rng.random(n) < hflip, -1.0, 1.0))


def vflip(rng: Generator, n: int, height: int, width: int, *, vflip: float) -> Matrices:
    """Flips up and down.

    Formula: y' = -y with probability p
    Use: pictures from above or through a microscope, which have no up
    Weakness: wrong for nearly everything photographed by a standing person
    Source: Krizhevsky, Sutskever and Hinton 2012, NeurIPS, for flips

    >>> flipped = vflip(np.random.default_rng(0), 1, 8, 8, vflip=1.0)[0]
    >>> (flipped @ [2, 3, 1]).tolist()
    [2.0, -3.0, 1.0]
    """
    return matrices(n, d=np.where(rng.random(n) < vflip, -1.0, 1.0))


def crop(
    rng: Generator,
    n: int,
    height: int,
    width: int,
    *,
    crop: list[float],
    crop_ratio: list[float],
) -> Matrices:
    """Cuts out a random part and enlarges it to the whole: the random resized crop.

    Formula: area s H W with s uniform in `crop`, width / height log-uniform in `crop_ratio`, at a
        random place; resized to H x W
    Use: photographs whose object may be anywhere, of any size; the strongest single change there
    Weakness: a small part may not show the object; harmful where size means something
    Source: Szegedy et al. 2015, CVPR, section 6

    A part that would stick out is cut to the image's side, where torchvision draws again.

    >>> cut = crop(np.random.default_rng(0), 1, 8, 8, crop=[0.25, 0.25], crop_ratio=[1.0, 1.0])[0]
    >>> float(cut[0, 0]), float(cut[1, 1])  # a quarter of the area: twice as large
    (2.0, 2.0)
    """
    area = height * width * rng.uniform(crop[0], crop[1], n)
    ratio = log_uniform(rng, n, crop_ratio)
    wide = np.minimum(np.sqrt(area * ratio), width)
    high = np.minimum(np.sqrt(area / ratio), height)
    x = (rng.random(n) - 0.5) * (width - wide)  # of its centre
    y = (rng.random(n) - 0.5) * (height - high)
    zoom_x, zoom_y = width / wide, height / high
    return matrices(n, a=zoom_x, d=zoom_y, x=-x * zoom_x, y=-y * zoom_y)


def translate(rng: Generator, n: int, height: int, width: int, *, translate: float) -> Matrices:
    """Shifts by whole pixels; what comes in is empty. The crop with padding of small images.

    Formula: x' = x + u W, y' = y + v H, with u and v uniform in [-t, t], rounded to whole pixels
    Use: small images whose object is centred, as in CIFAR (4 of 32 pixels: 0.125)
    Weakness: convolutions hardly notice a shift, so it brings less than a change of size
    Source: He, Zhang, Ren and Sun 2016, CVPR, section 4.2

    >>> moved = translate(np.random.default_rng(0), 1, 8, 8, translate=0.25)[0]
    >>> moved[:2, 2].tolist()
    [1.0, -1.0]
    """
    x = np.rint(rng.uniform(-translate, translate, n) * width)
    y = np.rint(rng.uniform(-translate, translate, n) * height)
    return matrices(n, x=x, y=y)


def rotate(rng: Generator, n: int, height: int, width: int, *, rotate: float) -> Matrices:
    """Turns about the centre.

    Formula: x' = x cos a - y sin a, y' = x sin a + y cos a, with a uniform in [-r, r]
    Use: pictures that are never quite upright; any angle where they have no up
    Weakness: a large angle makes a 6 of a 9; corners come in empty
    Source: Simard, Steinkraus and Platt 2003, ICDAR

    >>> turned = rotate(np.random.default_rng(0), 1, 8, 8, rotate=90.0)[0]
    >>> x, y, _ = turned @ [3, 4, 1]
    >>> round(float(np.hypot(x, y)), 9)  # as far from the centre as before
    5.0
    """
    angle = rng.uniform(-rotate, rotate, n) * pi / 180
    cos, sin = np.cos(angle), np.sin(angle)
    return matrices(n, a=cos, b=-sin, c=sin, d=cos)


def scale(rng: Generator, n: int, height: int, width: int, *, scale: list[float]) -> Matrices:
    """Enlarges or shrinks about the centre, the same in both directions.

    Formula: x' = s x, y' = s y, with log s uniform between the logarithms of `scale`
    Use: objects that are seen from near and from far
    Weakness: what grows out of the picture is lost
    Source: Simard, Steinkraus and Platt 2003, ICDAR, for affine changes

    >>> grown = scale(np.random.default_rng(0), 1, 8, 8, scale=[2.0, 2.0])[0]
    >>> (grown @ [1, 3, 1]).round(9).tolist()
    [2.0, 6.0, 1.0]
    """
    factor = log_uniform(rng, n, scale)
    return matrices(n, a=factor, d=factor)


def shear(rng: Generator, n: int, height: int, width: int, *, shear: float) -> Matrices:
    """Slants: rows move sideways, the farther from the centre the more.

    Formula: x' = x - y tan a, with a uniform in [-s, s]
    Use: handwriting, which leans; objects seen from the side
    Weakness: little beside rotation and scale
    Source: Simard, Steinkraus and Platt 2003, ICDAR

    >>> leant = shear(np.random.default_rng(0), 1, 8, 8, shear=45.0)[0]
    >>> (leant @ [2, 0, 1]).tolist()  # the middle row stays
    [2.0, 0.0, 1.0]
    """
    slant = np.tan(rng.uniform(-shear, shear, n) * pi / 180)
    return matrices(n, b=-slant)


def log_uniform(rng: Generator, n: int, ends: Sequence[float]) -> np.ndarray:
    """[n] numbers whose logarithms are uniform, so that a half and a double are equally frequent."""
    low, high = np.log(ends)
    return np.exp(rng.uniform(low, high, n))


def matrices(
    n: int,
    a: np.ndarray | float = 1.0,
    b: np.ndarray | float = 0.0,
    x: np.ndarray | float = 0.0,
    c: np.ndarray | float = 0.0,
    d: np.ndarray | float = 1.0,
    y: np.ndarray | float = 0.0,
) -> Matrices:
    """[[a, b, x], [c, d, y], [0, 0, 1]] for each of n images."""
    out = np.zeros((n, 3, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = a, b, x
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = c, d, y
    out[:, 2, 2] = 1.0
    return out


# In the order in which they are done to an image.
GEOMETRY: dict[str, Callable[..., Matrices]] = {
    "hflip": hflip,
    "vflip": vflip,
    "crop": crop,
    "scale": scale,
    "shear": shear,
    "rotate": rotate,
    "translate": translate,
}
