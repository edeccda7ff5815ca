"""Film reviews (polarity 2.0): ten folds of `bag_of_words`, and of networks that read words in their order.

`python -m benchmarks.reviews`: accuracy over ten stratified folds of all 2,000 reviews, a row a fold.
Bag of words with a logistic regression has 0.868 +- 0.0075 on ten folds (scikit-learn). The networks are
not asked to reach it: 1,800 reviews are few to learn vectors of words from. They see the first 256 words of
a review; half of the reviews have more than 717.
"""

import time
from typing import Any

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.resolve import complete
from fitwell.train import train_once

SOURCE = common.DATA / "reviews" / "review_polarity.tar.gz"
FOLDS, SEED = 10, 0
ASKED = {"bag_of_words": 0.860}
SHORT = {"data.length": 256, "data.vocabulary": 10_000, "train.epochs": 8, "model.width": 64}
RECURRENT = SHORT | {"model.bidirectional": True, "model.pooling": "max", "model.dropout": 0.3}
RECIPES: dict[str, dict[str, Any]] = {
    "bag_of_words": {},
    "lstm": RECURRENT,
    "gru": RECURRENT,
    "transformer": SHORT | {"model.dropout": 0.3},
}


def main() -> None:
    result = common.load("reviews")
    for fold in range(FOLDS):  # one of each first: stopped early, it still compares
        for model in RECIPES:
            if not common.done(result, model=model, fold=fold):
                row = measured(model, fold)
                common.add(result, row)
                print(row, flush=True)
    for model in RECIPES:
        scores = [row["accuracy"] for row in result["rows"] if row["model"] == model]
        result["summary"][model] = {"accuracy": common.spread(scores)}
        if model in ASKED:
            result.setdefault("limits", {})[model] = {"accuracy": f"mean at least {ASKED[model]}"}
    common.save(result)


def measured(model: str, fold: int, limit: int = 0) -> dict[str, Any]:
    """The row of one fold.

    Args:
        limit: at most so many reviews, to try it; 0: all.
    """
    settings = {"model.name": model, **RECIPES[model], "data.folds": FOLDS, "data.test": 0.0}
    settings |= {"data.limit": limit}
    options = {name[5:]: value for name, value in settings.items() if name.startswith("data.")}
    data = fitwell_data.read(str(SOURCE), options)
    recipe = complete(settings, data.spec)
    rows = split.fold_rows(data, recipe.section("data"), fold=fold, repeat=0, seed=SEED)
    started = time.perf_counter()
    run = train_once(data, rows, recipe, seed=SEED, fold=fold, probes=False)
    return {
        "model": model,
        "fold": fold,
        "accuracy": run.held_out["accuracy"],
        "train_accuracy": run.scores["train"]["accuracy"],
        "epochs": len(run.epochs),
        "seconds": round(time.perf_counter() - started, 1),
    }


if __name__ == "__main__":
    main()
