"""Labels and leaks: are the doubtful labels the wrong ones, and does the score fall as was said?

`python -m benchmarks.trust`, on Fashion-MNIST, each with the default recipe and 5 folds:

- labels: the 60,000 training images, a tenth of their labels changed to another class at random, by three
  seeds; and as they are. Precision and recall of the list of doubtful examples, as long as it is.
- leaks: 10,000 of them, 2,000 of which stand there twice, by three seeds: the score that the finding
  expects without the copies, and the score of a training without them.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fitwell as fw
from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.record import Finding, Run

FLIPPED, SEEDS, FOLDS = 0.1, 3, 5
EXAMPLES, COPIES = 10_000, 2_000
LIMITS = {
    "labels": {
        "precision": "at least 0.8",
        "recall": "at least 0.7",
        "doubtful on clean labels": "none",
    },
    "leaks": {"expected - measured": "within 0.01 of 0"},
}


def main() -> None:
    result = common.load("trust")
    result["limits"] = LIMITS
    data = fitwell_data.read(str(common.FASHION), {})
    train = data.part != "test"
    x, y = data.inputs[train], data.targets[train]
    for seed in range(SEEDS):
        if not common.done(result, case="labels", seed=seed):
            common.add(result, {"case": "labels", "seed": seed, **labels(x, y, seed)})
        if not common.done(result, case="leaks", seed=seed):
            common.add(result, {"case": "leaks", "seed": seed, **leaks(x, y, seed)})
        print(result["rows"][-2:], flush=True)
    if not common.done(result, case="clean labels"):
        common.add(result, {"case": "clean labels", **labels(x, y, 0, flipped=0.0)})
    result["summary"] = summary(result["rows"])
    common.save(result)
    print(result["summary"])


def labels(x: np.ndarray, y: np.ndarray, seed: int, flipped: float = FLIPPED) -> dict[str, Any]:
    """A row: how long the list of doubtful examples is, and how many of them are wrong."""
    random = np.random.default_rng(seed)
    wrong = np.zeros(len(y), bool)
    wrong[random.choice(len(y), round(flipped * len(y)), replace=False)] = True
    noisy = np.where(wrong, (y + random.integers(1, 10, len(y))) % 10, y)
    run = validated(x, noisy, "lenet", seed)
    row: dict[str, Any] = {"wrong": int(wrong.sum()), "accuracy": score(run), "doubtful": 0}
    if (finding := found(run, "label_noise")) is not None:
        part = run.predictions["held_out"]
        doubtful = part.index[np.isin(part.keys, finding.evidence["keys"])]
        hits = int(wrong[doubtful].sum())
        row |= {"doubtful": len(doubtful), "precision": hits / len(doubtful)}
        row |= {"recall": hits / max(1, wrong.sum()), "confidence": finding.confidence}
    return row


def leaks(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    """A row: the score with copies, what is expected without, and what is measured without."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(y), EXAMPLES, replace=False)
    twice = random.permutation(np.concatenate([chosen, chosen[:COPIES]]))
    run = validated(x[twice], y[twice], "mlp", seed)
    finding = found(run, "leakage", measure=True)
    row: dict[str, Any] = {"score": score(run), "found": finding is not None}
    if finding is not None:
        row |= {"copied": finding.evidence["copied"], "expected": finding.evidence["score_without"]}
    return row | {"measured": score(validated(x[chosen], y[chosen], "mlp", seed))}


def validated(x: np.ndarray, y: np.ndarray, model: str, seed: int) -> Run:
    settings = {"data.folds": FOLDS, "data.test": 0.0, "train.seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        names = np.array([f"class {value}" for value in y])
        out = Path(folder) / "cv"
        return fw.cv((x, names), model=model, settings=settings, out=out, examples=False)


def score(run: Run) -> float:
    return float(np.mean([trial.scores["held_out"]["accuracy"] for trial in run.trials]))


def found(run: Run, name: str, *, measure: bool = False) -> Finding | None:
    return next((f for f in fw.diagnose(run, measure=measure) if f.name == name), None)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    noisy = [row for row in rows if row["case"] == "labels"]
    copied = [row for row in rows if row["case"] == "leaks"]
    clean = next((row["doubtful"] for row in rows if row["case"] == "clean labels"), None)
    return {
        "labels": {
            "precision": common.spread([row.get("precision", 0.0) for row in noisy]),
            "recall": common.spread([row.get("recall", 0.0) for row in noisy]),
            "doubtful on clean labels": clean if clean else "none",
        },
        "leaks": {
            "fall measured": common.spread([row["score"] - row["measured"] for row in copied]),
            "fall expected": common.spread(
                [row["score"] - row.get("expected", row["score"]) for row in copied]
            ),
            "expected - measured": common.spread(
                [row.get("expected", row["score"]) - row["measured"] for row in copied]
            ),
        },
    }


if __name__ == "__main__":
    main()
