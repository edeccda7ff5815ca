"""Several trainings from the same pretrained weights, and the average of what they end with.

Source: Wortsman et al. 2022, Model soups, ICML (the uniform soup): trainings that start at the same
pretrained weights end in one valley, so that the average of their weights is as good as the average of
their predictions, and costs no more than one network.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from fitwell.record import Run
from fitwell.train.distributed import Processes
from fitwell.train.job import Job
from fitwell.train.loop import Progress, State, train
from fitwell.weights import load_exactly

_APART = 104729  # from one member's seed to the next one's


def train_members(
    job: Job,
    state: State,
    run: Run,
    build: Callable[[int], Job],
    *,
    progress: Progress,
    should_stop: Callable[[], bool],
    after_member: Callable[[], None],
    processes: Processes,
) -> None:
    """Train the members after the first one, which `state.best` is of, and let it be their average.

    All of them start where the first one did, and see the examples in another order and otherwise
    augmented. Each leaves a row of evidence (experiment `member`: its scores at its end); the rows of
    steps, epochs and probes are the first one's. No member is begun that would not end within
    `train.max_seconds`.

    Args:
        build: seed -> the job of another member, whose weights do not matter.
        after_member: called when one has ended, to write it down.

    Raises:
        TrainingError: the loss of one is not finite.
    """
    settings = job.recipe.section("train")
    if not state.member:
        _gather(state, run, state.best, run.epochs[state.best_epoch])
        after_member()
    while state.member < settings["members"] and _in_time(state, float(settings["max_seconds"])):
        number, began = state.member, time.perf_counter()
        other = build((run.seed + _APART * number) % 2**31)
        for model in (other.model, *([other.average.module] if other.average is not None else [])):
            load_exactly(model, state.start)
        scratch, own = Run(recipe=run.recipe, spec=run.spec, seed=run.seed), State()
        train(
            other,
            own,
            scratch,
            probes=None,
            progress=told_of(progress, number, int(settings["members"])),
            should_stop=should_stop,
            after_epoch=lambda: None,
            processes=processes,
        )
        if scratch.status == "interrupted":
            run.status = "interrupted"
            return
        state.seconds += time.perf_counter() - began
        _gather(state, run, own.best, scratch.epochs[own.best_epoch])
        after_member()
    state.best = dict(state.gathered)
    load_exactly(job.evaluated, state.best)
    if _measure_again(job):
        state.best = {k: job.evaluated.state_dict()[k].detach().cpu().clone() for k in state.best}


def told_of(progress: Progress, number: int, members: int) -> Progress:
    """The progress of member `number`, from 0, as a part of all of them."""

    each = 0.0  # seconds an epoch, of which the last one tells nothing more

    def tell(event: str, **facts: Any) -> None:
        nonlocal each
        if event == "epoch":
            epoch, epochs = facts["epoch"], facts["epochs"]
            each = facts["seconds_left"] / (epochs - epoch) if epoch < epochs else each
            left = each * ((members - number) * epochs - epoch)
            place = {"epoch": number * epochs + epoch, "epochs": members * epochs}
            facts |= {**place, "seconds_left": left}
        progress(event, **facts)

    return tell


def _gather(state: State, run: Run, weights: dict[str, Tensor], row: dict[str, Any]) -> None:
    """Take the weights of a member into the average, and its scores into the evidence."""
    share = 1 / (state.member + 1)
    state.gathered = {
        name: torch.lerp(state.gathered.get(name, value), value, share)
        if value.is_floating_point()
        else value
        for name, value in weights.items()
    }
    scores = {part: row[part] for part in ("train", "validation")}
    run.evidence.append({"experiment": "member", "member": state.member, **scores})
    state.member += 1


def _in_time(state: State, limit: float) -> bool:
    return not limit or state.seconds * (state.member + 1) / max(1, state.member) <= limit


@torch.no_grad()
def _measure_again(job: Job) -> bool:
    """Take the statistics of batch normalisations from the training examples anew: those of the average's
    activations are no average. Whether there are any."""
    job.start_epoch(job.epochs)  # frozen ones stand still
    names = {n for n, m in job.model.named_modules() if isinstance(m, _BatchNorm) and m.training}
    norms = [m for n, m in job.evaluated.named_modules() if n in names]
    kept = [(norm, norm.momentum) for norm in norms if isinstance(norm, _BatchNorm)]
    if not kept:
        return False
    was = job.evaluated.training
    job.evaluated.eval()
    for norm, _ in kept:
        norm.reset_running_stats()
        norm.momentum = None  # all batches alike
        norm.train()
    for batch in job.batches.epoch(0):
        job.evaluated(batch.x)
    for norm, momentum in kept:
        norm.momentum = momentum
    job.evaluated.train(was)
    return True
