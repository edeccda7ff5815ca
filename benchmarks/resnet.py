"""ResNet-18 with the small stem, 3x32x32, batch 128: fitwell against a bare loop of torchvision's.

`python -m benchmarks.resnet`. The bare loop is everybody's default, float32 and NCHW; its network is
torchvision's `resnet18` with our stem, and both start from the same weights. The images are those of
Fashion-MNIST with two empty pixels on each side, in three channels.

Speed: 10 rounds of 5 steps, in one process and in alternating order. Accuracy: 3 seeds of 4 passes
over 5,120 images with the same learning rates, scored on the 10,000 test images, which nothing here
is chosen by.
"""

import copy
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from benchmarks import bare, common
from benchmarks.step import fitwell_seconds
from fitwell import data as fitwell_data
from fitwell.data import Data, Rows
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.train import loop, train_once
from fitwell.train.job import build_job

ROUNDS, STEPS, BATCH, LR = 10, 5, 128, 0.05
SEEDS, EPOCHS, TRAINED_ON = 3, 4, 40 * BATCH
CASE = "resnet18, 3x32x32, batch 128"


def main() -> None:
    result = common.load("resnet", timed=True)
    result["limits"] = {CASE: {"speed-up": "at least 2.3", "A/A": "0.95 to 1.05"}}
    data = None
    if not common.done(result, case="speed", round=ROUNDS - 1):
        data = coloured()
        for row in speed(data):
            common.add(result, row)
    for seed in range(SEEDS):
        if common.done(result, case="accuracy", seed=seed):
            continue
        data = data or coloured()
        common.add(result, accuracy(data, seed))
        print(result["rows"][-1], flush=True)
    timed = [r for r in result["rows"] if r["case"] == "speed"]
    scored = [r for r in result["rows"] if r["case"] == "accuracy"]
    images = BATCH * STEPS
    result["summary"] = {
        CASE: {
            "speed-up": common.spread([r["bare"] / r["fitwell"] for r in timed]),
            "A/A": common.spread([r["bare_again"] / r["bare"] for r in timed]),
            "bare images/s": common.spread([images / r["bare"] for r in timed]),
            "fitwell images/s": common.spread([images / r["fitwell"] for r in timed]),
            "bare, test accuracy": common.spread([r["bare"] for r in scored]),
            "fitwell, test accuracy": common.spread([r["fitwell"] for r in scored]),
            "fitwell - bare, test accuracy": common.spread(
                [r["fitwell"] - r["bare"] for r in scored]
            ),
        }
    }
    common.save(result)
    for name, figures in result["summary"][CASE].items():
        print(name, {k: round(v, 3) for k, v in figures.items()})


def coloured() -> Data:
    """Fashion-MNIST as 3x32x32, in the order of its files."""
    data = fitwell_data.read(str(common.FASHION), {})
    images = np.pad(data.inputs, ((0, 0), (0, 0), (2, 2), (2, 2))).repeat(3, axis=1)
    return fitwell_data.read((images, data.targets), {})


def recipe_for(data: Data, **settings: object) -> Recipe:
    base = {"model.name": "resnet", "train.batch_size": BATCH, "optim.lr": LR}
    return complete({**base, **settings}, data.spec)


def torchvision_twin(model: nn.Module) -> nn.Module:
    """torchvision's network with the small stem and the weights of ours, NCHW."""
    twin = models.resnet18(num_classes=10)
    twin.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    twin.maxpool = nn.Identity()  # type: ignore[assignment]
    twin.load_state_dict(model.state_dict())
    return twin.to(memory_format=torch.contiguous_format).train()


def speed(data: Data) -> list[dict[str, float | str | int]]:
    train = np.arange(20 * BATCH)
    rows = Rows(train, train[:0], train[:0])
    job = build_job(data, rows, recipe_for(data, **{"train.epochs": 100}), seed=0)
    state = loop.State()
    model = torchvision_twin(job.model)
    x = torch.from_numpy(job.preprocess.inputs(data.inputs[train]))
    y = torch.from_numpy(data.targets[train])
    arms = {
        "bare": lambda: bare.first(model, x, y, BATCH, STEPS, LR),
        "fitwell": lambda: fitwell_seconds(job, state, STEPS),
        "bare_again": lambda: bare.first(model, x, y, BATCH, STEPS, LR),
    }
    measured = common.alternated(arms, ROUNDS)
    return [
        {"case": "speed", "round": number, **seconds} for number, seconds in enumerate(measured)
    ]


def accuracy(data: Data, seed: int) -> dict[str, float | str | int]:
    """Test accuracy of both after equally many steps at the same learning rates."""
    generator = np.random.default_rng(seed)
    train = np.sort(generator.choice(60_000, TRAINED_ON, replace=False))
    test = np.arange(60_000, 70_000)
    rows = Rows(train, train[:0], test)
    recipe = recipe_for(data, **{"train.epochs": EPOCHS})
    job = build_job(data, rows, recipe, seed=seed)
    model = torchvision_twin(copy.deepcopy(job.model))
    x = torch.from_numpy(job.preprocess.inputs(data.inputs[train]))
    y = torch.from_numpy(data.targets[train])
    steps = EPOCHS * TRAINED_ON // BATCH
    rates = [LR * job.schedule(step / (steps - 1), ()) for step in range(steps)]
    started = time.perf_counter()
    train_bare(model, x, y, rates)
    bare_seconds = time.perf_counter() - started
    right = correct(model, job.preprocess.inputs(data.inputs[test]), data.targets[test])
    run = train_once(data, rows, recipe, seed=seed)
    return {
        "case": "accuracy",
        "seed": seed,
        "bare": right,
        "fitwell": run.scores["test"]["accuracy"],
        "bare seconds": bare_seconds,
        "fitwell seconds": sum(row["seconds"] for row in run.epochs),
        "precision": run.environment["precision"],
    }


def train_bare(model: nn.Module, x: Tensor, y: Tensor, rates: list[float]) -> None:
    """SGD as in `bare.first`, at a learning rate a step and in a new order a pass."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4, fused=True
    )
    order = torch.empty(0, dtype=torch.long)
    for rate in rates:
        if not len(order):
            order = torch.randperm(len(x))
        index, order = order[:BATCH], order[BATCH:]
        optimizer.param_groups[0]["lr"] = rate
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@torch.inference_mode()
def correct(model: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Share of the examples that it has right."""
    model.eval()
    outputs = [model(x).argmax(1) for x in torch.from_numpy(inputs).split(500)]
    return float((torch.cat(outputs).numpy() == targets).mean())


if __name__ == "__main__":
    main()
