"""bfloat16 against float32: two one-sided tests at +-0.3 point, 12 seeds an arm, 10,000 images.

Equal accuracy is claimed only where both one-sided tests reject at 5 %, which is the same as the
90 % interval of the paired difference lying within +-0.003.
"""

from typing import Any

import numpy as np
from scipy import stats

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.resolve import complete
from fitwell.train import train_once

SEEDS, MARGIN = 12, 0.003
EPOCHS = {"lenet": 15, "convnet": 10}


def main() -> None:
    result = common.load("parity")
    data = None
    arms = [(m, s, p) for m in EPOCHS for s in range(SEEDS) for p in ("float32", "bfloat16")]
    for model, seed, precision in arms:
        if common.done(result, model=model, seed=seed, precision=precision):
            continue
        data = data or fitwell_data.read(str(common.FASHION), {"limit": 10_000})
        settings = {
            "model.name": model,
            "train.precision": precision,
            "data.limit": 10_000,
            "train.epochs": EPOCHS[model],
        }
        recipe = complete(settings, data.spec)
        rows = split.fit_rows(data, recipe.section("data"), 0)
        run = train_once(data, rows, recipe, seed=seed, probes=False)
        score = run.scores["test"]["accuracy"]
        row = {"model": model, "seed": seed, "precision": precision, "test": score}
        common.add(result, row)
        print(row, flush=True)
    result["summary"] = {
        f"{model}, 10,000 images": compared([r for r in result["rows"] if r["model"] == model])
        for model in EPOCHS
    }
    common.save(result)
    print(result["summary"])


def compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The paired difference of one network's seeds, and whether both one-sided tests reject."""
    arms = {
        p: np.array([r["test"] for r in rows if r["precision"] == p])
        for p in ("float32", "bfloat16")
    }
    differences = arms["bfloat16"] - arms["float32"]
    half = stats.t.ppf(0.95, SEEDS - 1) * differences.std(ddof=1) / SEEDS**0.5
    low, high = float(differences.mean() - half), float(differences.mean() + half)
    return {
        "bfloat16 - float32, test accuracy": common.spread(differences.tolist()),
        "90 % interval": f"[{low:+.4f}, {high:+.4f}]",
        f"equal within {MARGIN}": -MARGIN < low and high < MARGIN,
    }


if __name__ == "__main__":
    main()
