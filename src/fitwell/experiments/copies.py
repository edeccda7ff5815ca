"""How much better a network does on held-out examples of which it has seen a copy."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from fitwell.data.duplicates import by_target, duplicate_groups, near_groups
from fitwell.data.types import Data
from fitwell.metrics import METRICS
from fitwell.record import Predictions, Row, Run


def held_out_copies(
    data: Data, runs: Sequence[Run], named: Collection[str], *, metric: str
) -> list[Row]:
    """Scores of each run with and without the held-out examples that have a copy in its training part.

    The score without them is what to expect of new data: a fall that is known before anything is trained
    again.

    Args:
        data: what the runs were trained on.
        named: keys of the examples that are copies of others, or nearly; those with another target flatter
            no score, and do not count.
        metric: name of the score.

    Returns:
        Of each run that has held-out predictions a row `{"experiment": "copies", "fold", "held_out",
        "copies"}` with the number of held-out examples and of those with a copy, and where there are some
        and others `metric`, `score` and `score_without`.
    """
    concerned = np.flatnonzero(np.isin(data.keys.astype(str), list(named)))
    few = replace(data, inputs=data.inputs[concerned], targets=data.targets[concerned])
    alike = duplicate_groups(few.inputs) + near_groups(few)
    groups = [concerned[same] for group in alike for same in by_target(few, group)]
    rows: list[Row] = []
    for run in runs:
        part = run.studied
        if part is None:
            continue
        trained = data.part != "test"
        for each in run.predictions.values():
            trained[each.index] = False
        copied = np.zeros(len(data), bool)
        for group in groups:
            copied[group] |= bool(trained[group].any())
        held = copied[part.index]
        row: Row = {"experiment": "copies", "fold": run.fold, "held_out": len(held)}
        rows.append(row | {"copies": int(held.sum())})
        if 0 < held.sum() < len(held):
            whole = _score(metric, part, np.ones(len(held), bool))
            rows[-1] |= {"metric": metric, "score": whole}
            rows[-1]["score_without"] = _score(metric, part, ~held)
    return rows


def _score(metric: str, part: Predictions, keep: np.ndarray) -> float:
    said = None if part.probabilities is None else part.probabilities[keep]
    return METRICS[metric](part.target[keep], part.prediction[keep], said)
