"""What looking costs: fitwell's loop with and without probes, and a bare loop with and without a watch.

`python -m benchmarks.probes`: LeNet at batch 128 and ResNet-18 (3x32x32, small stem) at batch 16, in which
a step is cheaper beside what is looked at; pieces of a long training in one process and alternating order,
long enough to hold as many probes as the default schedule has. The pieces of an arm go on from each other:
the first, with the more frequent probes of the first steps, is not counted.
"""

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import fitwell as fw
from benchmarks import common
from benchmarks.resnet import coloured, torchvision_twin
from benchmarks.step import fitwell_seconds
from fitwell import data as fitwell_data
from fitwell.data import Data, Rows
from fitwell.resolve import complete
from fitwell.train import loop
from fitwell.train.job import build_job

STEPS, ROUNDS, LR = 50, {"lenet": 20, "resnet": 6}, 0.02
BATCH = {"lenet": 128, "resnet": 16}
PIECES = {"lenet": 4, "resnet": 1}  # of 50 steps a round
MOST = 1.03


def main() -> None:
    result = common.load("probes", timed=True)
    result["limits"] = {
        name: {"probed / not": f"at most {MOST}", "watched / not": f"at most {MOST}"}
        for name in BATCH
    }
    for name in BATCH:
        if not common.done(result, model=name, round=ROUNDS[name] - 1):
            data = coloured() if name == "resnet" else fitwell_data.read(str(common.FASHION), {})
            for row in measured(name, data):
                common.add(result, row)
        mine = [row for row in result["rows"] if row["model"] == name]
        result["summary"][name] = {
            "probed / not": common.spread([r["probed"] / r["fitwell"] for r in mine]),
            "watched / not": common.spread([r["watched"] / r["bare"] for r in mine]),
            "A/A": common.spread([r["bare_again"] / r["bare"] for r in mine]),
            "ms a bare step": common.spread([1000 * r["bare"] / r["steps"] for r in mine]),
        }
        common.save(result)
        print(name, {k: round(v["median"], 4) for k, v in result["summary"][name].items()})


def measured(name: str, data: Data) -> list[dict[str, Any]]:
    batch, steps = BATCH[name], STEPS * PIECES[name]
    train = np.arange(batch * (steps + 1))  # a piece ends within an epoch: nothing is evaluated
    rows = Rows(train, train[:0], train[:0])
    settings = {"model.name": name, "train.batch_size": batch, "optim.lr": LR, "train.epochs": 100}
    jobs = [build_job(data, rows, complete(settings, data.spec), seed=0) for _ in range(3)]
    states = [loop.State(), loop.State()]
    source = jobs[2]
    x = torch.from_numpy(source.preprocess.inputs(data.inputs[train]))
    y = torch.from_numpy(data.targets[train])
    twins = [torchvision_twin(source.model) if name == "resnet" else _copy(source.model)]
    twins += [_copy(twins[0]), _copy(twins[0])]
    arms = {
        "fitwell": lambda: fitwell_seconds(jobs[0], states[0], steps, probed=False),
        "probed": lambda: fitwell_seconds(jobs[1], states[1], steps),
        "bare": going(twins[0], x, y, batch, steps),
        "watched": going(twins[1], x, y, batch, steps, watch=True),
        "bare_again": going(twins[2], x, y, batch, steps),
    }
    about = {"model": name, "steps": steps, "batch": batch}
    found = common.alternated(arms, ROUNDS[name])
    return [{**about, "round": number, **seconds} for number, seconds in enumerate(found)]


def going(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, batch: int, steps: int, watch: bool = False
) -> Callable[[], float]:
    """A bare loop that goes on with each call; the seconds of so many steps."""
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=5e-4, fused=True)
    watching = fw.watch(model, optimizer) if watch else None
    model.train()

    def seconds() -> float:
        started = time.perf_counter()
        for index in torch.randperm(len(x))[: steps * batch].split(batch):
            loss = F.cross_entropy(model(x.index_select(0, index)), y.index_select(0, index))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if watching is not None:
                watching.step(loss)
        return time.perf_counter() - started

    return seconds


def _copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)


if __name__ == "__main__":
    main()
