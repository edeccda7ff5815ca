"""Exact copies among the examples: found by a hash, proved byte for byte. No torch."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from fitwell.data.types import Data, Options, Problem, some

CHUNK_ROWS = 4096  # rows hashed at once: bounds the memory to a few megabytes


def duplicates(data: Data, options: Options) -> Iterator[Problem]:
    """Exact copies: across the source's own parts, with other targets, or plain."""
    groups = duplicate_groups(data.inputs)
    if not groups:
        return
    tables = {
        "duplicate_across_parts": (
            "stand in the test part and outside it; the test score is flattered",
            "Leave one of each out.",
        ),
        "conflicting_labels": (
            "have equal inputs but different targets",
            "Correct the targets, or leave such examples out.",
        ),
        "duplicate_examples": (
            "are exact copies of one another, and a split may put a copy on each side",
            "Leave one of each out.",
        ),
    }
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for rows in groups:
        if len({data.part[i] == "test" for i in rows}) > 1:
            found["duplicate_across_parts"].append(rows)
        if len(set(data.targets[rows].tolist())) > 1:
            found["conflicting_labels"].append(rows)
        else:
            found["duplicate_examples"].append(rows)
    for name, (what, mend) in tables.items():
        if found[name]:
            keys = [str(data.keys[i]) for rows in found[name] for i in rows]
            pairs = [" = ".join(str(data.keys[i]) for i in rows[:3]) for rows in found[name]]
            yield Problem(
                name, "warning", tuple(keys), f"{len(keys)} examples {what}: {some(pairs)}.", mend
            )


def duplicate_groups(inputs: np.ndarray) -> list[np.ndarray]:
    """Groups of rows whose bytes are equal, each sorted, in order of their first row.

    A 64-bit sum a row with random odd factors finds the candidates in one pass over the bytes
    (70,000 images in about a tenth of a second); only candidates are compared byte for byte.
    """
    n = len(inputs)
    if n < 2:
        return []
    flat = inputs.reshape(n, -1)
    width = flat.shape[1] * flat.itemsize
    words = -(-width // 8)
    factors = np.random.default_rng(0).integers(2**63, size=words, dtype=np.uint64) * 2 + 1
    sums = np.empty(n, np.uint64)
    block = np.zeros((min(n, CHUNK_ROWS), words * 8), np.uint8)
    for start in range(0, n, CHUNK_ROWS):
        rows = np.ascontiguousarray(flat[start : start + CHUNK_ROWS])
        block[: len(rows), :width] = rows.view(np.uint8).reshape(len(rows), width)
        packed = block[: len(rows)].view(np.uint64)
        # The high half is folded in: a product's low bits depend on low bits only.
        packed = packed ^ (packed >> np.uint64(32))
        sums[start : start + len(rows)] = (packed * factors).sum(1, dtype=np.uint64)
    order = np.argsort(sums, kind="stable")
    same = np.flatnonzero(sums[order][1:] == sums[order][:-1])
    by_bytes: dict[bytes, list[int]] = defaultdict(list)
    for i in np.unique(np.concatenate([order[same], order[same + 1]])).tolist():
        by_bytes[flat[i].tobytes()].append(i)
    return sorted((np.array(g) for g in by_bytes.values() if len(g) > 1), key=lambda g: int(g[0]))
