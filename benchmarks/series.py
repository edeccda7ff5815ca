"""Series: which model reads them and what it is trained by, on two small sets of the UCR / UEA archive.

`python -m benchmarks.series`: accuracy over five folds of the archive's training parts alone, by which the
defaults were chosen: of an MLP with 2 seeds, of the models of sequences with one, since a training takes
minutes; then on its test parts, 3 seeds, by the default model, by an MLP, and by what an MLP of other
sources is trained by.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from fitwell.api import training

FOLDER = common.DATA / "timeseries"
SETS = ("GunPoint", "JapaneseVowels")
ELSEWHERE = "SGD 0.05, 60 epochs"
SGD = {"optim.name": "sgd", "optim.lr": 0.05}
FAST, SLOW = {"optim.lr": 3e-3}, {"optim.lr": 1e-3}
NORM, DEEP = {"model.norm": "batch"}, {"model.depth": 3}
SHORT, LONG = {"train.epochs": 60}, {"train.epochs": 180}
MLP = {"model.name": "mlp"}
RECIPES: dict[str, dict[str, Any]] = {
    "mlp": {},
    ELSEWHERE: SGD | SHORT,
    "AdamW 0.001, 60": SLOW | SHORT,
    "AdamW 0.003, 60": FAST | SHORT,
    "AdamW 0.003, weight decay 0.1, 60": FAST | SHORT | {"optim.weight_decay": 0.1},
    "AdamW 0.003, dropout 0.2, 60": FAST | SHORT | {"model.dropout": 0.2},
    "AdamW 0.001, dropout 0.5, 60": SLOW | SHORT | {"model.dropout": 0.5},
    "AdamW 0.001, depth 3, 60": SLOW | SHORT | DEEP,
    "AdamW 0.001, batch normalisation, 60": SLOW | SHORT | NORM,
    "AdamW 0.003, batch normalisation, 60": FAST | SHORT | NORM,
    "SGD 0.05, 180": SGD | LONG,
    "AdamW 0.001, 150": SLOW | {"train.epochs": 150},
    "AdamW 0.001, batch normalisation, 180": SLOW | LONG | NORM,
    "AdamW 0.001, depth 3, 180": SLOW | LONG | DEEP,
    "AdamW 0.003, batch normalisation, dropout 0.2, 180": FAST
    | LONG
    | NORM
    | {"model.dropout": 0.2},
}


BOTH_WAYS = {"model.bidirectional": True, "model.pooling": "mean"}
# Of the models of sequences: by their defaults, and by others that were tried.
SEQUENCES: dict[str, dict[str, Any]] = {
    "fcn": {},
    "fcn, 60": SHORT,
    "lstm, both ways, mean, 60": SHORT | BOTH_WAYS,
    "gru, mean, 60": SHORT | {"model.pooling": "mean"},
    "lstm, 60": SHORT,
    "rnn, 60": SHORT,
    "tcn, 60": SHORT,
    "resnet1d, 60": SHORT,
    "transformer, 60": SHORT,
}


def main() -> None:
    result = common.load("series")
    recipes = {name: MLP | own for name, own in RECIPES.items()}
    for name, own in SEQUENCES.items():
        recipes[name] = {"model.name": name.partition(",")[0], **own}
    recipes["default"] = {}
    todo = [("default", "test", seed) for seed in range(3)]
    todo += [(name, "folds", 0) for name in SEQUENCES]
    todo += [(name, "folds", seed) for name in RECIPES for seed in range(2)]
    todo += [(name, "test", seed) for name in ("mlp", ELSEWHERE) for seed in range(3)]
    for name, part, seed in todo:
        for data in SETS:
            key = {"recipe": name, "data": data, "part": part, "seed": seed}
            if not common.done(result, **key):
                score = measured(data, part, {**recipes[name], "train.seed": seed})
                common.add(result, {**key, "accuracy": score})
                print(key, score, flush=True)
    for row in result["rows"]:
        alike = [
            r for r in result["rows"] if all(r[k] == row[k] for k in ("recipe", "data", "part"))
        ]
        figures = common.spread([r["accuracy"] for r in alike])
        result["summary"].setdefault(row["recipe"], {})[f"{row['data']}, {row['part']}"] = figures
    common.save(result)


def measured(name: str, part: str, settings: dict[str, Any]) -> float:
    """Accuracy on the archive's test part, or over folds of its training part alone."""
    whole = FOLDER / f"{name}.npz"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        if part == "test":
            run = training.fit(str(whole), settings=settings, out=out, examples=False)
            return run.scores["test"]["accuracy"]
        alone = Path(folder) / whole.name
        arrays = np.load(whole)
        np.savez(alone, X=arrays["X_train"], y=arrays["y_train"])
        settings = {**settings, "data.folds": 5, "data.test": 0.0, "data.kind": "series"}
        run = training.cv(str(alone), settings=settings, out=out, examples=False)
        return float(np.mean([trial.scores["held_out"]["accuracy"] for trial in run.trials]))


if __name__ == "__main__":
    main()
