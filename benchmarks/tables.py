"""Tables: ten folds of the default MLP against boosted trees of scikit-learn on the same folds.

`python -m benchmarks.tables`: California housing, whose error a random forest brings to 50,182 (published,
ten folds); airfoil noise and German credit, where the network is to be no worse than the trees less one
standard error over the folds. The defaults were chosen by `validate`, on another partition into folds.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.api import training
from fitwell.data import preprocess, split
from fitwell.data.types import Data
from fitwell.metrics import METRICS

FOLDER = common.DATA / "tabular"
FOLDS, SEED = 10, 0
RANDOM_FOREST = 50_182
MINUTES = 10
PLAIN = {"model.waves": 0}


class Case(NamedTuple):
    file: str
    settings: dict[str, Any]
    metric: str


CASES = {
    "california housing": Case(
        "california_housing.csv", {"data.target": "median_house_value"}, "rmse"
    ),
    "airfoil noise": Case("airfoil_self_noise.dat", {}, "rmse"),
    "german credit": Case("german.csv", {"data.task": "classification"}, "accuracy"),
}


def main() -> None:
    result = common.load("tables")
    for name, case in CASES.items():
        if not common.done(result, case=name):
            common.add(result, measured(name, case))
    judge(result)
    common.save(result)


def measured(name: str, case: Case) -> dict[str, Any]:
    """A row: the score of each fold, of the network and of the trees."""
    source = str(FOLDER / case.file)
    settings = {**case.settings, "data.folds": FOLDS, "data.test": 0.0, "train.seed": SEED}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = training.cv(source, settings=settings, out=Path(folder) / "cv", examples=False)
        minutes = (time.perf_counter() - started) / 60
        without = training.cv(
            source, settings=settings | PLAIN, out=Path(folder) / "plain", examples=False
        )
    ours, plain = (
        [trial.scores["held_out"][case.metric] for trial in one.trials] for one in (run, without)
    )
    options = {key[5:]: value for key, value in settings.items() if key.startswith("data.")}
    trees = boosted(fitwell_data.read(source, options), options, case.metric)
    row = {
        "case": name,
        "metric": case.metric,
        "folds": ours,
        "without waves": plain,
        "boosted trees": trees,
        "minutes": minutes,
        "recipe": dict(run.recipe or {}),
    }
    print({k: v for k, v in row.items() if k != "recipe"}, flush=True)
    return row


def validate(settings: dict[str, Any], names: Sequence[str] = tuple(CASES)) -> dict[str, float]:
    """Mean score over five folds of another partition: what the defaults were chosen by."""
    found = {}
    for name in names:
        case = CASES[name]
        chosen = {**case.settings, "data.folds": 5, "data.test": 0.0, "train.seed": 1, **settings}
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "cv"
            run = training.cv(str(FOLDER / case.file), settings=chosen, out=out, examples=False)
        found[name] = float(np.mean([t.scores["held_out"][case.metric] for t in run.trials]))
    return found


def boosted(data: Data, options: dict[str, Any], metric: str) -> list[float]:
    """Score of each fold of scikit-learn's histogram boosting, by its defaults, on the same folds."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    scores = []
    for fold in range(FOLDS):
        rows = split.fold_rows(data, options, fold=fold, repeat=0, seed=SEED)
        train = np.concatenate([rows.train, rows.validation])
        x = preprocess.fit(data, train).inputs(data.inputs)
        kinds = (HistGradientBoostingRegressor, HistGradientBoostingClassifier)
        model: Any = kinds[bool(data.spec.classes)](random_state=SEED)
        model.fit(x[train], data.targets[train])
        predicted = model.predict(x[rows.held_out])
        scores.append(METRICS[metric](data.targets[rows.held_out], predicted))
    return scores


def judge(result: dict[str, Any]) -> None:
    """What was asked beside what each row says."""
    limits = result["limits"] = {}
    for row in result["rows"]:
        name, metric = row["case"], METRICS[row["metric"]]
        ours, trees = common.spread(row["folds"]), common.spread(row["boosted trees"])
        error = trees["std"] / FOLDS**0.5
        bound = trees["mean"] - error if metric.higher_is_better else trees["mean"] + error
        if name == "california housing":
            bound = RANDOM_FOREST
        words = "at least" if metric.higher_is_better else "at most"
        limits[name] = {row["metric"]: f"mean {words} {bound:.4g}", "minutes": f"at most {MINUTES}"}
        result["summary"][name] = {
            row["metric"]: ours,
            f"{row['metric']} without waves": common.spread(row["without waves"]),
            f"{row['metric']} of boosted trees": trees,
            "minutes": round(row["minutes"], 2),
        }
        reached = metric.gain(bound, ours["mean"]) >= 0 and row["minutes"] <= MINUTES
        print(name, ours["mean"], "reached" if reached else "NOT reached", limits[name])


if __name__ == "__main__":
    main()
