"""Pictures fitted into a shape with their proportions kept, and boxes with them. No torch, no reading."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CHUNK = 256  # pictures looked at together
PAD = 114  # of 255: the grey beside the picture, about the mean of photographs


@dataclass(frozen=True)
class Fit:
    """Where a picture lies in the shape that it is fitted into, in pixels.

    Args:
        size: (height, width) of the whole picture.
        inner: (height, width) that it is resized to.
        top, left: empty pixels above it and on its left.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    top: int
    left: int

    def boxes(self, corners: np.ndarray) -> np.ndarray:
        """Corners [..., 4] (x1, y1, x2, y2) of the picture, moved as its pixels are."""
        scale = np.array([self.inner[1] / self.size[1], self.inner[0] / self.size[0]] * 2)
        return corners * scale + np.array([self.left, self.top] * 2)

    def undone(self, corners: np.ndarray) -> np.ndarray:
        """Corners [..., 4] in the shape, as they lie in the picture, within it."""
        scale = np.array([self.inner[1] / self.size[1], self.inner[0] / self.size[0]] * 2)
        found = (corners - np.array([self.left, self.top] * 2)) / scale
        return found.clip(0, np.array([self.size[1], self.size[0]] * 2))


def letterbox(size: tuple[int, int], shape: tuple[int, int]) -> Fit:
    """How a picture of `size` lies in `shape`, both (height, width): as large as it fits, in the middle.

    >>> fit = letterbox((480, 640), (320, 320))
    >>> fit.inner, fit.top, fit.left
    ((240, 320), 40, 0)
    >>> fit.boxes(np.array([0.0, 0.0, 640.0, 480.0])).tolist()
    [0.0, 40.0, 320.0, 280.0]
    >>> fit.undone(np.array([0.0, 40.0, 160.0, 290.0])).tolist()
    [0.0, 0.0, 320.0, 480.0]
    """
    (height, width), (high, wide) = size, shape
    if height * wide >= width * high:
        inner = high, min(wide, max(1, round(width * high / height)))
    else:
        inner = min(high, max(1, round(height * wide / width))), wide
    return Fit(size, inner, (high - inner[0]) // 2, (wide - inner[1]) // 2)


def inner_parts(pictures: np.ndarray) -> Iterator[np.ndarray]:
    """Each of the pictures [example, channel, height, width] without the even grey that `letterbox` put
    around it: views [channel, height, width]; one that is grey all over as it is.

    They are looked at a chunk at a time: all of them together may not fit into memory twice.
    """
    for start in range(0, len(pictures), CHUNK):
        chunk = pictures[start : start + CHUNK]
        grey = chunk == PAD
        rows, columns = grey.all((1, 3)), grey.all((1, 2))
        for picture, above, beside in zip(chunk, rows, columns, strict=True):
            top, left = _run(above), _run(beside)
            bottom, right = _run(above[::-1]), _run(beside[::-1])
            if top == len(above):  # grey all over
                top = bottom = left = right = 0
            yield picture[:, top : len(above) - bottom, left : len(beside) - right]


def _run(flags: np.ndarray) -> int:
    """How many of the first are true."""
    return len(flags) if flags.all() else int(flags.argmin())


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[box, other box] intersection over union of corners [box, 4] and [other box, 4]; 0 without area.

    >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    a, b = one[:, None], other[None, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def same_boxes(one: np.ndarray, other: np.ndarray, least: float = 0.5) -> bool:
    """Whether two lists of boxes [box, 5] (class and corners; NaN is none) say the same: each has a
    partner of its class that it overlaps by `least`, whatever their order.

    >>> box = np.array([[0.0, 1, 1, 9, 9]])
    >>> same_boxes(box, box + [0, 1, 0, 1, 0]), same_boxes(box, box + [1, 0, 0, 0, 0])
    (True, False)
    """
    a, b = one[~np.isnan(one[:, 0])], other[~np.isnan(other[:, 0])]
    if len(a) != len(b):
        return False
    alike = np.where(a[:, None, 0] == b[None, :, 0], overlaps(a[:, 1:], b[:, 1:]), 0.0)
    for _ in range(len(a)):
        row, column = np.unravel_index(alike.argmax(), alike.shape)
        if alike[row, column] < least:
            return False
        alike[row], alike[:, column] = -1.0, -1.0
    return True
