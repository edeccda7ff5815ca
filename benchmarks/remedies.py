"""Are remedies that a diagnosis names better than remedies drawn at random, in the same time?

`python -m benchmarks.remedies`: 20 sick starts, drawn by a seeded program: a case (a family on a sample of
a data set), a fault of `alarm_faults` that an edit of the recipe could heal, and its severity. Each is
improved twice within equal seconds: by `improve` as it is, and with the same table of remedies in random
order, no diagnosis and none of its experiments, everything else alike. What counts is the score of the
final model on a test part that neither saw. Of 20 pairs 15 are won by chance with p = 0.021.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from scipy import stats

from benchmarks import common
from benchmarks.alarm_cases import CASES, Case, sample
from benchmarks.alarm_faults import made
from fitwell.data.types import Data
from fitwell.errors import SettingError
from fitwell.improve import flow, improve
from fitwell.metrics import METRICS
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Finding, Remedy
from fitwell.remedies import REMEDIES, name_of
from fitwell.resolve import complete
from fitwell.spec import Spec

STARTS = 20
SECONDS = 90.0
EDITS = (
    "rate too high",
    "rate too low",
    "too few epochs",
    "deep sigmoids",
    "equal weights",
    "one unit",
    "decay",
    "learned by heart",
)
WANTED = 15
ARMS = ("diagnosed", "random")


def main() -> None:
    result = common.load("remedies")
    result["limits"] = {
        "improve against random remedies": {"won": f"at least {WANTED} of {STARTS}"}
    }
    for start in range(STARTS):
        for arm in ARMS if start % 2 else ARMS[::-1]:
            if not common.done(result, start=start, arm=arm):
                common.add(result, {"start": start, "arm": arm, **improved(start, arm)})
                summarise(result)
                print({k: v for k, v in result["rows"][-1].items() if k != "edits"}, flush=True)
    print(result["summary"])


def drawn(start: int) -> tuple[Case, str, Data, Recipe]:
    """A sick start: the case, the fault, and what both give."""
    random = np.random.default_rng([start, 97])
    while True:
        case = CASES[random.integers(len(CASES))]
        fault = EDITS[random.integers(len(EDITS))]
        data = sample(case, 30_000 + start)
        recipe = complete({"model.name": case.family, **case.settings}, data.spec)
        found = made(fault, data, recipe.edit({"train.seed": start}), random)
        if found is not None:
            return case, fault, *found


def improved(start: int, arm: str) -> dict[str, Any]:
    """A row: the scores of the final model of one arm."""
    case, fault, data, recipe = drawn(start)
    chosen = at_random(start) if arm == "random" else nullcontext()
    with tempfile.TemporaryDirectory() as folder, chosen:
        better = improve(data, recipe, out=Path(folder) / "run", budget=SECONDS)
    metric = str(recipe["score.name"])
    edits = {name: after for name, (_, after) in recipe.changes(better.recipe).items()}
    return {
        "case": case.name,
        "fault": fault,
        "metric": metric,
        "before": better.baseline["test"].get(metric),
        "after": better.final["test"].get(metric),
        "validation": better.final["validation"].get(metric),
        "tried": len(better.verdicts),
        "adopted": len(better.helped),
        "seconds": better.seconds,
        "edits": edits,
    }


@contextmanager
def at_random(seed: int) -> Iterator[None]:
    """`improve` with the first guess of every remedy that suits, in random order, and no diagnosis."""
    random = np.random.default_rng([seed, 101])
    nothing = Finding("nothing_wrong", "low", {}, "")

    def proposals(diagnosis: Diagnosis, recipe: Recipe, spec: Spec) -> list[tuple[Remedy, str]]:
        found = []
        for name in random.permutation(list(REMEDIES)):
            try:
                edits = REMEDIES[str(name)](recipe, spec, nothing)
            except SettingError:
                continue
            found += [(Remedy(name_of(edit, recipe), edit), "random") for edit in edits[:1]]
        return found

    with (
        mock.patch.object(flow, "proposals", proposals),
        mock.patch.object(flow, "gather", lambda *given, **named: []),
    ):
        yield


def summarise(result: dict[str, Any]) -> None:
    """How many starts the diagnosis wins, with its mean lead and interval."""
    gains, optimism = [], []
    for start in range(STARTS):
        pair = {row["arm"]: row for row in result["rows"] if row["start"] == start}
        optimism += [
            METRICS[row["metric"]].gain(row["after"], row["validation"])
            for row in pair.values()
            if row["metric"] in ("accuracy", "balanced_accuracy")
            and None not in (row["after"], row["validation"])
        ]
        if len(pair) < 2:
            continue
        scores = [_scored(pair[arm]) for arm in ARMS]
        gains.append(METRICS[pair["random"]["metric"]].gain(scores[1], scores[0]))
    won, lost = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    figures: dict[str, Any] = {"won": f"{won} of {len(gains)}, and {lost} lost"}
    if len(gains) >= 2:
        reach = float(stats.sem(gains) * stats.t.ppf(0.975, len(gains) - 1))
        figures["mean lead"] = f"{np.mean(gains):+.4f} (95 % interval +- {reach:.4f})"
    if optimism:
        figures["validation of the final recipe less its test score"] = common.spread(optimism)
    result["summary"] = {"improve against random remedies": figures}
    common.save(result)


def _scored(row: dict[str, Any]) -> float:
    """Its test score; of a final model that failed what the start had."""
    return float(row["after"] if row["after"] is not None else row["before"] or 0.0)


if __name__ == "__main__":
    main()
