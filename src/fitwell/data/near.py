"""Near duplicates among images: found by a perceptual hash, proved by their pixels. No torch.

Two pictures of one thing, saved at another quality or size, differ in every byte and in nothing that a
network learns; on both sides of a split they flatter the score as copies do.
"""

from collections.abc import Iterator

import numpy as np

CHUNK = 1 << 24  # values worked on at once
SIDE = 8  # of the grid of the hash: 64 bits
DISTANCE = 3  # bits in which the hashes of one picture may differ
BANDS = 4  # one more than DISTANCE, so that whatever differs, one of them is equal
CROWDED = 2000  # images with an equal band: such a band says nothing
ALIKE = 0.995  # least correlation of the pixels of small images
COMPARED = (
    32  # side that larger ones are shrunk to: another size or quality changes their finest detail
)
ALIKE_SHRUNK = 0.99  # least correlation then
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
ROUGHLY = 0.99  # of the fields, before the pixels are looked at
ROUGHLY_SHRUNK = 0.95  # of those of larger images, which may have lost their brightest values
MARGIN = 0.002  # by full brightness: half a step of 256
BRIGHTEST = 0.98  # of full brightness: what may have been brighter before
LEAST_KEPT = 0.25  # share of the pixels below it that tells how bright the others were
COLOURLESS = 0.03  # of full brightness: JPEG parts equal channels by less
LEAST_CONTRAST = 0.015  # standard deviation by full brightness: flat images are alike anyway


def near_duplicates(images: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of images that show the same, first row first; exact copies are not among them.

    Args:
        images: [example, channel, height, width].

    >>> rng = np.random.default_rng(0)
    >>> one = np.kron(rng.integers(0, 200, (1, 1, 9, 9)), np.ones((4, 4))).astype(np.uint8)
    >>> other = np.kron(rng.integers(0, 200, (1, 1, 9, 9)), np.ones((4, 4))).astype(np.uint8)
    >>> near_duplicates(np.concatenate([one, other, one + 5]))
    [(0, 2)]
    """
    grey, spread = pooled(images)
    full = 255.0 if images.dtype == np.uint8 else float(np.ptp(images)) or 1.0
    rows = np.flatnonzero(spread >= LEAST_CONTRAST * full)
    if len(rows) < 2:
        return []
    fields = grey[rows].reshape(len(rows), -1)
    fields -= fields.mean(1, keepdims=True)
    fields /= np.maximum(np.linalg.norm(fields, axis=1, keepdims=True), 1e-9)
    roughly = ROUGHLY_SHRUNK if _shrunk(images.shape) else ROUGHLY
    found = []
    for first, second in candidates(_hashes(grey[rows], MARGIN * full)):
        rough = np.einsum("ij,ij->i", fields[first], fields[second]) >= roughly
        pairs = zip(rows[first[rough]].tolist(), rows[second[rough]].tolist(), strict=True)
        found += [(a, b) for a, b in pairs if _alike(images[a], images[b], full)]
    return sorted(set(found))


def pooled(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([example, SIDE, SIDE + 1] mean brightness of the fields of a grid, [example] its spread)."""
    n, channels, height, width = images.shape
    down, across = _fields(SIDE, height), _fields(SIDE + 1, width)
    grey = np.empty((n, SIDE, SIDE + 1), np.float32)
    spread = np.empty(n, np.float32)
    step = max(1, CHUNK // (channels * height * width))
    for start in range(0, n, step):
        block = brightness(images[start : start + step])
        spread[start : start + step] = block.std((1, 2))
        grey[start : start + step] = down @ block @ across.T
    return grey, spread


def brightness(images: np.ndarray) -> np.ndarray:
    """[..., height, width] of [..., channel, height, width]: what a grey copy keeps of colours."""
    if images.shape[-3] == len(LUMA):
        return np.einsum("c,...chw->...hw", LUMA, images, dtype=np.float32, casting="unsafe")
    return images.mean(-3, dtype=np.float32)


def _fields(count: int, length: int) -> np.ndarray:
    """[field, pixel] weights of `count` equal fields along a side of `length` pixels."""
    edges = np.linspace(0, length, count + 1)
    pixel = np.arange(length)
    low, high = np.maximum(edges[:-1, None], pixel), np.minimum(edges[1:, None], pixel + 1)
    return (np.maximum(high - low, 0) * count / length).astype(np.float32)


def _hashes(grey: np.ndarray, margin: float) -> np.ndarray:
    """[example] 64 bits: whether each field is brighter than the one on its left (dHash), by more than the
    margin, so that the noise of another quality does not decide between fields of one plain ground."""
    bits = (grey[:, :, 1:] > grey[:, :, :-1] + margin).reshape(len(grey), -1)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(first, second) rows of pairs whose hashes differ in at most DISTANCE bits, some of them twice."""
    width = 64 // BANDS
    for number in range(BANDS):
        band = (hashes >> np.uint64(number * width)) & np.uint64((1 << width) - 1)
        order = np.argsort(band, kind="stable")  # rows of an equal band stay in order
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            if 1 < len(group) <= CROWDED:
                differ = np.bitwise_count(hashes[group][:, None] ^ hashes[group][None, :])
                first, second = np.nonzero(np.triu(differ <= DISTANCE, 1))
                yield group[first], group[second]


def _alike(one: np.ndarray, other: np.ndarray, full: float) -> bool:
    """Whether the pixels agree, up to brightness and contrast of the whole, to colours that one of them
    lacks and to detail of large images; exact copies do not count."""
    if np.array_equal(one, other):
        return False
    if _colourless(one, full) != _colourless(other, full):
        one, other = brightness(one)[None], brightness(other)[None]
    a, b, least = one.astype(np.float32), other.astype(np.float32), ALIKE
    if _shrunk(one.shape):
        a, b, least = _as_bright(a, b, full), _as_bright(b, a, full), ALIKE_SHRUNK
        down, across = (_fields(COMPARED, length) for length in one.shape[1:])
        a, b = down @ a @ across.T, down @ b @ across.T
    a, b = (a - a.mean()).ravel(), (b - b.mean()).ravel()
    return float(a @ b) >= least * float(np.sqrt((a @ a) * (b @ b)))


def _shrunk(shape: tuple[int, ...]) -> bool:
    """Whether images [..., height, width] are compared at a smaller size."""
    return min(shape[-2:]) > COMPARED


def _colourless(image: np.ndarray, full: float) -> bool:
    """Whether three channels say the same, up to the noise of a lossy format."""
    if len(image) != len(LUMA):
        return False
    return bool(np.ptp(image.astype(np.float32), axis=0).max() <= COLOURLESS * full)


def _as_bright(image: np.ndarray, other: np.ndarray, full: float) -> np.ndarray:
    """The image as it would be had it lost what the other one lost at the brightest value."""
    lost = other >= full * BRIGHTEST
    kept = ~lost & (image < full * BRIGHTEST)
    if not lost.any() or kept.mean() < LEAST_KEPT:
        return image
    x, y = image[kept], other[kept]
    spread = float(x.var())
    gain = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread else 0.0
    if gain <= 0:
        return image
    brightest = (full - y.mean()) / gain + x.mean()  # what the other one shows as full
    return np.minimum(image, brightest)
