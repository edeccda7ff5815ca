"""Fashion-MNIST, full 60,000: test accuracy of the default recipes within 10 epochs, 3 seeds.

`python -m benchmarks.accuracy`; each run is saved as it ends and is not repeated.
"""

import time

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.resolve import complete
from fitwell.train import train_once

FLOORS = {"lenet": 0.900, "convnet": 0.925}


def main() -> None:
    result = common.load("accuracy")
    result["limits"] = {
        model: {"test accuracy": f"mean at least {floor}"} for model, floor in FLOORS.items()
    }
    data = None
    for model in FLOORS:
        for seed in range(3):
            if common.done(result, model=model, seed=seed):
                continue
            data = data or fitwell_data.read(str(common.FASHION), {})
            recipe = complete({"model.name": model, "train.epochs": 10}, data.spec)
            rows = split.fit_rows(data, recipe.section("data"), seed)
            started = time.perf_counter()
            run = train_once(data, rows, recipe, seed=seed)
            row = {
                "model": model,
                "seed": seed,
                "test": run.scores["test"]["accuracy"],
                "validation": run.scores["validation"]["accuracy"],
                "train": run.scores["train"]["accuracy"],
                "seconds": time.perf_counter() - started,
                "precision": run.environment["precision"],
                "recipe": dict(recipe),
            }
            common.add(result, row)
            print({k: v for k, v in row.items() if k != "recipe"}, flush=True)
    for model, floor in FLOORS.items():
        scores = [r["test"] for r in result["rows"] if r["model"] == model]
        figures = common.spread(scores)
        result["summary"][model] = {"test accuracy": figures}
        print(model, figures, "reached" if figures["mean"] >= floor else "NOT reached", floor)
    common.save(result)


if __name__ == "__main__":
    main()
