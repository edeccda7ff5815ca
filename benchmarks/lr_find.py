"""The learning-rate finder: which rule of the range test names the rate that trains best?

`python -m benchmarks.lr_find`: for each case a range test of 3 seeds on fold 0, then trainings of 2 seeds
on that fold at the rate of each rule (the geometric mean over the seeds of the test) and at the recipe's.
`lost` is the share of what the best of these rates learns, above a training at 1e-9, that a rate does not
reach, by the held-out score and by the loss; 1 where training broke.
"""

import math
from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import common
from fitwell.api.ranging import BEYOND, HIGH, LOW, STEPS
from fitwell.api.start import Start, begin
from fitwell.data import split
from fitwell.experiments import range_test
from fitwell.improve.evidence import range_starter
from fitwell.lr_range import asked_by
from fitwell.metrics import METRICS
from fitwell.record import Row
from fitwell.train import train_once

HOUSING = str(common.DATA / "tabular" / "california_housing.csv")
PRICES = {"data.target": "median_house_value", "data.limit": 4000}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "digits mlp": ("digits", "mlp", {}),
    "digits mlp, adam": ("digits", "mlp", {"optim.name": "adam"}),
    "digits lenet": ("digits", "lenet", {}),
    "california_housing mlp": (HOUSING, "mlp", PRICES),
    "breast-cancer linear": ("breast-cancer", "linear", {}),
}
TEST_SEEDS, SEEDS = (0, 1, 2), (0, 1)
NOTHING = 1e-9  # a rate at which nothing is learned
LIMITS = {"chosen rule": {"score lost": "at most 0.05 in each case"}}


def _part(share: float) -> Callable[[Row], float | None]:
    return lambda row: share * row["divergence_lr"] if row["divergence_lr"] else None


def _middle(row: Row) -> float | None:
    steepest, broke = row["steepest_lr"], row["divergence_lr"]
    return math.sqrt(steepest * broke) if steepest and broke else None


RULES: dict[str, Callable[[Row], float | None]] = {
    "steepest fall": lambda row: row["steepest_lr"],
    "lowest loss / 10": lambda row: _lowest(row) / 10,
    "break / 2": _part(1 / 2),
    "break / 3": _part(1 / 3),
    "break / 5": _part(1 / 5),
    "break / 10": _part(1 / 10),
    "break / 20": _part(1 / 20),
    "break / 50": _part(1 / 50),
    "break / 100": _part(1 / 100),
    "middle of steepest and break": _middle,
    "chosen rule": asked_by,
}


def _lowest(row: Row) -> float:
    losses = [math.inf if loss is None else loss for loss in row["loss"]]
    return row["lr"][int(np.argmin(losses))]


def main() -> None:
    result = common.load("lr_find")
    result["limits"] = LIMITS
    for case, (source, model, settings) in CASES.items():
        start = begin(source, model, settings)
        tests = tested(start)
        rates = {name: together(rule, tests) for name, rule in RULES.items()}
        rates |= {"the recipe's own": float(start.recipe["optim.lr"]), "nothing": NOTHING}  # type: ignore[arg-type]
        breaks = [row["divergence_lr"] for row in tests]
        for rule, rate in rates.items():
            if rate is not None and not common.done(result, case=case, rule=rule):
                row = {"case": case, "rule": rule, "breaks": breaks, "lr": rate}
                common.add(result, {**row, **trained(start, rate)})
                print(result["rows"][-1], flush=True)
    result["summary"] = summary(result["rows"])
    common.save(result)
    print(result["summary"])


def tested(start: Start) -> list[Row]:
    starter = range_starter(start.data, start.recipe, repeat=0, seed=start.seed)
    return range_test(starter, seeds=TEST_SEEDS, low=LOW, high=HIGH, steps=STEPS, beyond=BEYOND)


def together(rule: Callable[[Row], float | None], tests: list[Row]) -> float | None:
    """The geometric mean over the seeds that have a rate."""
    known = [rate for row in tests if (rate := rule(row)) is not None]
    return math.exp(fmean(math.log(rate) for rate in known)) if known else None


def trained(start: Start, rate: float) -> dict[str, Any]:
    """Held-out score and loss of each seed, None where the training broke."""
    rows = split.fold_rows(start.data, start.options, fold=0, repeat=0, seed=start.seed)
    recipe = start.recipe.edit({"optim.lr": rate})
    runs = [
        train_once(start.data, rows, recipe, seed=seed, fold=0, probes=False, threads=1)
        for seed in SEEDS
    ]
    metric = str(recipe["score.name"])
    held = [run.scores.get("held_out", {}) for run in runs]
    measured = {"score": [p.get(metric) for p in held], "loss": [p.get("loss") for p in held]}
    return {"metric": metric, **measured}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each rule the spread of what is lost over the cases."""
    found: dict[str, Any] = {}
    for rule in (*RULES, "the recipe's own"):
        mine = [row for row in rows if row["rule"] == rule]
        for key in ("score", "loss"):
            shares = [lost(row, key, rows) for row in mine]
            found.setdefault(rule, {})[f"{key} lost"] = common.spread(shares)
    return found


def lost(row: dict[str, Any], key: str, rows: list[dict[str, Any]]) -> float:
    """The share of what can be learned in a case that is not; 1 where nothing is, or training broke."""
    higher = key == "score" and METRICS[row["metric"]].higher_is_better
    same = {other["rule"]: other[key] for other in rows if other["case"] == row["case"]}
    nothing = fmean(same.pop("nothing"))

    def gained(value: float | None) -> float:
        """What is worse than nothing is no gain."""
        return 0.0 if value is None else max(0.0, (value - nothing) * (1 if higher else -1))

    gains = {rule: fmean(map(gained, values)) for rule, values in same.items()}
    return 1 - gains[row["rule"]] / max(gains.values())


if __name__ == "__main__":
    main()
