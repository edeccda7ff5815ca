"""bfloat16 against float32: two one-sided tests at +-0.3 point, 12 seeds an arm, 10,000 images.

Equal accuracy is claimed only where both one-sided tests reject at 5 %, which is the same as the
90 % interval of the paired difference lying within +-0.003.
"""

import numpy as np
from scipy import stats

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.resolve import complete
from fitwell.train import train_once

SEEDS, MARGIN = 12, 0.003


def main() -> None:
    result = common.load("parity")
    result["command"] = "python -m benchmarks.parity"
    data = None
    for seed in range(SEEDS):
        for precision in ("float32", "bfloat16"):
            if common.done(result, seed=seed, precision=precision):
                continue
            data = data or fitwell_data.read(str(common.FASHION), {"limit": 10_000})
            settings = {
                "model.name": "lenet",
                "train.precision": precision,
                "data.limit": 10_000,
                "train.epochs": 15,
            }
            recipe = complete(settings, data.spec)
            rows = split.fit_rows(data, recipe.section("data"), 0)
            run = train_once(data, rows, recipe, seed=seed, probes=False)
            row = {"seed": seed, "precision": precision, "test": run.scores["test"]["accuracy"]}
            result["rows"].append(row)
            print(row, flush=True)
            common.save(result)
    arms = {
        p: np.array([r["test"] for r in result["rows"] if r["precision"] == p])
        for p in ("float32", "bfloat16")
    }
    differences = arms["bfloat16"] - arms["float32"]
    half = stats.t.ppf(0.95, SEEDS - 1) * differences.std(ddof=1) / SEEDS**0.5
    low, high = float(differences.mean() - half), float(differences.mean() + half)
    result["summary"] = {
        "lenet, 10,000 images": {
            "bfloat16 - float32, test accuracy": common.spread(differences.tolist()),
            "90 % interval": f"[{low:+.4f}, {high:+.4f}]",
            "equal within 0.003": -MARGIN < low and high < MARGIN,
        }
    }
    common.save(result)
    print(result["summary"])


if __name__ == "__main__":
    main()
