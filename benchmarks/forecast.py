"""Forecasts of ETTh1 on its standard split, beside repeating the last value.

`python -m benchmarks.forecast`: rows 0 to 8,639 train, the next 2,880 validate, the next 2,880 test, all
seven columns standardised by the training part, look-back 336, horizon 96, every window of the test part
(the last batch is kept), 3 seeds. Zeng, Chen, Zhang and Xu 2023 give DLinear an MSE of 0.374.

Then five folds by time of the airline passengers, by which the default of `model.subtract` was chosen,
and the look-backs of ETTh1 by its validation part.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from fitwell.api import training

ETTH1 = common.DATA / "etth1" / "ETTh1.csv"
AIRLINE = common.DATA / "tabular" / "airline_passengers.csv"
STANDARD: dict[str, Any] = {
    "data.steps": [8640, 2880, 2880],
    "data.look_back": 336,
    "data.horizon": 96,
}
PLAIN = {"model.subtract": "none"}
RECIPES: dict[str, dict[str, Any]] = {
    "dlinear": {},
    "dlinear, subtract none (the paper's)": PLAIN,
    "autoregressive": {"model.name": "autoregressive"},
}
LOOK_BACKS = (96, 192, 336, 504)
SEEDS = 3
SHOWN = ("network", "repeat_last", "seasonal_naive")


def main() -> None:
    result = common.load("forecast")
    todo = [("airline passengers", "folds", name, 0, 0) for name in RECIPES]
    todo += [("ETTh1", "test", name, 336, seed) for name in RECIPES for seed in range(SEEDS)]
    todo += [("ETTh1", "validation", "dlinear", back, 0) for back in LOOK_BACKS]
    for data, part, name, look_back, seed in todo:
        key = {"data": data, "part": part, "recipe": name, "look_back": look_back, "seed": seed}
        if common.done(result, **key):
            continue
        settings = {**RECIPES[name], "train.seed": seed}
        if data == "ETTh1":
            settings = {**STANDARD, **settings, "data.look_back": look_back}
            found = fitted(settings, part)
        else:
            found = folds(settings)
        common.add(result, {**key, **found})
        summarise(result)
        print(key, found, flush=True)


def summarise(result: dict[str, Any]) -> None:
    """MSE over the seeds of each recipe, and that of naive forecasts."""
    for row in result["rows"]:
        key = ("data", "part", "recipe", "look_back")
        alike = [r for r in result["rows"] if all(r[k] == row[k] for k in key)]
        what = f"{row['data']}, {row['part']}, look-back {row['look_back'] or 'chosen'}"
        figures = result["summary"].setdefault(what, {})
        figures[row["recipe"]] = common.spread([r["network"] for r in alike])
        figures |= {model.replace("_", " "): row[model] for model in SHOWN[1:]}
    result["limits"] = {"ETTh1, test, look-back 336": {"dlinear": "<= 0.380"}}
    common.save(result)


def fitted(settings: dict[str, Any], part: str) -> dict[str, float]:
    """MSE of standardised columns on a part, of the network and of naive forecasts."""
    with tempfile.TemporaryDirectory() as folder:
        run = training.fit(str(ETTH1), settings=settings, out=Path(folder) / "run", examples=False)
    rows = [row for row in run.evidence if row["experiment"] == "forecast" and row["part"] == part]
    return {row["model"]: row["mse"] for row in rows} | {"seconds": run.seconds}


def folds(settings: dict[str, Any]) -> dict[str, float]:
    """The same, mean of five folds by time."""
    with tempfile.TemporaryDirectory() as folder:
        run = training.cv(str(AIRLINE), settings=settings, out=Path(folder) / "run", examples=False)
    rows = [row for t in run.trials for row in t.evidence if row["experiment"] == "forecast"]
    return {
        model: float(
            np.mean([r["mse"] for r in rows if r["model"] == model and r["part"] == "held_out"])
        )
        for model in SHOWN
    }


if __name__ == "__main__":
    main()
