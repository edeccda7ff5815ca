"""What racing saves, and whether it changes a verdict, beside the full design on the same trials.

`python -m benchmarks.racing`: sets of at most nine arms, the baseline one of them, drawn by a seeded
program on a start that one setting holds back; one arm heals it, the others change something at random.
Three designs:

- full: every arm on every fold of the screen and of all three repeats of the confirm stage. An arm truly
  helps where its own trials of the confirm stage say so, at 5 %;
- stages: every arm on every fold of the screen, the best two on every repeat;
- raced: screen and confirm as an improvement does them.

The trials are the same (finished ones are read again), so that decisions differ by what is stopped alone.
Counted are trials, and epochs. Sets of several helpers are counted apart: two at most can be confirmed.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.alarm_cases import CASES, Case, sample
from fitwell.improve.variants import variants_of
from fitwell.recipe import Recipe
from fitwell.record import Remedy, Run
from fitwell.resolve import complete
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Budget
from fitwell.trials.confirming import REPEATS
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.protocol import judge, screen
from fitwell.trials.scoring import metric_of, smallest_effect
from fitwell.trials.statistics import decide, paired_verdict
from fitwell.trials.trial import Task

SETS = 240
WANTED = 100  # arms that help
KEPT = 0.97
NAMES = ("digits mlp", "breast-cancer mlp", "vowels mlp", "wine mlp")
# What holds a start back, and its heal.
STARTS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"optim.lr": 0.0005}, {"optim.lr": 0.05}),
    ({"model.width": 3}, {"model.width": 64}),
    ({"train.epochs": 2}, {"train.epochs": 15}),
    ({"optim.weight_decay": 0.3}, {"optim.weight_decay": 0.0005}),
    ({"model.dropout": 0.8}, {"model.dropout": 0.0}),
    ({}, {}),  # nothing to heal
)
QUICK: dict[str, Any] = {"train.epochs": 15, "optim.name": "sgd", "model.depth": 1}
# Changes that do little, or harm: setting -> times the recipe's value, or values.
OTHERS: tuple[tuple[str, float, float], ...] = (
    ("schedule.warmup", 0.5, 2.0),
    ("optim.lr", 0.3, 3.0),
    ("optim.weight_decay", 0.3, 3.0),
    ("model.width", 0.5, 2.0),
    ("train.batch_size", 0.5, 2.0),
)
LIMITS = {
    "at most one helper": {
        "helpers kept": f"at least 97 of 100 of {WANTED} and more",
        "new helps": "0",
        "trials": "at most 40 %",
    }
}


class Counting(LocalExecutor):
    """Notes which trials were asked for, be they run or read, and their epochs. One that was read whole and
    would have been given up counts, and ends, as if it had been."""

    epochs: dict[str, int]

    def run(self, tasks: Any, done: Any = None, started: Any = None) -> Any:
        whole = super().run([replace(task, floor=()) for task in tasks], done, started)
        return [self._as_raced(task, run) for task, run in zip(tasks, whole, strict=True)]

    def _as_raced(self, task: Task, run: Run) -> Run:
        self.epochs[task.folder_name] = len(run.epochs)
        metric, function = metric_of(task.recipe)
        for place, (row, floor) in enumerate(zip(run.epochs, task.floor, strict=False)):
            score = (row["validation"] or {}).get(metric)
            if floor is not None and score is not None and function.gain(floor, score) < 0:
                self.epochs[task.folder_name] = place + 1
                return Run(status="failed", failure="Given up.", environment={"given_up": True})
        return run


def main() -> None:
    result = common.load("racing")
    result["limits"] = LIMITS
    keys = [{"set": number} for number in range(SETS)]
    jobs = [(raced, (number,)) for number in range(SETS)]
    common.measured(result, keys, jobs, summarise)
    print(result["summary"])


def raced(number: int) -> dict[str, Any]:
    """A row: the decisions of both designs, and the trials that each asked for."""
    random = np.random.default_rng([number, 103])
    name = NAMES[number % len(NAMES)]
    case: Case = next(case for case in CASES if case.name == name)
    data = sample(case, 40_000 + number)
    sick, heal = STARTS[random.integers(len(STARTS))]
    values = {"model.name": case.family, **case.settings, **QUICK, **sick, "train.seed": number}
    recipe = complete(values, data.spec)
    remedies = [Remedy(f"heal {heal}", heal)] if heal else []
    while len(remedies) < 8:
        remedies.append(drawn(recipe, random))
    order = random.permutation(len(remedies))
    proposed = [(remedies[i], "drawn") for i in order]
    variants, _ = variants_of(proposed, recipe, data.spec, round_number=1)
    folder = Path(tempfile.mkdtemp())
    found: dict[str, Any] = {"case": name, "sick": sick, "arms": 1 + len(variants)}
    try:
        for design in ("full", "stages", "raced"):
            with Counting(data, folder, in_process=True, threads=1) as executor:
                executor.epochs = {}
                bench = Bench(data, executor, Budget(None), lambda *a, **k: None, recipe)
                bench.race = design == "raced"
                helps = (whole if design == "full" else staged)(bench, variants)
            found[design] = {
                "helps": sorted(helps),
                "trials": len(executor.epochs),
                "epochs": sum(executor.epochs.values()),
            }
    finally:
        shutil.rmtree(folder)
    return found


def whole(bench: Bench, variants: list[Variant]) -> list[str]:
    """What helps by its own trials of the confirm stage; every arm is trained on all folds of both."""
    arms = [Variant("baseline", bench.recipe), *variants]
    tasks = {
        arm.name: [bench.task(arm, r, f) for r in range(1 + REPEATS) for f in range(bench.folds)]
        for arm in arms
    }
    runs = {name: bench.run(some)[bench.folds :] for name, some in tasks.items()}
    base = bench.baseline_scores(tasks["baseline"][bench.folds :], runs["baseline"])
    smallest = smallest_effect(bench.recipe, float(base.mean()))
    helps = []
    for variant in variants:
        gains = bench.differences(base, runs[variant.name])
        if np.isfinite(gains).all():
            interval = paired_verdict(gains.tolist(), bench.folds, REPEATS)
            helps += [variant.remedy] * (decide(interval, smallest) == "helps")
    return helps


def staged(bench: Bench, variants: list[Variant]) -> list[str]:
    """What helps by a screen of all and a confirm stage of the best."""
    first = Variant("baseline", bench.recipe)
    screening = screen(bench, first, variants, repeat=0, round_number=1)
    verdicts = judge(bench, first, screening, first_repeat=1, round_number=1)
    return [v.remedy for v in verdicts if v.decision == "helps"]


def drawn(recipe: Recipe, random: np.random.Generator) -> Remedy:
    """A change of one setting by a random factor."""
    name, low, high = OTHERS[random.integers(len(OTHERS))]
    factor = float(np.exp(random.uniform(np.log(low), np.log(high))))
    before: Any = recipe[name]
    after = max(1, round(before * factor)) if isinstance(before, int) else before * factor
    after = min(after, 0.9) if name == "schedule.warmup" else after
    return Remedy(f"{name} x {factor:.3f}", {name: after})


def summarise(result: dict[str, Any]) -> None:
    """Helpers kept, new ones, and the share of the cost of other designs."""
    result["summary"] = {}
    for name, chosen in (("at most one helper", lambda n: n < 2), ("several", lambda n: n > 1)):
        rows = [row for row in result["rows"] if chosen(len(row["full"]["helps"]))]
        helpers = {d: _helpers(rows, d) for d in ("full", "stages", "raced")}
        kept = len(helpers["full"] & helpers["raced"])
        result["summary"][name] = {
            "sets": len(rows),
            "helpers kept": f"{kept} of {len(helpers['full'])}",
            "kept without racing": len(helpers["full"] & helpers["stages"]),
            "new helps": str(len(helpers["raced"] - helpers["full"])),
            "trials": _share("trials", rows, "full"),
            "epochs": _share("epochs", rows, "full"),
            "trials of the stages": _share("trials", rows, "stages"),
        }
    common.save(result)


def _helpers(rows: list[dict[str, Any]], design: str) -> set[tuple[int, str]]:
    return {(row["set"], name) for row in rows for name in row[design]["helps"]}


def _share(what: str, rows: list[dict[str, Any]], design: str) -> str:
    """What racing costs of another design."""
    costs = [sum(row[d][what] for row in rows) for d in ("raced", design)]
    return f"{100 * costs[0] / max(1, costs[1]):.1f} %"


if __name__ == "__main__":
    main()
