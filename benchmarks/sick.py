"""A sick start on Fashion-MNIST (10,000 images, LeNet, sigmoid, lr 0.01), 20 minutes, 3 seeds.

Named causes, the final test accuracy, and the healthy default's beside it. `python -m
benchmarks.sick`; each seed is saved as it ends.
"""

import shutil
import tempfile
from pathlib import Path

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.improve import improve
from fitwell.resolve import complete
from fitwell.train import train_once

BUDGET_SECONDS = 20 * 60
# What was done to it. Its units do not saturate: PyTorch's initial weights keep sigmoids in their
# middle, where each layer passes a quarter of the gradient at most.
CAUSES = ("lr_too_low", "vanishing_gradient")


def main() -> None:
    result = common.load("sick")
    result["limits"] = {
        "sick start": {
            "healthy - final, test accuracy": "at most 0.01",
            "runs with all causes named": "all",
            "seconds": f"at most {BUDGET_SECONDS}",
        }
    }
    base = {"data.limit": 10_000, "model.name": "lenet"}
    sick = {"model.activation": "sigmoid", "optim.lr": 0.01}
    for seed in range(3):
        if common.done(result, seed=seed):
            continue
        data = fitwell_data.read(str(common.FASHION), {"limit": 10_000})
        healthy = complete({**base, "train.seed": seed}, data.spec)
        rows = split.final_rows(
            data, healthy.section("data"), seed
        )  # as the final model is trained
        reference = train_once(data, rows, healthy, seed=seed).scores["test"]["accuracy"]
        folder = Path(tempfile.mkdtemp())
        recipe = complete({**base, **sick, "train.seed": seed}, data.spec)
        better = improve(data, recipe, out=folder / "run", budget=BUDGET_SECONDS)
        named = [f.name for f in better.diagnosis[0].findings]
        row = {
            "seed": seed,
            "healthy": reference,
            "baseline": better.baseline["test"]["accuracy"],
            "final": better.final["test"]["accuracy"],
            "findings": named,
            "causes named": [cause for cause in CAUSES if cause in named],
            "helps": [v.remedy for v in better.verdicts if v.decision == "helps"],
            "seconds": better.seconds,
        }
        common.add(result, row)
        print(row, flush=True)
        shutil.rmtree(folder)
    gaps = [row["healthy"] - row["final"] for row in result["rows"]]
    named = [len(row["causes named"]) == len(CAUSES) for row in result["rows"]]
    result["summary"] = {
        "sick start": {
            "healthy - final, test accuracy": common.spread(gaps),
            "runs with all causes named": f"{sum(named)} of {len(named)}",
            "seconds": common.spread([row["seconds"] for row in result["rows"]]),
        }
    }
    common.save(result)
    print(result["summary"])


if __name__ == "__main__":
    main()
