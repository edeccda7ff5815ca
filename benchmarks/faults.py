"""The eleven public faults: are they named, and is what mends them proved?

`python -m benchmarks.faults`:

- programs: each faulty program under `tests/faults` and its mend, trained on the same rows in the same
  order from the same seed, three times in five folds; the paired difference by the statistics of a
  verdict. Whether the labelled cause is among the first two findings, and what is found in the mended
  program, each time.
- recipes: where the mend is a setting, the program as a recipe: the remedies of the finding that names
  the cause, on trial by the protocol of `improve`.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults.cases import PROGRAMS
from faults.programs import FOLDS, Program, accuracy, run

from benchmarks import common, fault_models
from fitwell import data as fitwell_data
from fitwell import store
from fitwell.data.types import Data
from fitwell.findings import diagnose
from fitwell.improve.evidence import gather
from fitwell.improve.variants import variants_of
from fitwell.record import Verdict
from fitwell.remedies import remedies_for
from fitwell.resolve import complete
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Budget
from fitwell.trials.confirming import REPEATS
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.protocol import judge, screen
from fitwell.trials.statistics import confirm, default_min_effect

MODELS = fault_models.__name__
MNIST = {"model.name": f"{MODELS}:mnist", "optim.name": "adadelta", "train.batch_size": 32}
_AS_IT_IS = {"schedule.name": "constant", "optim.weight_decay": 0.0, "augment.policy": "none"}
# What a fault is as a recipe.
RECIPES: dict[str, dict[str, Any]] = {
    "M-zeros-init": {**MNIST, "optim.lr": 1.0, "train.epochs": 6, "model.init": "zeros"},
    "M-lr-low": {**MNIST, "optim.lr": 0.001, "train.epochs": 6},
    "C-one-epoch": {
        "model.name": f"{MODELS}:cifar",
        "optim.name": "adam",
        "optim.lr": 0.001,
        "train.batch_size": 32,
        "train.epochs": 1,
    },
    "R-l1": {
        "model.name": "mlp",
        "model.width": 512,
        "model.depth": 1,
        "model.dropout": 0.5,
        "optim.name": "sgd",
        "optim.lr": 0.1,
        "optim.l1": 0.01,
        "train.batch_size": 32,
        "train.epochs": 3,
    },
}


def main() -> None:
    result = common.load("faults")
    result["limits"] = {
        "programs": {"among the first two": f"at least 10 of {len(PROGRAMS)}"},
        **{f"{name}, recipe": {"verdict": "helps"} for name in RECIPES},
    }
    keys, jobs = [], []
    for place, program in enumerate(PROGRAMS):
        for number in range(REPEATS * FOLDS):
            repeat, fold = divmod(number, FOLDS)
            key = {"case": program.name, "part": "program", "repeat": repeat, "fold": fold}
            if not common.done(result, **key):
                keys.append(key)
                jobs.append((compared, (place, repeat, fold)))
    for place, row in common.side_by_side(jobs):
        common.add(result, {**keys[place], **row})
        result["summary"] = summary(result["rows"])
        common.save(result)
    for name in RECIPES:
        if not common.done(result, case=name, part="recipe"):
            common.add(result, {"case": name, "part": "recipe", **tried(name)})
    result["summary"] = summary(result["rows"])
    common.save(result)
    print(result["summary"])


def compared(place: int, repeat: int, fold: int) -> dict[str, Any]:
    """Both programs on the same fold: scores and findings."""
    program = PROGRAMS[place]
    assert program.mended is not None
    row: dict[str, Any] = {}
    for arm, one in (("faulty", program), ("mended", program.mended)):
        watch, score = run(one, repeat, fold)
        # What a program that diverges predicts is worth nothing: R squared of the mean.
        row[arm] = score if np.isfinite(score) else 0.0
        row[f"{arm}: findings"] = [finding.name for finding in watch.diagnose(show=False)]
    return row


def tried(name: str) -> dict[str, Any]:
    """The verdicts on the remedies of the finding that names the cause."""
    program = next(p for p in PROGRAMS if p.name == name)
    data = as_data(program)
    store.trust_model(str(RECIPES[name]["model.name"]))
    recipe = complete({**_AS_IT_IS, **RECIPES[name]}, data.spec)
    folder = Path(tempfile.mkdtemp())
    with LocalExecutor(data, folder) as executor:
        bench = Bench(data, executor, Budget(None), lambda *a, **k: None, recipe)
        baseline = Variant("baseline", recipe)
        runs = bench.run([bench.task(baseline, 0, fold) for fold in range(bench.folds)])
        bench.settle_precision(runs)
        rows = gather(data, recipe, runs, repeat=0, seed=0)
        diagnosis = diagnose([replace(runs[0], evidence=[*runs[0].evidence, *rows]), *runs[1:]])
        named = [f for f in diagnosis if f.name in program.causes]
        proposed = [
            (remedy, finding.name)
            for finding in named
            for remedy in remedies_for(finding, recipe, data.spec)
            if remedy.settings
        ]
        variants, _ = variants_of(proposed, recipe, data.spec, round_number=1)
        screening = screen(bench, baseline, variants, repeat=0, round_number=1)
        verdicts = judge(bench, baseline, screening, first_repeat=1, round_number=1)
    shutil.rmtree(folder)
    return {
        "findings": [f.name for f in diagnosis],
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "decision": _best(verdicts),
    }


def _best(verdicts: Sequence[Verdict]) -> str:
    decisions = {verdict.decision for verdict in verdicts}
    return "helps" if "helps" in decisions else ", ".join(sorted(decisions)) or "not tried"


def as_data(program: Program) -> Data:
    """All examples of the program, as arrays from Python are read."""
    (x, y), (x_new, y_new) = program.data(0)
    inputs, labels = torch.cat([x, x_new]).numpy(), torch.cat([y, y_new]).numpy()
    names = np.array([f"class {label}" for label in labels])
    return fitwell_data.read((inputs, names), {"test": 0.0})


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    named = whole = 0
    for program in PROGRAMS:
        mine = [r for r in rows if r["case"] == program.name and r["part"] == "program"]
        if len(mine) < REPEATS * FOLDS:
            continue
        mine.sort(key=lambda row: (row["repeat"], row["fold"]))
        faulty = float(np.mean([row["faulty"] for row in mine]))
        differences = [row["mended"] - row["faulty"] for row in mine]
        least = default_min_effect(faulty, bounded=program.score is accuracy)
        ((interval, decision),) = confirm([differences], FOLDS, REPEATS, min_effect=least)
        first_two = sum(bool({*row["faulty: findings"][:2]} & {*program.causes}) for row in mine)
        named, whole = named + (first_two == len(mine)), whole + 1
        alarms = [{*row["mended: findings"]} - {"stopped_too_early"} for row in mine]
        found[program.name] = {
            "faulty": faulty,
            "mended": float(np.mean([row["mended"] for row in mine])),
            "mended - faulty": interval.effect,
            "95 % interval": f"{interval.low} to {interval.high}",
            "verdict": decision,
            "cause among the first two": f"{first_two} of {len(mine)}",
            "mended programs with a finding": f"{sum(map(bool, alarms))} of {len(mine)}",
        }
    if whole:
        found["programs"] = {"among the first two": f"{named} of {whole} every time"}
    for row in rows:
        if row["part"] == "recipe":
            found[f"{row['case']}, recipe"] = {"verdict": row["decision"]}
    return found


if __name__ == "__main__":
    main()
