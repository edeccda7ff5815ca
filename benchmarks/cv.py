"""5-fold cross-validation of LeNet on 10,000 images, in warm workers side by side, against five
fits one after another in this process with all threads: 5 alternations in one run."""

import tempfile
import time
from pathlib import Path

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.data.types import Data
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.train import train_once
from fitwell.trials.crossval import cross_validate
from fitwell.trials.executor import LocalExecutor

ROUNDS = 5


def one_after_another(data: Data, recipe: Recipe, seed: int) -> float:
    started = time.perf_counter()
    for fold in range(5):
        rows = split.fold_rows(data, recipe.section("data"), fold=fold, repeat=0, seed=seed)
        train_once(data, rows, recipe, seed=seed, fold=fold, threads=2)
    return time.perf_counter() - started


def main() -> None:
    result = common.load("cv", timed=True)
    result["limits"] = {"5-fold cv": {"workers / one after another": "at most 0.85"}}
    if len(result["rows"]) < ROUNDS:
        data = fitwell_data.read(str(common.FASHION), {"limit": 12_500})
        settings = {"model.name": "lenet", "data.limit": 12_500, "train.epochs": 5}
        recipe = complete(settings, data.spec)
        with tempfile.TemporaryDirectory() as folder:
            with LocalExecutor(data, Path(folder), trials=5) as executor:
                cross_validate(data, recipe.edit({"train.epochs": 1}), executor, seed=99)  # warm
                one_after_another(data, recipe.edit({"train.epochs": 1}), 99)
                for number in range(len(result["rows"]), ROUNDS):
                    started = time.perf_counter()
                    cross_validate(data, recipe, executor, repeat=number, seed=number)
                    workers = time.perf_counter() - started
                    alone = one_after_another(data, recipe, number)
                    row = {"round": number, "workers": workers, "one_after_another": alone}
                    common.add(result, row)
    ratios = [row["workers"] / row["one_after_another"] for row in result["rows"]]
    result["summary"] = {"5-fold cv": {"workers / one after another": common.spread(ratios)}}
    common.save(result)
    print(result["summary"])


if __name__ == "__main__":
    main()
