"""What a model of language is beside simple ones, what it writes, and what surprises it most."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from fitwell.record import Predictions, Run
from fitwell.report.facts import Facts
from fitwell.report.mistakes import LETTERS

HARDEST = 8  # chunks that are shown


def references(runs: Sequence[Run], metric: str) -> list[tuple[str, float]]:
    """(simple model, its held-out score), the mean over the folds where there are several; in the order in
    which they were measured, the trivial ones first."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in (row for run in runs for row in run.evidence):
        if row.get("experiment") == "reference" and row.get("metric") == metric:
            order = f" (order {row['order']})" if "order" in row else ""
            found[f"{row['model'].replace('_', ' ')}{order}"].append(row["held_out"])
    return [(name, fmean(scores)) for name, scores in found.items()]


def samples(run: Run) -> list[tuple[int, str]]:
    """(epochs trained, what the model wrote then)."""
    rows = [row for row in run.evidence if row.get("experiment") == "written"]
    return [(row["epoch"] + 1, row["text"]) for row in rows]


def section(
    facts: Facts, data: Any, predictions: Predictions | None, examples: bool
) -> dict[str, Any]:
    """What the page shows of a model of language; nothing for other models."""
    if facts.spec is None or not facts.spec.tokens:
        return {"samples": [], "hardest": []}
    shown = examples and predictions is not None and data is not None
    return {
        "samples": samples(facts.run) if examples else [],
        "hardest": hardest(predictions, data) if shown and predictions is not None else [],
    }


def hardest(predictions: Predictions, data: Any) -> list[tuple[str, float, str]]:
    """(key, nats a token, text) of the chunks that cost most."""
    order = np.argsort(-predictions.loss, kind="stable")[:HARDEST]
    found = []
    for row in order:
        key, index = str(predictions.keys[row]), int(predictions.index[row])
        if index < len(data.inputs) and str(data.keys[index]) == key:
            found.append((key, float(predictions.loss[row]), data.inputs[index][:LETTERS]))
    return found
