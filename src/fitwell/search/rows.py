"""What became of the trials of a search, and which settings made the difference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitwell.record import json_ready
from fitwell.search.space import Dimension
from fitwell.search.storage import quiet

FEWEST = 4  # trials that importance is told from


@dataclass(frozen=True)
class Row:
    """One trial.

    Args:
        settings: what was searched over.
        score: mean over the folds that were run; None without any.
        folds: the score of each fold, in order.
        state: "done", "stopped early" (by the pruner), or "failed".
        failure: why it failed.
        start: whether it is the recipe that the search started from.
    """

    number: int
    settings: Mapping[str, Any]
    score: float | None
    folds: tuple[float, ...] = ()
    state: str = "done"
    failure: str = ""
    start: bool = False

    def to_json(self) -> dict[str, Any]:
        return json_ready(vars(self))

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Row":
        known: dict[str, Any] = {**row, "folds": tuple(row["folds"])}
        return cls(**known)


def importance(rows: Sequence[Row], space: Sequence[Dimension], seed: int) -> dict[str, float]:
    """How much of the score's variation over the space each setting explains, largest first; they sum to 1.

    fANOVA: a random forest predicts the score, and its variance is parted by setting. Trials that were
    stopped early count with the folds that they ran on, for they are the worst, and without them the
    settings that made them so would seem not to matter. Empty of fewer than 4 trials, or where all scored
    alike.

    Source: Hutter, Hoos and Leyton-Brown 2014, ICML
    """
    import optuna

    known = [r for r in rows if r.state != "failed" and r.score is not None]
    done = [r for r in known if all(d.name in r.settings for d in space)]
    scores = [row.score for row in done]
    if len(done) < FEWEST or len(set(scores)) < 2:
        return {}
    with quiet():
        study = optuna.create_study()
        for row in done:
            study.add_trial(
                optuna.create_trial(
                    params={d.name: d.label(row.settings[d.name]) for d in space},
                    distributions={d.name: d.distribution() for d in space},
                    value=row.score,
                )
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}
