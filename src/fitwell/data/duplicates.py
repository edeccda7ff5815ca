"""Copies among the examples, exact ones found by a hash and proved byte for byte. No torch."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from fitwell.data.audio_checks import near_waves
from fitwell.data.images import in_threads, resize_array
from fitwell.data.joined import joined
from fitwell.data.letterbox import inner_parts, same_boxes
from fitwell.data.near import near_duplicates
from fitwell.data.near_series import near_series
from fitwell.data.split import final_rows
from fitwell.data.text_checks import near_texts
from fitwell.data.types import Data, Options, Problem, some
from fitwell.errors import SettingError

# Problems that name copies with the same target, those of near copies with `near_` before.
OF_COPIES = ("duplicate_across_parts", "duplicate_across_split", "duplicate_examples")
SEEN = 64  # side at which pictures with boxes are compared
CHUNK = 1 << 24  # bytes hashed at once: bounds the memory to some tens of megabytes


@dataclass(frozen=True)
class Likeness:
    """How examples are alike, for the names and sentences of the problems."""

    prefix: str
    copies: str
    inputs: str


EXACT = Likeness("", "exact copies of one another", "equal inputs")
_OF_IMAGES = Likeness(
    "near_", "almost the same, up to size, quality or brightness", "almost equal inputs"
)
NEAR = {
    "images": _OF_IMAGES,
    "boxes": _OF_IMAGES,
    "text": Likeness("near_", "almost the same, word for word", "almost equal texts"),
    "audio": Likeness(
        "near_", "the same up to loudness and silence at both ends", "almost equal sounds"
    ),
    "series": Likeness(
        "near_", "one curve up to scale and shift", "one curve up to scale and shift"
    ),
}


def duplicates(data: Data, options: Options) -> Iterator[Problem]:
    """Exact copies: across the split, with other targets, or plain."""
    if not data.spec.is_whole:  # whose examples overlap
        yield from _said(duplicate_groups(data.inputs), EXACT, data, options)


def near_copies(data: Data, options: Options) -> Iterator[Problem]:
    """Images, texts or recordings that say the same: across the split, with other targets, or plain."""
    if data.spec.kind in NEAR and len(data) > 1 and not data.spec.is_whole:
        yield from _said(near_groups(data), NEAR[data.spec.kind], data, options)


def near_groups(data: Data) -> list[np.ndarray]:
    """Groups of examples that are almost the same, of kinds where that can be told, in order of their
    first row: who is like one of a group belongs to it, even if not like each of the others."""
    if data.spec.kind == "text":
        return near_texts(data.inputs)
    if data.spec.kind == "audio":
        return joined(near_waves(data.inputs))
    if data.spec.kind == "series":
        return joined(near_series(data.inputs))
    images = data.spec.kind in ("images", "boxes")
    return joined(near_duplicates(_compared(data))) if images else []


def _compared(data: Data) -> np.ndarray:
    """The images that are looked at for near copies; of a letterbox what is in it, since the grey beside
    it would make pictures alike that are not."""
    if data.spec.resize != "letterbox":
        return data.inputs
    out = np.empty((len(data), data.spec.input_shape[0], SEEN, SEEN), np.uint8)

    def put(i: int) -> None:
        [picture] = inner_parts(data.inputs[i : i + 1])
        out[i] = resize_array(picture[None], (SEEN, SEEN), "squash")[0]

    in_threads(put, range(len(data)))
    return out


def _said(
    groups: list[np.ndarray], alike: Likeness, data: Data, options: Options
) -> Iterator[Problem]:
    if not groups:
        return
    tables = {
        "duplicate_across_parts": (
            f"are {alike.copies}, and stand in the test part and outside it; the test score is flattered",
            "Leave one of each out.",
        ),
        "duplicate_across_split": (
            f"are {alike.copies}, and the split puts them into the test part and outside it; the test "
            "score is flattered",
            "Leave one of each out, or name what keeps them together in data.group.",
        ),
        "conflicting_labels": (
            f"have {alike.inputs} but different targets",
            "Correct the targets, or leave such examples out.",
        ),
        "duplicate_examples": (
            f"are {alike.copies}, and a split may put one on each side",
            "Leave one of each out.",
        ),
        "duplicate_together": (
            f"are {alike.copies}, each of one {'group' if data.times is None else 'moment'}, so that no "
            "split parts them",
            "Nothing to do, unless they were saved twice.",
        ),
    }
    own, test = test_part(data, options)
    across = "duplicate_across_parts" if own else "duplicate_across_split"
    apart = data.groups if data.times is None else data.times
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for rows in groups:
        copies = by_target(data, rows)
        if len(copies) > 1:
            found["conflicting_labels"].append(rows)
        for same in copies:
            if len(same) > 1:
                split = len(set(test[same].tolist())) > 1
                together = apart is not None and len(set(apart[same].tolist())) == 1
                within = "duplicate_together" if together else "duplicate_examples"
                found[across if split else within].append(same)
    for name, (what, mend) in tables.items():
        if found[name]:
            keys = dict.fromkeys(str(data.keys[i]) for rows in found[name] for i in rows)
            pairs = [" = ".join(str(data.keys[i]) for i in rows[:3]) for rows in found[name]]
            text = f"{sum(map(len, found[name]))} examples {what}: {some(pairs)}."
            severity = "note" if name == "duplicate_together" else "warning"
            yield Problem(f"{alike.prefix}{name}", severity, tuple(keys), text, mend)


def test_part(data: Data, options: Options) -> tuple[bool, np.ndarray]:
    """(whether the source brings its own, [example] whether it is in the test part)."""
    own = data.part == "test"
    if own.any():
        return True, own
    test = np.zeros(len(data), bool)
    with suppress(SettingError):  # too few for any split: another check says so
        test[final_rows(data, options, 0).held_out] = True  # which no seed changes
    return False, test


def by_target(data: Data, rows: np.ndarray) -> list[np.ndarray]:
    """Rows of examples that are alike, parted by what is to be predicted of them."""
    parts: list[list[int]] = []
    for row in rows.tolist():
        mine = (part for part in parts if same_target(data, np.array([part[0], row])))
        part = next(mine, None)
        if part is None:
            parts.append([row])
        else:
            part.append(row)
    return [np.array(part) for part in parts]


def same_target(data: Data, rows: np.ndarray) -> bool:
    """Whether all these examples have the same target, or boxes that agree but for a little."""
    targets = data.targets[rows]
    if data.spec.kind == "boxes":
        return all(same_boxes(targets[0], other) for other in targets[1:])
    return bool((targets == targets[:1]).all())


def duplicate_groups(inputs: np.ndarray) -> list[np.ndarray]:
    """Groups of rows whose bytes are equal, each sorted, in order of their first row.

    A 64-bit sum a row with random odd factors finds the candidates in one pass over the bytes
    (70,000 images in about a tenth of a second); only candidates are compared byte for byte.
    """
    n = len(inputs)
    if n < 2:
        return []
    if inputs.dtype == object:
        return _groups(dict(enumerate(inputs.tolist())))
    flat = inputs.reshape(n, -1)
    width = flat.shape[1] * flat.itemsize
    words = -(-width // 8)
    factors = np.random.default_rng(0).integers(2**63, size=words, dtype=np.uint64) * 2 + 1
    sums = np.empty(n, np.uint64)
    step = max(1, CHUNK // (words * 8))
    block = np.zeros((min(n, step), words * 8), np.uint8)
    for start in range(0, n, step):
        rows = np.ascontiguousarray(flat[start : start + step])
        block[: len(rows), :width] = rows.view(np.uint8).reshape(len(rows), width)
        packed = block[: len(rows)].view(np.uint64)
        # The high half is folded in: a product's low bits depend on low bits only.
        packed = packed ^ (packed >> np.uint64(32))
        sums[start : start + len(rows)] = (packed * factors).sum(1, dtype=np.uint64)
    order = np.argsort(sums, kind="stable")
    same = np.flatnonzero(sums[order][1:] == sums[order][:-1])
    candidates = np.unique(np.concatenate([order[same], order[same + 1]])).tolist()
    return _groups({i: flat[i].tobytes() for i in candidates})


def _groups(of: Mapping[int, Hashable]) -> list[np.ndarray]:
    """Rows that have the same value, where several do; rows come in order."""
    by_value: dict[Hashable, list[int]] = defaultdict(list)
    for row, value in of.items():
        by_value[value].append(row)
    return [np.array(rows) for rows in by_value.values() if len(rows) > 1]
