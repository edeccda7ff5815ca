"""What looking costs: fitwell's loop with and without probes, and a bare loop with and without a watch.

`python -m benchmarks.probes`: LeNet at batch 128 and ResNet-18 (3x32x32, small stem) at batch 16, in which
a step is cheaper beside what is looked at. One process trains all arms by turns, a cycle of 50 steps each,
after which the default schedule looks again; each arm goes on from where it was, and its first cycle, with
the more frequent looks of the first steps, is not counted. A cycle takes the sum over its 50 places of the
median over the rounds of the step in that place: what else the machine does strikes single steps. The
spread is that of 400 bootstrap samples of the rounds.
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
from benchmarks.step import go_on
from fitwell import data as fitwell_data
from fitwell.data import Data, Rows
from fitwell.probes import Probes
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.train import loop
from fitwell.train.job import Job, build_job

STEPS, ROUNDS, LR = 50, {"lenet": 40, "resnet": 8}, 0.02
BATCH = {"lenet": 128, "resnet": 16}
MOST = 1.03
SAMPLES = 400


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
            "probed / not": ratio(mine, "probed", "fitwell"),
            "watched / not": ratio(mine, "watched", "bare"),
            "A/A": ratio(mine, "bare_again", "bare"),
            "ms a bare step": common.spread(
                [1000 * float(np.median(c)) for c in cycles_of(mine, "bare")]
            ),
        }
        common.save(result)
        print(name, {k: round(v["median"], 4) for k, v in result["summary"][name].items()})


def ratio(rows: list[dict[str, Any]], arm: str, other: str) -> dict[str, float]:
    """Seconds of a cycle of one arm over those of another, of bootstrap samples of the rounds."""
    seconds = [cycles_of(rows, name) for name in (arm, other)]
    random = np.random.default_rng(0)
    found = []
    for _ in range(SAMPLES):
        drawn = random.integers(0, len(rows), len(rows))
        cycles = [float(np.median(each[drawn], axis=0).sum()) for each in seconds]
        found.append(cycles[0] / cycles[1])
    return common.spread(found)


def as_text(seconds: list[float]) -> str:
    """The steps of a cycle in whole microseconds, in one line of the file."""
    return " ".join(str(round(1e6 * s)) for s in seconds)


def cycles_of(rows: list[dict[str, Any]], arm: str) -> np.ndarray:
    """[round, step] seconds."""
    return np.array([[1e-6 * int(s) for s in row[arm].split()] for row in rows])


def measured(name: str, data: Data) -> list[dict[str, Any]]:
    batch = BATCH[name]
    train = np.arange(batch * (STEPS + 1))  # a cycle ends within an epoch: nothing is evaluated
    rows = Rows(train, train[:0], train[:0])
    settings = {"model.name": name, "train.batch_size": batch, "optim.lr": LR, "train.epochs": 100}
    jobs = [build_job(data, rows, complete(settings, data.spec), seed=0) for _ in range(3)]
    source = jobs[2]
    x = torch.from_numpy(source.preprocess.inputs(data.inputs[train]))
    y = torch.from_numpy(data.targets[train])
    twins = [torchvision_twin(source.model) if name == "resnet" else _copy(source.model)]
    twins += [_copy(twins[0]), _copy(twins[0])]
    arms = {
        "fitwell": own(jobs[0], probed=False),
        "probed": own(jobs[1], probed=True),
        "bare": bare(twins[0], x, y, batch),
        "watched": bare(twins[1], x, y, batch, watch=True),
        "bare_again": bare(twins[2], x, y, batch),
    }
    for arm in arms.values():
        arm()
    found = []
    for number in range(ROUNDS[name]):
        order = [*arms.items()][:: -1 if number % 2 else 1]
        cycles = {arm: as_text(cycle()) for arm, cycle in order}
        found.append({"model": name, "batch": batch, "round": number, **cycles})
    return found


def own(job: Job, *, probed: bool) -> Callable[[], list[float]]:
    """fitwell's own loop, that goes on with each call; seconds of each step of a cycle."""
    state, run = loop.State(), Run()
    probes = Probes(job.model) if probed else None

    def cycle() -> list[float]:
        stamps: list[float] = []

        def stop() -> bool:
            stamps.append(time.perf_counter())
            return len(stamps) > STEPS

        go_on(job, state, run, probes, stop)
        return np.diff(stamps).tolist()

    return cycle


def bare(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, batch: int, watch: bool = False
) -> Callable[[], list[float]]:
    """A bare loop, likewise."""
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=5e-4, fused=True)
    watching = fw.watch(model, optimizer) if watch else None
    model.train()

    def cycle() -> list[float]:
        stamps = [time.perf_counter()]
        for index in torch.randperm(len(x))[: STEPS * batch].split(batch):
            loss = F.cross_entropy(model(x.index_select(0, index)), y.index_select(0, index))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if watching is not None:
                watching.step(loss)
            stamps.append(time.perf_counter())
        return np.diff(stamps).tolist()

    return cycle


def _copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)


if __name__ == "__main__":
    main()
