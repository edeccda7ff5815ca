"""The training loop, to be read aloud from top to bottom. It never asks which task it is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fitwell.errors import TrainingError
from fitwell.nn.tying import state_of
from fitwell.probes import Probes
from fitwell.record import Run
from fitwell.schedules import Losses
from fitwell.train.distributed import ALONE, Processes
from fitwell.train.evaluate import evaluate_part
from fitwell.train.generating import sample_of
from fitwell.train.job import Job
from fitwell.train.machine import autocast
from fitwell.train.step_losses import StepLosses, refuse_nonfinite

Progress = Callable[..., None]
# Each of these costs about one more step, so they are rare (`benchmarks/step.py` measures it).
PROBE_EVERY = 50
FEWEST_PROBES = 10  # of a short training


class GivenUp(TrainingError):
    """A training that was too far behind another one to be followed to its end."""


@dataclass
class State:
    """Where training stands: all that a checkpoint needs beside weights and optimizer.

    Args:
        stop_after: epochs; 0: the recipe's.
        floor: [epoch] the least validation score that goes on; None where any does.
        best: the weights to keep, as far as is known.
        carried: the recurrent state within an epoch, where it is carried from batch to batch: "0", "1".
        member: of `train.members`, how many have ended; `start` is what each starts from, and `gathered`
            the average of those that have.
    """

    epoch: int = 0
    step: int = 0  # within the epoch
    total_step: int = 0
    best_score: float | None = None
    best_epoch: int = -1
    seconds: float = 0.0
    stop_after: int = 0
    floor: Sequence[float | None] = ()
    member: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    carried: dict[str, Tensor] = field(default_factory=dict)
    start: dict[str, Tensor] = field(default_factory=dict)
    gathered: dict[str, Tensor] = field(default_factory=dict)


def train(
    job: Job,
    state: State,
    run: Run,
    *,
    probes: Probes | None,
    progress: Progress,
    should_stop: Callable[[], bool],
    after_epoch: Callable[[], None],
    processes: Processes = ALONE,
) -> None:
    """Train from `state` to the end, appending rows to `run`.

    `after_epoch` is called when an epoch is recorded (to write it down), `should_stop` before each
    step; where it says yes, the loop returns with `run.status` = "interrupted". Where several
    `processes` train together each runs this loop.

    Raises:
        TrainingError: the loss is not finite; names the step and the layer.
    """
    last_epoch = state.stop_after or job.epochs
    settings = job.recipe.section("train")
    losses = StepLosses(job, run)
    probe_every = min(PROBE_EVERY, max(1, job.total_steps // FEWEST_PROBES))
    before = state.seconds
    started = time.perf_counter()
    while state.epoch < last_epoch:
        job.start_epoch(state.epoch)
        take_up(job, state)
        model = processes.parallel(job.model, job.batches)
        watched = [(row["validation"] or row["train"])["loss"] for row in run.epochs]
        epoch_started, waiting, seen = time.perf_counter(), 0.0, 0
        batches = job.batches.epoch(state.epoch, state.step)
        while True:
            if processes.any(should_stop()):
                losses.read()
                run.status = "interrupted"
                state.seconds = before + time.perf_counter() - started
                return
            asked = time.perf_counter()
            batch = next(batches, None)
            waiting += time.perf_counter() - asked
            if batch is None:
                break
            lr = set_lr(job, state.total_step, watched)
            probing = probes is not None and state.total_step % probe_every == 0
            if probes is not None and probing:
                probes.before_step()
            processes.draw_apart(job.batches.seed, state.total_step)
            with autocast(job.precision, job.device):
                outputs = model(processes.mine(batch.x))
            values = job.values(outputs.float(), batch, processes.mine)
            normaliser = job.task.normaliser(values, processes.mine(batch.y))
            loss, of_all = processes.mean(values, normaliser)
            losses.add(of_all, state, lr, len(batch.y), batch.x)
            loss.backward()
            if probes is not None and probing:
                probes.after_backward()
            grad_norm = clip(job.model, settings, measure=probing)
            if grad_norm is not None:
                losses.add_norm(grad_norm)
            job.step()  # and forget the gradients
            if job.average is not None:
                job.average.update_parameters(job.model)
            if probes is not None and probing:
                run.probes += probes.after_step(state.total_step, state.epoch)
            state.step += 1
            state.total_step += 1
            seen += len(batch.y)
        losses.read()
        job.end_epoch()
        seconds = time.perf_counter() - epoch_started
        row: dict[str, Any] = {
            "epoch": state.epoch,
            "seconds": seconds,
            "waiting": waiting / seconds,
            "lr": run.steps[-1]["lr"],
            "examples": seen,
        }
        state.epoch, state.step = state.epoch + 1, 0
        state.seconds = before + time.perf_counter() - started
        validation = processes.first(partial(validation_scores, job))
        better = is_better(job, state, validation)
        if processes.first(partial(ends_early, job, state, settings)):
            last_epoch = state.epoch
        last = state.epoch == last_epoch
        train = processes.first(partial(train_scores, job, run, state, probes, last=last))
        row |= {"train": train, "validation": validation}
        run.epochs.append(row)
        if probes is not None and rarely(state.epoch, last=last):
            run.evidence += sample_of(job, state.epoch - 1)
        refuse_nonfinite(job, row)
        give_up(job, state, validation)
        if better:
            state.best = copy_of(job.evaluated)
        state.seconds = before + time.perf_counter() - started
        left = (last_epoch - state.epoch) * (time.perf_counter() - epoch_started)
        progress(
            "epoch",
            epoch=state.epoch,
            epochs=last_epoch,
            loss=row["train"]["loss"],
            score=(row["validation"] or row["train"])[job.metric_name],
            examples_per_second=seen / seconds,
            lr=row["lr"],
            waiting=row["waiting"],
            seconds_left=left,
        )
        after_epoch()
    run.status = "done"


def take_up(job: Job, state: State) -> None:
    """Go on within a text with the recurrent state of the checkpoint."""
    if job.carried and state.step:
        held = (state.carried[name].to(job.device) for name in sorted(state.carried))
        job.recurrent.state = tuple(held) or None


def set_lr(job: Job, total_step: int, watched: Losses) -> float:
    """The learning rate of this step, set and returned.

    Args:
        watched: the validation loss of each epoch before (the training loss where there is none).
    """
    progress = total_step / max(1, job.total_steps - 1)
    lr = float(job.recipe["optim.lr"]) * job.schedule(progress, watched)
    job.set_lr(lr)
    return lr


def clip(model: nn.Module, settings: dict[str, Any], *, measure: bool) -> Tensor | None:
    """Clip the gradient by value, then by norm, or make its norm 1.

    Returns:
        The norm before, where it is known: clipping and normalising need it, `measure` asks for it.
    """
    norm = None
    if settings["clip_value"]:
        nn.utils.clip_grad_value_(model.parameters(), settings["clip_value"])
    if settings["clip_norm"]:
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings["clip_norm"])
    elif measure or settings["normalise_gradient"]:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if settings["normalise_gradient"]:
            length = norm.clamp(min=torch.finfo(norm.dtype).tiny)  # a gradient of zeros stays so
            for gradient in gradients:
                gradient.div_(length)
    return norm


def validation_scores(job: Job) -> dict[str, float] | None:
    return evaluate_part(job, "validation").scores if "validation" in job.parts else None


def train_scores(
    job: Job, run: Run, state: State, probes: Probes | None, *, last: bool
) -> dict[str, float]:
    """Scores on the training sample; activations are probed on the way, now and then."""
    # Units that die do so early, and what counts is the end.
    if probes is None or not rarely(state.epoch, last=last):
        return evaluate_part(job, "train").scores
    with probes.watch_activations(job.evaluated) as activations:
        scores = evaluate_part(job, "train").scores
    run.probes += activations.rows(state.total_step, state.epoch - 1)
    return scores


def rarely(epoch: int, *, last: bool) -> bool:
    """Whether so many epochs are a power of two, or all.

    >>> [epoch for epoch in range(1, 11) if rarely(epoch, last=epoch == 10)]
    [1, 2, 4, 8, 10]
    """
    return epoch & (epoch - 1) == 0 or last


def give_up(job: Job, state: State, validation: dict[str, float] | None) -> None:
    """End a training that is too far behind to be followed.

    Raises:
        GivenUp: its validation score is below the floor.
    """
    place = state.epoch - 1
    floor = state.floor[place] if place < len(state.floor) else None
    score = (validation or {}).get(job.metric_name)
    if floor is None or score is None or job.metric.gain(floor, score) >= 0:
        return
    name = job.metric_name.replace("_", " ")
    raise GivenUp(
        f"Given up after epoch {state.epoch} of {job.epochs}: validation {name} {score:.3g}; the unchanged "
        f"recipe was beyond {floor:.3g} after a third of that."
    )


def is_better(job: Job, state: State, validation: dict[str, float] | None) -> bool:
    """Whether the weights of the epoch that just ended are to be kept; notes their score.

    The last ones are, or with `train.patience` the best ones so far. Without early stopping the
    schedule has annealed the last weights, and choosing among epochs by a small validation part only
    adds its noise (docs/decisions.md). With it, a tie goes to the later epoch.
    """
    score = validation[job.metric_name] if validation else None
    if job.recipe["train.patience"] and score is not None and state.best_score is not None:
        if job.metric.gain(state.best_score, score) < 0:
            return False
    state.best_score, state.best_epoch = score, state.epoch - 1
    return True


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now, in the processor's memory."""
    return {name: tensor.detach().cpu().clone() for name, tensor in state_of(model).items()}


def ends_early(job: Job, state: State, settings: dict[str, Any]) -> bool:
    patience = settings["patience"]
    late = bool(settings["max_seconds"]) and state.seconds >= settings["max_seconds"]
    stale = state.epoch - 1 - state.best_epoch >= patience
    return late or bool(patience and "validation" in job.parts and stale)
