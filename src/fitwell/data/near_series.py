"""Near duplicates among series: the same curve, shifted and scaled, found by projections. No torch.

A recording saved in another unit differs in every byte and in nothing but scale; on both sides of a split
it flatters the score as a copy does.
"""

import numpy as np

ALIKE = 0.003  # largest distance of two curves of unit length: correlation of 0.999 995 and more
LEAST_KNOWN = 12  # values of a channel: of fewer any two may be alike by chance
PROJECTIONS = 6
MOST_SERIES = 20_000  # that are compared, drawn at random; fewer of long ones
MOST_VALUES = 1 << 26  # of all that are compared
MOST_PAIRS = 1_000_000  # candidates; beyond, all are alike and nothing is said
CHUNK = 1 << 24  # values worked on at once


def near_series(series: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of series that are one curve up to a scale and a shift of each channel, first row first; exact
    copies are not among them.

    Args:
        series: [example, channel, time] float32, NaN behind the end and where a value is missing.

    >>> curves = np.random.default_rng(0).normal(size=(2, 1, 40)).astype(np.float32)
    >>> near_series(np.concatenate([curves, 3 - 2 * curves[:1], 5 * curves[1:] + 1]))
    [(1, 3)]
    """
    most = min(MOST_SERIES, MOST_VALUES // max(1, int(np.prod(series.shape[1:]))))
    rows = np.arange(len(series))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).permutation(len(rows))[:most])
    curves, usable = _unit_curves(series[rows])
    rows, curves = rows[usable], curves[usable]
    if len(rows) < 2:
        return []
    from scipy.spatial import KDTree

    # Orthogonal directions bring nothing farther apart, so no pair that is alike is missed.
    drawn = np.random.default_rng(1).normal(size=(curves.shape[1], PROJECTIONS))
    places = KDTree(curves.astype(np.float64) @ np.linalg.qr(drawn)[0])
    if places.count_neighbors(places, ALIKE) > 2 * MOST_PAIRS:
        return []
    pairs = places.query_pairs(ALIKE, output_type="ndarray")
    found = []
    step = max(1, CHUNK // curves.shape[1])
    for start in range(0, len(pairs), step):
        first, second = pairs[start : start + step].T
        alike = np.linalg.norm(curves[first] - curves[second], axis=1) <= ALIKE
        found += zip(rows[first[alike]].tolist(), rows[second[alike]].tolist(), strict=True)
    return sorted(
        (min(a, b), max(a, b))
        for a, b in found
        if series[a].tobytes() != series[b].tobytes()  # exact copies are another problem
    )


def _unit_curves(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([example, channel x time] each channel around its mean and of equal length, all together of length
    1, 0 where unknown; [example] whether there is enough of it to be compared)."""
    known = ~np.isnan(series)
    counts = known.sum(2)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.where(known, series, 0).astype(np.float64)
        mean = values.sum(2, keepdims=True) / np.maximum(counts, 1)[..., None]
        away = np.where(known, values - mean, 0)
        size = np.linalg.norm(away, axis=2, keepdims=True)
        largest = np.abs(values).max(2, keepdims=True, initial=0)
        flat = size <= 1e-5 * largest * np.sqrt(np.maximum(counts, 1))[..., None]
        away = np.where(flat, 0, away / np.where(flat, 1, size))
        away[~np.isfinite(away)] = 0
    varied = ~flat[..., 0] & (counts >= LEAST_KNOWN)
    enough = varied.any(1) & ((counts == 0) | (counts >= LEAST_KNOWN)).all(1)
    flattened = away.reshape(len(series), -1)
    length = np.linalg.norm(flattened, axis=1, keepdims=True)
    return (flattened / np.maximum(length, 1e-9)).astype(np.float32), enough
