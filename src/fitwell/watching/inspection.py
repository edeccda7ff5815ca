"""Looking at a model, its loss and its optimizer before the first step of a training."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitwell.errors import SettingError
from fitwell.experiments.one_batch import FACTORS, one_batch
from fitwell.nn.modes import evaluating
from fitwell.probes.loss_graph import LossReading
from fitwell.record import Diagnosis, Row
from fitwell.watching.checks import check_model, check_optimizer, optimizers_in
from fitwell.watching.fitting import OF_CLASSES, fit_of
from fitwell.watching.sample import copied, numbers_kept, outputs_of
from fitwell.watching.session import Watch
from fitwell.watching.telling import diagnosis_of, print_diagnosis

_STEPS = 3
_FEWEST_STEPS, _MOST_STEPS = 100, 600
_SECONDS = 60.0  # that they may take at most, as far as the fewest allow
_ADAM = 1e-3  # of the trial on one batch, where there is no optimizer

Loss = Callable[[Any, Any], Tensor]


def inspect(
    model: nn.Module,
    loss: Loss,
    optimizer: Optimizer | Sequence[Optimizer] | None,
    batch: Sequence[Any],
    *,
    show: bool = True,
) -> Diagnosis:
    """What is wrong with a model, its loss and its optimizer, before any training.

    Copies of model and optimizer make three steps on the batch and are then trained on it alone, at three
    learning rates; the model itself, its buffers and all random numbers stay as they are.

    Found: a head that does not belong to its loss, parameters that the optimizer lacks or no gradient
    reaches, units that start alike, inputs and targets without scale, batch normalisation behind dropout,
    a first loss far above that of knowing nothing, a batch that cannot be learned by heart.

    Args:
        model: in the mode it is trained in.
        loss: (outputs, targets) -> scalar.
        optimizer: over the model's parameters; None: not made yet.
        batch: (inputs, targets); inputs a tensor, or a tuple or dict of the model's arguments.
        show: print the findings.

    Raises:
        SettingError: no parameters, a setting of the optimizer that cannot be right, a batch that is no
            pair, a loss that is no single number, a model that cannot be copied or run on the batch.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1))
    >>> optimizer = torch.optim.Adam(model[0].parameters())
    >>> batch = torch.randn(16, 4), torch.randint(3, (16,))
    >>> found = inspect(model, nn.CrossEntropyLoss(), optimizer, batch, show=False)
    >>> [finding.name for finding in found][:2]
    ['head_loss_mismatch', 'no_gradient']
    """
    check_model(model)
    optimizers = optimizers_in(optimizer)
    for each in optimizers:
        check_optimizer(each)
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise SettingError(
            f"inspect(batch): {type(batch).__name__} is no pair. Give (inputs, targets), as in the loop.",
            setting="batch",
        )
    x, y = batch
    twin, theirs = _copies(model, optimizers)
    stepping = theirs or [torch.optim.Adam(twin.parameters(), _ADAM)]
    with _gradients_kept(model), torch.random.fork_rng(), numbers_kept():
        with Watch(twin, stepping) as watch:
            for _ in range(_STEPS):
                watch.step(_step(twin, stepping, loss, x, y))
                watch.sample.full = True  # it is always the same batch
        reading = watch.seen.reading or LossReading()
        rows = _one_batch(model, optimizers, loss, x, y, reading)
    # How well three steps fitted the batch says nothing.
    seen = [row for row in watch.run.evidence if row["experiment"] != "sample"]
    for row in seen:
        if row["experiment"] == "loop":
            row["inspected"] = True
    diagnosis = diagnosis_of(replace(watch.run, evidence=[*seen, *rows]))
    if show:
        print_diagnosis(diagnosis)
    return diagnosis


@contextmanager
def _gradients_kept(model: nn.Module) -> Iterator[None]:
    """The model's gradients stay: a loss may hold a penalty on its weights, not on those of the copy."""
    before = [(p, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    try:
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def _copies(model: nn.Module, optimizers: Sequence[Optimizer]) -> tuple[nn.Module, list[Optimizer]]:
    """Model and optimizers together, so that the copies belong to each other."""
    try:
        twin, theirs = copy.deepcopy((model, list(optimizers)))
    except Exception as error:  # tensors of a graph, locks, generators: each says it otherwise
        raise SettingError(
            f"inspect(model): {type(model).__name__} cannot be copied ({error}). Give a fresh one, "
            "before any forward pass.".replace("\n", " "),
            setting="model",
        ) from None
    for each in theirs:
        if isinstance(each, torch.optim.LBFGS):  # which loses these when it is copied
            each._params, each._numel_cache = each.param_groups[0]["params"], None
    for group in (group for each in theirs for group in each.param_groups):
        if "lr" in group:  # a warm-up starts at a part of it, or at 0
            group["lr"] = peak(group)
    return twin, theirs


def peak(group: Mapping[str, Any]) -> float:
    """The learning rate that a group reaches, as far as its schedule has noted it.

    >>> peak({"lr": 0.0, "initial_lr": 0.1}), peak({"lr": 0.004, "initial_lr": 0.004, "max_lr": 0.1})
    (0.1, 0.1)
    """
    return max(float(group.get(name, 0.0)) for name in ("lr", "initial_lr", "max_lr"))


def called(model: nn.Module, x: Any) -> Any:
    """The model's outputs; inputs are a tensor, or a tuple or dict of its arguments."""
    x = copied(x)
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple | list) else model(x)


def _step(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    loss: Loss,
    x: Any,
    y: Any,
) -> Tensor:
    """A step on the batch; its loss, with the graph."""
    try:
        outputs = called(model, x)
        value = loss(outputs, y)
    except SettingError:
        raise
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise SettingError(
            f"inspect(batch): model or loss cannot take the batch ({type(error).__name__}: {reason}). "
            "Give a batch as the loop has it; of a single example batch normalisation has no variance.",
            setting="batch",
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SettingError(
            f"inspect(loss): the loss is {shape}, and one number is asked for, such as loss.mean().",
            setting="loss",
        )
    for optimizer in optimizers:
        optimizer.zero_grad()
    if value.grad_fn is not None:
        value.backward()
    for optimizer in optimizers:
        if isinstance(optimizer, torch.optim.LBFGS):
            optimizer.step(lambda: _again(model, optimizers, loss, x, y))
        else:
            optimizer.step()
    return value


def _again(model: nn.Module, optimizers: Sequence[Optimizer], loss: Loss, x: Any, y: Any) -> Tensor:
    """Loss and gradients once more, for an optimizer that asks for them within its step."""
    with torch.enable_grad():
        for optimizer in optimizers:
            optimizer.zero_grad()
        value = loss(called(model, x), y)
        value.backward()
    return value


def _one_batch(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    loss: Loss,
    x: Any,
    y: Any,
    reading: LossReading,
) -> list[Row]:
    """Evidence rows of trainings on the batch alone."""
    rates = [peak(group) for o in optimizers for group in o.param_groups if "lr" in group]
    usual = max(rates, default=_ADAM) or _ADAM
    asked = y.detach().cpu().numpy() if isinstance(y, Tensor) else None

    def fit_by(outputs: Any) -> float | None:
        tensors = outputs_of(outputs)
        if asked is None or reading.output is None or len(tensors) <= reading.output:
            return None
        said = tensors[reading.output].float().cpu().numpy()
        return fit_of(reading.name, said, _as_said(asked, said, reading.name))[1]

    def start(seed: int) -> tuple[Callable[[float], float], Callable[[], float]]:
        torch.manual_seed(seed)  # of dropout
        twin, theirs = _copies(model, optimizers)
        theirs = theirs or [torch.optim.Adam(twin.parameters(), usual)]
        base = [[float(g.get("lr", usual)) for g in o.param_groups] for o in theirs]
        losses: list[float] = []

        def step(rate: float) -> float:
            for optimizer, before in zip(theirs, base, strict=True):
                for group, own in zip(optimizer.param_groups, before, strict=True):
                    group["lr"] = own * rate / usual
            losses.append(float(_step(twin, theirs, loss, x, y).detach()))
            return losses[-1]

        def fit() -> float:
            with torch.no_grad():
                found = [fit_by(called(twin, x))]
                with evaluating(twin):  # dropout hides what was learned, running means lag behind
                    found.append(fit_by(called(twin, x)))
            known = [value for value in found if value is not None]
            # Of a loss that is not known: the share of it that is gone.
            left = 1 - losses[-1] / losses[0] if losses[0] > 0 else math.nan
            return max(known) if known else left

        return step, fit

    began = time.perf_counter()
    step, _ = start(0)
    for _ in range(3):
        step(usual)
    a_step = (time.perf_counter() - began) / 3
    steps = int(min(_MOST_STEPS, max(_FEWEST_STEPS, _SECONDS / len(FACTORS) / 3 / a_step)))
    return one_batch(start, lr=usual, steps=steps)


def _as_said(asked: np.ndarray, said: np.ndarray, name: str) -> np.ndarray | None:
    """Targets in the form of the outputs: classes as they are, numbers in their shape."""
    if asked.dtype.kind in "iu" and name in OF_CLASSES:
        classes = asked.astype(np.int64)
        return classes if classes.max(initial=0) < said.shape[1] else None  # of another head
    return asked.reshape(said.shape).astype(np.float32) if asked.size == said.size else None
