"""What a report tells, gathered from an improvement, a cross-validation or a single run.

`gather` is the only place that looks at the shape of the result; pictures, HTML and terminal take
the `Facts` from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fitwell.findings.reading import first_repeat
from fitwell.metrics import METRICS
from fitwell.recipe import Recipe
from fitwell.record import STUDIED, Diagnosis, Predictions, Row, Run, Scores, Verdict
from fitwell.report.wording import in_order, score_name, words
from fitwell.spec import Spec
from fitwell.trials.statistics import default_min_effect

Kind = Literal["improvement", "search", "cv", "fit"]
JUDGED = ("improvement", "search")  # kinds that have a recipe before and after


@dataclass
class Facts:
    """One result, flattened.

    Args:
        kind: what the result is.
        run: the run whose model is handed over.
        metric: the score that is judged by.
        recipe, baseline_recipe: after and before; equal, or both the same, where nothing changed.
        changes: setting -> (before, after).
        baseline, final: part -> scores. `final` alone is filled for a fit or a cross-validation.
        test_effect: metric, effect, low, high of final - baseline on the test set, or empty.
        rounds: one diagnosis a round; a single run has at most one.
        baseline_folds, final_folds: the runs whose curves are drawn.
        search: the search itself, where it is one.
    """

    kind: Kind
    run: Run
    metric: str
    recipe: Recipe | None
    baseline_recipe: Recipe | None
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    baseline: dict[str, Scores] = field(default_factory=dict)
    final: dict[str, Scores] = field(default_factory=dict)
    spread: Scores = field(default_factory=dict)
    test_effect: dict[str, Any] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    controls: list[Verdict] = field(default_factory=list)
    rounds: list[Diagnosis] = field(default_factory=list)
    baseline_folds: list[Run] = field(default_factory=list)
    final_folds: list[Run] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    seconds: float = 0.0
    folder: Path | None = None
    min_effect: float = 0.0
    search: Any = None

    @property
    def spec(self) -> Spec | None:
        folds = [*self.final_folds, *self.baseline_folds]
        return self.run.spec or next((r.spec for r in folds if r.spec), None)

    @property
    def environment(self) -> dict[str, Any]:
        folds = [*self.final_folds, *self.baseline_folds]
        return self.run.environment or next((r.environment for r in folds if r.environment), {})

    @property
    def trials(self) -> int:
        """How many were run; of an improvement without a folder, the pairs of its verdicts."""
        place = self.folder / "trials" if self.folder else None
        if place is not None and place.is_dir():
            return sum(1 for trial in place.iterdir() if (trial / "run.json").is_file())
        return sum(v.trials for v in self.verdicts)

    @property
    def runs_of_diagnosis(self) -> list[list[Run]]:
        """The runs that each round's findings speak about; empty where they are not at hand.

        The first round speaks of the baseline. The last one speaks of the final recipe, unless it
        adopted something itself.
        """
        count = len(self.rounds)
        runs: list[list[Run]] = [[] for _ in self.rounds]
        if count and not any(v.decision == "helps" for v in self.verdicts if v.round == count):
            runs[-1] = self.final_folds
        if count:
            runs[0] = self.baseline_folds or [self.run]
        return runs


def gather(result: Any, *, diagnosis: Diagnosis | None = None) -> Facts:
    """The facts of an Improvement or a search (anything with `verdicts`), or of a Run.

    Args:
        result: an Improvement; a Run; a Run whose `trials` are the folds of a cross-validation.
        diagnosis: findings of a single run, where there are any.
    """
    return _improvement(result) if hasattr(result, "verdicts") else _run(result, diagnosis)


def _improvement(result: Any) -> Facts:
    recipe, before = result.recipe, result.baseline_recipe
    scores = _present({**result.baseline, **result.final})
    return Facts(
        kind=getattr(result, "kind", "improvement"),
        run=result.run,
        metric=score_name(scores, recipe),
        recipe=recipe,
        baseline_recipe=before,
        changes=before.changes(recipe) if before is not None and recipe is not None else {},
        baseline=_present(result.baseline),
        final=_present(result.final),
        spread=_spread(result.final_folds or result.baseline_folds),
        test_effect=dict(result.test_effect or {}),
        verdicts=in_order(result.verdicts),
        controls=list(getattr(result, "controls", ())),
        rounds=list(result.diagnosis),
        baseline_folds=list(result.baseline_folds),
        final_folds=list(result.final_folds) or list(result.baseline_folds),
        sentences=list(result.sentences),
        seconds=float(result.seconds),
        folder=result.folder,
        min_effect=_min_effect(recipe, result.baseline.get("validation") or {}),
        search=result if getattr(result, "kind", "") == "search" else None,
    )


def _run(run: Run, diagnosis: Diagnosis | None) -> Facts:
    # A run that trained itself is no cross-validation, whatever trials stand in its folder.
    folds = [] if run.epochs else [r for r in run.trials if r.fold is not None]
    recipe = run.recipe or next((r.recipe for r in folds if r.recipe), None)
    final = _present(run.scores)
    if folds:
        final = {
            "train": mean_scores([r.scores.get("train", {}) for r in folds]),
            "validation": mean_scores([r.scores.get("held_out", {}) for r in folds]),
        } | {k: v for k, v in final.items() if k == "test"}
    return Facts(
        kind="cv" if folds else "fit",
        run=run,
        metric=score_name(final, recipe),
        recipe=recipe,
        baseline_recipe=recipe,
        final=final,
        spread=_spread(folds),
        rounds=[diagnosis] if diagnosis is not None else [],
        final_folds=folds or [run],
        seconds=run.seconds or sum(r.seconds for r in folds),
        folder=run.folder,
        min_effect=_min_effect(recipe, {}),
    )


def folds_said(runs: Sequence[Run]) -> str:
    """How many folds there are, and repeats where there are several.

    >>> folds_said([Run(repeat=r, fold=f) for r in range(2) for f in range(3)])
    '2 repeats of 3 folds'
    """
    repeats = len({run.repeat for run in runs})
    folds = len({run.fold for run in runs}) if repeats > 1 else len(runs)
    said = f"{folds} fold{'s' * (folds != 1)}"
    return f"{repeats} repeats of {said}" if repeats > 1 else said


def mean_scores(rows: Sequence[Mapping[str, float] | None]) -> Scores:
    """The mean of each score over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in (row or {}))
    means = {n: [row[n] for row in rows if row and row.get(n) is not None] for n in names}
    return {name: float(np.mean(values)) for name, values in means.items() if values}


