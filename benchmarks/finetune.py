"""Caltech-25 (1,230 training images of 25 classes) from ImageNet weights of SqueezeNet 1.0.

`python -m benchmarks.finetune`: three seeds of fine-tuning, each with one look at the 617 test
images; and an improvement that starts from a network without pretraining and is told where weights
are. The recipe was chosen on folds of the training images alone: `validate` gives the accuracy of a
recipe on them, and never reads the test images.
"""

import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.api import training
from fitwell.data import split
from fitwell.data.types import Data
from fitwell.resolve import complete
from fitwell.train import train_once

CALTECH = common.DATA / "caltech25"
WEIGHTS = common.DATA / "pretrained" / "squeezenet1_0_imagenet_dc.npz"
NETWORK = "torchvision:squeezenet1_0"
RECIPE: dict[str, Any] = {
    "model.name": NETWORK,
    "model.pretrained": str(WEIGHTS),
    "model.pooling": "both",  # nothing in it normalises its features
    "data.image_size": 224,  # as the weights were trained
    "data.resize": "squash",  # the objects fill their pictures: cropping loses parts of them
    "data.validation": 0.0,  # all of the training images train: nothing is selected by epoch
    "augment.hflip": 0.5,
    "augment.multi_scale": 0.125,  # as it is predicted: three sizes
    "augment.tta": "scales",
    "loss.label_smoothing": 0.0,
    "optim.lr": 0.01,
    "optim.weight_decay": 0.01,
    "train.epochs": 10,
    "train.batch_size": 32,
    "train.ema": 0.98,
    "train.freeze": 0.4,  # trained from the module fire5 on
    "train.backbone_lr": 0.1,
    "train.first_lr": 1.0,
    "train.members": 3,
}
# A small network from scratch on small images, so that an improvement takes half an hour.
START: dict[str, Any] = {
    "model.name": "convnet",
    "model.width": 16,
    "model.candidate": f"{NETWORK}={WEIGHTS}",
    "data.image_size": 64,
    "data.resize": "squash",
    "train.epochs": 15,
}
FLOOR = 0.950  # a linear probe of the same weights gives 0.935


def main() -> None:
    result = common.load("finetune")
    result["limits"] = {
        "fine-tuned": {"test accuracy": f"mean at least {FLOOR}"},
        "improve": {"verdict on fine-tuning": "helps"},
    }
    with tempfile.TemporaryDirectory() as folder:
        fine_tune(result, Path(folder))
        summarise(result)
        improve(result, Path(folder))
    summarise(result)
    print(result["summary"])


def summarise(result: dict[str, Any]) -> None:
    """What the rows that there are say."""
    result["summary"] = {}
    scores = [row["test"] for row in result["rows"] if row["case"] == "fine-tuned"]
    if scores:
        result["summary"]["fine-tuned"] = {"test accuracy": common.spread(scores)}
    for row in result["rows"]:
        if row["case"] == "improve":
            result["summary"]["improve"] = {
                "test accuracy before": row["before"],
                "test accuracy after": row["after"],
                "verdict on fine-tuning": row["decision"],
                "seconds": row["seconds"],
            }
    common.save(result)


def fine_tune(result: dict[str, Any], folder: Path) -> None:
    """Three seeds, each trained on all training images and tested once."""
    seeds = [s for s in range(3) if not common.done(result, case="fine-tuned", seed=s)]
    data = unpacked(folder, ("train", "test")) if seeds else None
    for seed in seeds:
        assert data is not None
        recipe = complete(RECIPE, data.spec)
        rows = split.fit_rows(data, recipe.section("data"), seed)
        started = time.perf_counter()
        run = train_once(data, rows, recipe, seed=seed)
        row = {
            "case": "fine-tuned",
            "seed": seed,
            "test": run.scores["test"]["accuracy"],
            "seconds": time.perf_counter() - started,
            "precision": run.environment["precision"],
            "recipe": dict(recipe),
        }
        common.add(result, row)
        print({k: v for k, v in row.items() if k != "recipe"}, flush=True)


def improve(result: dict[str, Any], folder: Path) -> None:
    """From a network without pretraining: is fine-tuning proposed, and proved?"""
    if common.done(result, case="improve"):
        return
    unpack(folder, ("train", "test"))
    better = training.improve(
        folder / "photos", settings=START, budget="30m", out=folder / "improve", examples=False
    )
    verdicts = [v for v in better.verdicts if "model.pretrained" in v.settings]
    row = {
        "case": "improve",
        "before": better.baseline["test"]["accuracy"],
        "after": better.final["test"]["accuracy"],
        "decision": verdicts[-1].decision if verdicts else "not tried",
        "verdicts": [v.to_json() for v in better.verdicts],
        "seconds": better.seconds,
        "recipe": {**better.recipe, "source": CALTECH.name},  # unpacked into a temporary folder
    }
    common.add(result, row)
    print({k: v for k, v in row.items() if k not in ("recipe", "verdicts")}, flush=True)


def validate(settings: dict[str, Any], folds: int = 5) -> list[float]:
    """Accuracy of each fold of the training images: what `RECIPE` was chosen by."""
    with tempfile.TemporaryDirectory() as folder:
        data = unpacked(Path(folder), ("train",), settings)
    recipe = complete({**RECIPE, "data.test": 0.0, **settings}, data.spec)
    scores = []
    for fold in range(folds):
        rows = split.fold_rows(data, recipe.section("data"), fold=fold, repeat=0, seed=0)
        run = train_once(data, rows, recipe, fold=fold)
        scores.append(run.scores["held_out"]["accuracy"])
        print(fold, scores[-1], flush=True)
    return scores


def unpacked(folder: Path, parts: tuple[str, ...], settings: dict[str, Any] | None = None) -> Data:
    """The images of these parts, read."""
    unpack(folder, parts)
    chosen = {**RECIPE, **(settings or {})}
    options = {k[5:]: v for k, v in chosen.items() if k.startswith("data.")}
    return fitwell_data.read(str(folder / "photos"), options)


def unpack(folder: Path, parts: tuple[str, ...]) -> None:
    """`photos/train/<class>/` and `photos/test/<class>/` by the published lists, once."""
    if (folder / "photos").exists():
        return
    with tarfile.open(CALTECH / "caltech25.tar") as archive:
        archive.extractall(folder / "all", filter="data")
    for part in parts:
        for name in (CALTECH / f"{part}.txt").read_text(encoding="utf-8").split():
            place = folder / "photos" / part / name
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / "all" / name).rename(place)


if __name__ == "__main__":
    main()
