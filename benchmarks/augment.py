"""Augmented batches against torchvision's v2, which changes one image at a time.

`python -m benchmarks.augment` alternates, in one process and 10 rounds, ours on whole batches with v2 on
the same images: 32x32 with flip, crop and scale, and the same with colours; from 256x256 to 224x224; and
an epoch of LeNet on Fashion-MNIST with flip, crop and scale with a plain one.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from benchmarks import common
from benchmarks.step import fitwell_seconds
from fitwell import data as fitwell_data
from fitwell.augment import Augment, augment_settings
from fitwell.data.split import Rows
from fitwell.resolve import complete
from fitwell.train.job import build_job
from fitwell.train.loop import State

ROUNDS, IMAGES, BATCH, SIDE = 10, 4096, 128, 32
LARGE_IMAGES, LARGE, SEEN = 256, 256, 224
CROP, SCALE = [0.6, 1.0], [0.9, 1.1]
GEOMETRY = {"hflip": 0.5, "crop": CROP, "scale": SCALE}
COLOURS = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05}
LIMITS = {
    "32x32, flip, crop, scale, colour": {"images/s by v2's": "at least 8"},
    "256 to 224, flip, crop, scale": {"images/s by v2's": "at least 1"},
    "256 to 224, flip, crop, scale, colour": {"images/s by v2's": "at least 1"},
    "lenet, epoch with flip, crop, scale": {"seconds by the plain epoch's": "at most 1.35"},
}
STEPS = 75


def main() -> None:
    result = common.load("augment", timed=True)
    result["limits"] = LIMITS
    result["rows"], result["summary"] = [], {}
    small, large = (IMAGES, SIDE, SIDE), (LARGE_IMAGES, LARGE, SEEN)
    cases = {
        "32x32, flip, crop, scale": (GEOMETRY, small),
        "32x32, flip, crop, scale, colour": (GEOMETRY | COLOURS, small),
        "256 to 224, flip, crop, scale": (GEOMETRY, large),
        "256 to 224, flip, crop, scale, colour": (GEOMETRY | COLOURS, large),
    }
    for case, (changes, sizes) in cases.items():
        rounds = common.alternated(images(changes, *sizes), ROUNDS)
        count = sizes[0]
        ratios = [row["v2"] / row["fitwell"] for row in rounds]
        common.add(result, {"case": case, "rounds": rounds, "images": count})
        result["summary"][case] = {
            "images/s by v2's": common.spread(ratios),
            "images/s": common.spread([count / row["fitwell"] for row in rounds]),
            "images/s of v2": common.spread([count / row["v2"] for row in rounds]),
        }
        print(case, result["summary"][case], flush=True)
    case = "lenet, epoch with flip, crop, scale"
    rounds = common.alternated(epochs(), ROUNDS)
    common.add(result, {"case": case, "rounds": rounds, "steps": STEPS})
    ratios = [row["augmented"] / row["plain"] for row in rounds]
    result["summary"][case] = {"seconds by the plain epoch's": common.spread(ratios)}
    print(case, result["summary"][case], flush=True)
    common.save(result)


def images(
    changes: dict[str, Any], count: int, side: int, seen: int
) -> dict[str, Callable[[], float]]:
    """Seconds for so many images of side x side, of which seen x seen come out, ours and v2's."""
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (count, 3, side, side), np.uint8)
    )
    settings = augment_settings(**changes)
    size = (seen, seen) if seen < side else None
    ours = Augment(settings, empty=np.zeros(3), full=np.ones(3), seed=0, size=size)
    steps: list[Any] = [
        v2.RandomHorizontalFlip(0.5),
        v2.RandomResizedCrop(seen, scale=(CROP[0], CROP[1]), antialias=True),
        v2.RandomAffine([0.0, 0.0], scale=tuple(SCALE)),
    ]
    if "hue" in changes:
        steps.append(v2.ColorJitter(0.3, 0.3, 0.3, 0.05))
    theirs = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])

    def fitwell() -> float:
        started = time.perf_counter()
        for step, batch in enumerate(pixels.split(BATCH)):
            ours(batch.float().div_(255), 0, step)
        return time.perf_counter() - started

    def by_image() -> float:
        started = time.perf_counter()
        for batch in pixels.split(BATCH):
            torch.stack([theirs(image) for image in batch])
        return time.perf_counter() - started

    return {"fitwell": fitwell, "v2": by_image}


def epochs() -> dict[str, Callable[[], float]]:
    """Seconds of so many steps of LeNet in fitwell's own loop, with augmentation and without."""
    data = fitwell_data.read(str(common.FASHION), {"limit": 0})
    train = np.arange(79 * BATCH)
    rows = Rows(train, train[:0], train[:0])
    plain = {"model.name": "lenet", "train.batch_size": BATCH, "train.epochs": 100}
    changes = {f"augment.{name}": value for name, value in GEOMETRY.items()}

    def arm(settings: dict[str, Any]) -> Callable[[], float]:
        job, state = build_job(data, rows, complete(settings, data.spec), seed=0), State()
        return lambda: fitwell_seconds(job, state, STEPS)

    return {"plain": arm(plain), "augmented": arm(plain | changes)}


if __name__ == "__main__":
    main()
