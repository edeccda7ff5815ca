"""Changes that mix two examples of a batch: each says how much of every pixel stays an image's own.

Each function draws its own numbers from `rng`, for `n` images of `height` and `width`, and gives
[image, height or 1, width or 1] shares; the rest of a pixel is the partner's. The loss is mixed by the
mean of these shares, so that any loss will do.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator

from fitwell.augment.images import Images, laid_out_as
from fitwell.data.batches import Mixture

Shares = np.ndarray  # float32


def mixup(rng: Generator, n: int, height: int, width: int, *, mixup: float) -> Shares:
    """Blends each image with another one of its batch, and their losses likewise; boxes are those of both.

    Formula: x' = s x + (1 - s) x_j, loss s L(y) + (1 - s) L(y_j), with s ~ Beta(a, a), j of a
        permutation of the batch; of boxes all of both, where both can be seen
    Use: overfitting; doubtful labels; a small a (0.2) blends few images strongly, 1.5 suits boxes
    Weakness: trains longer; blends look like nothing that is to be recognised
    Source: Zhang, Cisse, Dauphin and Lopez-Paz 2018, ICLR; of boxes Zhang et al. 2019, arXiv:1902.04103,
        and Ge et al. 2021, arXiv:2107.08430, section 2.1 (YOLOX)

    Ours differs: a share for each image, where the paper draws one a batch; boxes count in full however
    faint they are, and those of a picture of which there is less than a tenth not at all.

    >>> shares = mixup(np.random.default_rng(0), 3, 8, 8, mixup=1.0)
    >>> shares.shape, bool((0 < shares).all() and (shares < 1).all())
    ((3, 1, 1), True)
    """
    return rng.beta(mixup, mixup, (n, 1, 1)).astype(np.float32)


def cutmix(rng: Generator, n: int, height: int, width: int, *, cutmix: float) -> Shares:
    """Pastes a rectangle of another image of the batch into each, and mixes their losses by area.

    Formula: x' = x outside and x_j inside a rectangle of the shape of the image and of area 1 - s,
        s ~ Beta(a, a), around a random place and cut at the border; loss by the area that is left
    Use: photographs; where mixup's blends are too unlike real images
    Weakness: may paste what shows nothing, whose label counts all the same
    Source: Yun, Han, Oh, Chun, Choe and Yoo 2019, ICCV

    Ours differs: a rectangle for each image, where the paper draws one a batch.

    >>> own = cutmix(np.random.default_rng(0), 1, 8, 8, cutmix=1.0)
    >>> own.shape, sorted(set(own.flatten().tolist()))
    ((1, 8, 8), [0.0, 1.0])
    """
    side = np.sqrt(1 - rng.beta(cutmix, cutmix, n)) / 2
    inside = [
        _around(np.floor(rng.random(n) * length), np.floor(side * length), length)
        for length in (height, width)
    ]
    pasted = inside[0][:, :, None] & inside[1][:, None, :]
    return (~pasted).astype(np.float32)


MIXING: dict[str, Callable[..., Shares]] = {"mixup": mixup, "cutmix": cutmix}


def mix(rng: Generator, x: Images, strengths: dict[str, float]) -> tuple[Images, Mixture]:
    """Each image mixed with a partner, by one of the ways that `strengths` names, at even odds.

    >>> x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    >>> mixed, mixture = mix(np.random.default_rng(3), x, {"mixup": 1.0})
    >>> torch.allclose(mixed.flatten(), mixture.share * x.flatten() + (1 - mixture.share)
    ...     * x.flatten()[mixture.partner])
    True
    """
    n, _, height, width = x.shape
    partner = torch.from_numpy(rng.permutation(n)).to(x.device)
    way = rng.integers(len(strengths), size=n)
    own = np.ones((n, 1, 1), np.float32)
    for number, (name, strength) in enumerate(strengths.items()):
        drawn = MIXING[name](rng, n, height, width, **{name: strength})
        own = np.where((way == number)[:, None, None], drawn, own)
    share = torch.from_numpy(own.mean((1, 2))).to(x.device)
    kept = torch.from_numpy(own)[:, None].to(x.device)
    return laid_out_as(torch.lerp(x[partner], x, kept), x), Mixture(partner, share)


def _around(centre: np.ndarray, reach: np.ndarray, length: int) -> np.ndarray:
    """[image, length]: which pixels lie within `reach` of the centre, `centre - reach` among them."""
    at = np.arange(length)
    return (at >= (centre - reach)[:, None]) & (at < (centre + reach)[:, None])