def _spread(folds: Sequence[Run]) -> Scores:
    """The standard deviation of the held-out scores over folds; empty for one fold."""
    rows = [r.scores.get("held_out") or {} for r in folds]
    names = dict.fromkeys(name for row in rows for name in row)
    values = {n: [row[n] for row in rows if row.get(n) is not None] for n in names}
    return {n: float(np.std(v, ddof=1)) for n, v in values.items() if len(v) > 1}


def _present(scores: Mapping[str, Scores | None]) -> dict[str, Scores]:
    return {part: dict(values) for part, values in scores.items() if values}


def _min_effect(recipe: Recipe | None, baseline: Scores) -> float:
    """The smallest gain worth having, as the verdicts took it; 0 where it is not known."""
    named = recipe.get("score.min_effect", 0.0) if recipe is not None else 0.0
    metric = score_name({"validation": baseline}, recipe)
    if named or metric not in METRICS or metric not in baseline:
        return float(named) if isinstance(named, int | float) else 0.0
    return default_min_effect(baseline[metric], bounded=METRICS[metric].bounded)


def held_out_predictions(facts: Facts) -> tuple[Predictions | None, str]:
    """The predictions to learn from, and in words what they are.

    Out-of-fold predictions come first, then the parts of `fitwell.record.STUDIED` in their order.
    """
    held = [run for run in facts.final_folds if "held_out" in run.predictions]
    folds = [run.predictions["held_out"] for run in first_repeat(held)] if held else []
    if folds:
        count = f"{len(folds)} folds" if len(folds) > 1 else "one fold"
        return join(folds), f"held-out predictions of {count}"
    for part in STUDIED:
        if part in facts.run.predictions:
            return facts.run.predictions[part], f"the {words(part)} part"
    return None, ""


def explained_mistakes(facts: Facts) -> dict[str, Row]:
    """Key -> row of Grad-CAM, by the model that made the prediction of this example."""
    rows = [row for run in facts.final_folds for row in run.evidence]
    return {row["key"]: row for row in rows if row.get("experiment") == "gradcam"}


def join(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several folds as one, ordered by example."""
    joined = {
        name: np.concatenate([getattr(p, name) for p in parts])
        for name in ("keys", "index", "target", "prediction", "loss")
    }
    probabilities = [p.probabilities for p in parts if p.probabilities is not None]
    stacked = np.concatenate(probabilities) if len(probabilities) == len(parts) else None
    order = np.argsort(joined["index"], kind="stable")
    return Predictions(
        **{name: values[order] for name, values in joined.items()},
        probabilities=stacked[order] if stacked is not None else None,
    )
