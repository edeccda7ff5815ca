"""Detection: `yolo` from scratch on BCCD (blood cells), by its official lists.

`python -m benchmarks.detection validate`: recipes trained on the list `train`, scored on `val`, by which
the defaults are chosen. Without an argument: 3 seeds of the default recipe trained on `train` and `val`,
each scored once on `test`. A training that is stopped goes on where it was; its folder is in the cache.

To compare: YOLOv8n is quoted at a map50 of 0.92 on BCCD, pretrained on COCO, on another split.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from fitwell import store
from fitwell.caching import cache_folder
from fitwell.data import Data, read
from fitwell.data.split import Rows
from fitwell.findings import diagnose
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.train import resume, train_once

FOLDER = common.DATA / "bccd"
SEEDS = (0, 1, 2)
MOST_SECONDS = 2400.0  # of a training, on 2 cores
# Cells under a microscope have no up.
DEFAULT: dict[str, Any] = {"augment.vflip": 0.5, "train.max_seconds": MOST_SECONDS}
RECIPES: dict[str, dict[str, Any]] = {
    "default": DEFAULT,
    "no mosaic": DEFAULT | {"augment.mosaic": 0.0},
    "416 pixels": DEFAULT | {"data.image_size": 416},
    "SGD 0.01": DEFAULT | {"optim.name": "sgd", "optim.lr": 0.01, "optim.weight_decay": 5e-4},
    "AdamW 0.004": DEFAULT | {"optim.lr": 4e-3},
    "quality focal": DEFAULT | {"loss.gamma": 2.0},
}


def main() -> None:
    result = common.load("detection")
    result["limits"] = {
        "default, test": {"map50": "mean at least 0.85", "seconds": f"at most {MOST_SECONDS:.0f}"}
    }
    todo = [("default", "test", seed) for seed in SEEDS]
    if sys.argv[1:] == ["validate"]:
        todo = [(name, "validation", 0) for name in RECIPES]
    for name, part, seed in todo:
        key = {"recipe": name, "part": part, "seed": seed}
        if not common.done(result, **key):
            row = measured(name, part, seed)
            common.add(result, {**key, **row})
            print(key, row["map50"], flush=True)
    for part in ("validation", "test"):
        for name in RECIPES:
            rows = [r for r in result["rows"] if (r["recipe"], r["part"]) == (name, part)]
            if rows:
                figures = {
                    k: common.spread([r[k] for r in rows]) for k in ("map50", "map", "seconds")
                }
                for kind in rows[0]["classes"]:
                    scores = [r["classes"][kind]["map50"] for r in rows]
                    figures[f"map50 of {kind}"] = common.spread(scores)
                result["summary"][f"{name}, {part}"] = figures
    common.save(result)


def measured(name: str, part: str, seed: int) -> dict[str, Any]:
    """The scores of one training, by class too; a look at the test part is counted."""
    settings = RECIPES[name]
    size = settings.get("data.image_size", 0)
    data = read(str(FOLDER), {"image_size": size, "annotations": "voc"})
    rows = rows_of(data, part)
    recipe = complete({**settings, "source": str(FOLDER), "train.seed": seed}, data.spec)
    place = cache_folder() / "benchmarks" / f"bccd-{name.replace(' ', '-')}-{part}-{seed}"
    run = trained(data, rows, recipe, seed, place)
    scores = run.scores["test" if part == "test" else "validation"]
    found: dict[str, Any] = {k: scores[k] for k in ("map50", "map")}
    if part == "test":
        looks = store.look_at_test(data.test_fingerprint(rows.held_out), place.name)
        found["test_looks"] = looks
    (boxes,) = (row for row in run.evidence if row["experiment"] == "boxes")
    by_class = {
        one["name"]: {k: one[k] for k in ("boxes", "map50", "map")} for one in boxes["classes"]
    }
    return found | {
        "classes": by_class,
        "lost": boxes["lost"],
        "findings": {f.name: f.sentence for f in diagnose([run])},
        "epochs": len(run.epochs),
        "seconds": run.seconds,
        "threads": run.environment["threads"],
        "precision": run.environment["precision"],
    }


def rows_of(data: Data, part: str) -> Rows:
    """The official lists: of `test` the others are trained on, of `validation` the list `train` alone."""
    none = np.empty(0, np.int64)
    test, validation = (np.flatnonzero(data.part == name) for name in ("test", "validation"))
    train = np.flatnonzero((data.part != "test") & (data.part != "validation"))
    if part == "test":
        return Rows(np.sort(np.concatenate([train, validation])), none, test)
    return Rows(train, validation, none)


def trained(data: Data, rows: Rows, recipe: Any, seed: int, place: Path) -> Run:
    """A training, gone on with where it was stopped."""
    if (place / "run.json").exists():
        return resume(place, data, rows)
    place.mkdir(parents=True, exist_ok=True)
    return train_once(data, rows, recipe, seed=seed, folder=place)


if __name__ == "__main__":
    main()
