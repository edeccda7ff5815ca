"""An exported file against the model that it is of. Imports torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fitwell.errors import SettingError
from fitwell.export.boxes import suppressed
from fitwell.export.inputs import Entry, Pair
from fitwell.export.outputs import HIDDEN, Exit

MOST = 1e-3  # that a probability, a corner in pixels or a standardised number may differ


def compared(
    program: Any,
    file: Path,
    model: nn.Module,
    entry: Entry,
    way_out: Exit,
    samples: Sequence[Pair],
    name: str,
) -> float:
    """Write the file, run it in onnxruntime, and give the largest difference from what `predict` says.

    Of a file that suppresses boxes, corners and scores of all places are compared first, which it gives
    until then; the boxes that it keeps of these, with those that `predict` would: of two that are equally
    sure either may stay, so boxes of different computations are no proof.

    Args:
        samples: inputs as the file takes them, and as the model sees them.

    Raises:
        SettingError: they differ, or onnxruntime cannot run it.
    """
    program.save(file, external_data=False)
    suppresses = "found" in way_out.names
    names = HIDDEN if suppresses else list(way_out.names)
    worst, kept = 0.0, []
    for (fed, seen), said in zip(samples, _run(file, entry, names, samples, name), strict=True):
        with torch.no_grad():
            raw = model(torch.from_numpy(seen)).float().numpy()
        for output, expected in zip(said, way_out.expected(raw), strict=True):
            worst = max(worst, _difference(output, expected, way_out.unit, len(fed)))
        if suppresses:
            kept.append([boxes.numpy() for boxes in suppressed(*map(torch.from_numpy, said))])
    if suppresses:
        graph = program.model.graph
        graph.outputs[:] = [value for value in graph.outputs if value.name not in HIDDEN]
        program.save(file, external_data=False)
        for (said,), expected in zip(
            _run(file, entry, ["found"], samples, name), kept, strict=True
        ):
            pairs = zip(said, expected, strict=True)
            worst = max(worst, *(_unmatched(own[own[:, 0] >= 0], boxes) for own, boxes in pairs))
    if not worst <= MOST:
        raise SettingError(
            f"model.name = {name}: the exported network says something else than the model, by "
            f"{worst:.3g}. Nothing was written; please report it with the recipe.",
            setting="model.name",
        )
    return worst


def _run(
    file: Path, entry: Entry, names: Sequence[str], samples: Sequence[Pair], name: str
) -> list[list[Any]]:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # what matters is raised
    try:
        session: Any = onnxruntime.InferenceSession(
            file.read_bytes(), providers=["CPUExecutionProvider"]
        )
        return [session.run(names, {entry.name: fed}) for fed, _ in samples]
    except Exception as error:  # its errors have no common base
        raise SettingError(
            f"model.name = {name}: onnxruntime cannot run what torch exported "
            f"({str(error).strip().splitlines()[0]}). Nothing was written.",
            setting="model.name",
        ) from None


def _difference(said: np.ndarray, expected: np.ndarray, unit: np.ndarray, count: int) -> float:
    """The largest one, in units; infinite where shapes differ, or numbers where others are none."""
    if said.shape != expected.shape or len(said) != count:
        return float("inf")
    if not np.array_equal(np.isfinite(said), np.isfinite(expected)):
        return float("inf")
    apart = np.abs(said.astype(np.float64) - expected) / unit
    return float(np.nan_to_num(apart).max(initial=0.0))


def _unmatched(said: np.ndarray, expected: np.ndarray) -> float:
    """How far the box that is farthest from all of the other list is from the nearest one of its class.

    The last ones of a full list may be any of those that are as sure.

    Args:
        said, expected: [box, 6] class, corners and score.
    """
    if not len(said) and not len(expected):
        return 0.0
    if len(said) != len(expected):
        return float("inf")
    apart = np.abs(said[:, None, 1:] - expected[None, :, 1:]).max(2)
    apart[said[:, None, 0] != expected[None, :, 0]] = np.inf
    sure = [each[:, 5] > each[:, 5].min() + MOST for each in (said, expected)]
    nearest = [apart.min(1)[sure[0]], apart.min(0)[sure[1]]]
    return float(np.concatenate(nearest).max(initial=0.0))
