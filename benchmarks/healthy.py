"""The healthy arm: `improve` on starts that nothing is wrong with.

20 different samples of 3,000 Fashion-MNIST images, each with the default recipe of `convnet`: the
strongest family that there is, so that another one cannot truly help (LeNet is truly improved by it).

Two things are counted: findings (each is a false alarm until a trial proves a remedy of it), and
verdicts of `helps`, each of which is put to 10 fresh retrains of both recipes, pair by pair, on seeds
that no trial had, scored on the test part: it is confirmed where the lower end of the 95 % interval
of the mean difference is above zero. `python -m benchmarks.healthy`; each start is saved as it ends.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data.types import Data
from fitwell.improve import improve
from fitwell.improve.variants import edited
from fitwell.recipe import Recipe
from fitwell.record import Verdict
from fitwell.resolve import complete
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.trial import Task

STARTS, RETRAINS = 20, 10
EXAMPLES = 3000
SETTINGS = {"model.name": "convnet"}


def retrained(data: Data, before: Recipe, after: Recipe, folder: Path) -> dict[str, Any]:
    """10 fresh pairs of final models, on seeds that no trial had."""
    tasks = [
        Task(recipe, seed=1_000_000 + pair, kind="final", variant=f"{name}-{pair}")
        for pair in range(RETRAINS)
        for name, recipe in (("before", before), ("after", after))
    ]
    with LocalExecutor(data, folder) as executor:
        runs = executor.run(tasks)
    metric = str(before["score.name"])
    scores = np.array([run.scores["test"][metric] for run in runs]).reshape(RETRAINS, 2)
    gains = scores[:, 1] - scores[:, 0]
    reach = stats.t.ppf(0.975, RETRAINS - 1) * gains.std(ddof=1) / np.sqrt(RETRAINS)
    return {"gain": gains.mean(), "low": gains.mean() - reach, "pairs": gains.tolist()}


def baseline_of(verdict: Verdict, verdicts: list[Verdict], first: Recipe, data: Data) -> Recipe:
    """The recipe that the verdict's round started from: the adopted edits of the rounds before."""
    recipe = first
    for number in range(1, verdict.round):
        helping = [v for v in verdicts if v.round == number and v.decision == "helps"]
        adopted = max(helping, key=lambda v: v.effect)
        recipe = edited(recipe, adopted.settings, data.spec)
    return recipe


def sample(everything: Data, seed: int) -> Data:
    """Images that no other start has in this order: a new data set with a test part of its own."""
    rows = np.random.default_rng([seed, 20]).choice(60_000, EXAMPLES, replace=False)
    return fitwell_data.read((everything.inputs[rows], everything.targets[rows]), {})


def one_start(data: Data, seed: int) -> dict[str, Any]:
    recipe = complete({**SETTINGS, "train.seed": seed}, data.spec)
    folder = Path(tempfile.mkdtemp())
    result = improve(data, recipe, out=folder / "run")
    helped = []
    for number, verdict in enumerate(result.helped):
        before = baseline_of(verdict, result.verdicts, recipe, data)
        after = edited(before, verdict.settings, data.spec)
        proof = retrained(data, before, after, folder / f"retrained-{number}")
        helped.append({"remedy": verdict.remedy, "effect": verdict.effect, **proof})
    shutil.rmtree(folder)
    return {
        "findings": [f"{f.name} ({f.confidence})" for f in result.diagnosis[0].findings],
        "verdicts": [[v.remedy, v.stage, v.decision, v.effect] for v in result.verdicts],
        "helped": helped,
        "test": [result.baseline["test"], result.final["test"]],
        "seconds": result.seconds,
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    helped = [h for row in rows for h in row["helped"]]
    alarms = [name for row in rows for name in row["findings"]]
    return {
        "healthy starts": {
            "runs": len(rows),
            "verdicts": sum(len(row["verdicts"]) for row in rows),
            "runs with a `helps`": sum(bool(row["helped"]) for row in rows),
            "`helps`": len(helped),
            "of these confirmed by 10 retrains": sum(h["low"] > 0 for h in helped),
            "runs with a finding": sum(bool(row["findings"]) for row in rows),
            **{f"finding {name}": alarms.count(name) for name in sorted(set(alarms))},
        }
    }


def main() -> None:
    result = common.load("healthy")
    result["limits"] = {"healthy starts": {"runs with a `helps`": "at most 1 of 20"}}
    everything = None
    for seed in range(STARTS):
        if common.done(result, seed=seed):
            continue
        everything = everything or fitwell_data.read(str(common.FASHION), {})
        row = {"seed": seed, **one_start(sample(everything, seed), seed)}
        common.add(result, row)
        result["summary"] = summarise(result["rows"])
        common.save(result)
        print(row, flush=True)
    print(result["summary"])


if __name__ == "__main__":
    main()
