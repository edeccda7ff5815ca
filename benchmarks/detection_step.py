"""Detection: a training step of nano at 320 pixels, what its loss takes of it, and the time to find.

`python -m benchmarks.detection_step`. The bare loop is everybody's default, float32 and NCHW, with the
same network, loss, optimizer and pictures (BCCD, not augmented). Seconds are of alternating rounds in
one process; what is found is timed from a decoded picture to its boxes.
"""

import copy
import time
from typing import Any

import numpy as np
import torch

from benchmarks import common
from benchmarks.detection import FOLDER, rows_of
from benchmarks.step import fitwell_seconds
from fitwell.data import read
from fitwell.nn.losses import LOSSES
from fitwell.resolve import complete
from fitwell.tasks.detection import decode
from fitwell.train.job import Job, build_job
from fitwell.train.loop import State
from fitwell.train.machine import autocast

ROUNDS, STEPS, BATCH, FOUND = 6, 3, 16, 20
CASE = "yolo nano, 3x320x320, batch 16"


def main() -> None:
    result = common.load("detection_step", timed=True)
    result["limits"] = {
        CASE: {
            "speed-up": "at least 1.5 with AVX512_BF16",
            "share of the loss": "at most 0.15",
            "found in, s": "at most 0.04",
        }
    }
    if not common.done(result, case="speed", round=ROUNDS - 1):
        for row in speed():
            common.add(result, row)
    rows = result["rows"]
    result["summary"] = {
        CASE: {
            "speed-up": common.spread([r["bare"] / r["fitwell"] for r in rows]),
            "images/s": common.spread([BATCH * STEPS / r["fitwell"] for r in rows]),
            "share of the loss": common.spread([r["loss"] / r["fitwell"] for r in rows]),
            "found in, s": common.spread([r["found"] / FOUND for r in rows]),
        }
    }
    common.save(result)
    for name, figures in result["summary"][CASE].items():
        print(name, {k: round(v, 4) for k, v in figures.items()})


def speed() -> list[dict[str, Any]]:
    """Seconds of each arm, a row a round."""
    data = read(str(FOLDER), {"annotations": "voc"})
    settings = {"augment.policy": "none", "train.batch_size": BATCH, "train.ema": 0.0}
    recipe = complete(settings, data.spec)
    job = build_job(data, rows_of(data, "validation"), recipe, seed=0)
    x = torch.from_numpy(job.preprocess.inputs(np.asarray(data.inputs[: 4 * BATCH])))
    y = torch.from_numpy(data.targets[: 4 * BATCH])
    plain = copy.deepcopy(job.model).to(memory_format=torch.contiguous_format)
    state = State()
    arms = {
        "fitwell": lambda: fitwell_seconds(job, state, STEPS),
        "bare": lambda: bare(plain, x, y),
        "loss": lambda: loss_seconds(job, x[:BATCH], y[:BATCH]),
        "found": lambda: found_seconds(job, x),
    }
    rows = common.alternated(arms, ROUNDS)
    facts = {"case": "speed", "precision": job.precision}
    return [{**facts, "round": i, **row} for i, row in enumerate(rows)]


def bare(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Seconds of the steps of a plain loop."""
    model, loss = copy.deepcopy(model).train(), LOSSES["boxes"]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    started = time.perf_counter()
    for step in range(STEPS):
        at = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        loss(model(x[at]), y[at]).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def loss_seconds(job: Job, x: torch.Tensor, y: torch.Tensor) -> float:
    """Seconds of assignment and loss, and their way back, of as many steps."""
    with torch.no_grad(), autocast(job.precision, job.device):
        outputs = job.model(x)
    outputs = outputs.float().requires_grad_(True)
    started = time.perf_counter()
    for _ in range(STEPS):
        torch.autograd.grad(job.training_loss(outputs, y).sum(), outputs)
    return time.perf_counter() - started


def found_seconds(job: Job, x: torch.Tensor) -> float:
    """Seconds of the boxes of pictures, one after another."""
    model = job.model.eval()
    started = time.perf_counter()
    for i in range(FOUND):
        one = x[i : i + 1].contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), autocast(job.precision, job.device):
            outputs = model(one).float()
        decode(outputs.numpy(), None, lambda numbers: numbers)
    model.train()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
