"""The forward passes of a loop: what went in, what came out, and what gradient came back."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fitwell.probes.loss_graph import LossReading, read_loss
from fitwell.watching.carried import Carried
from fitwell.watching.checks import called_modules
from fitwell.watching.likeness import Likeness
from fitwell.watching.sample import Call, Sample, first_tensor, is_ours, outputs_of

_OWN = 5e-4  # seconds between two steps that a loop takes for itself
_ENOUGH = 3  # passes to count
_MOST = 32  # passes that are waited with for a loss: LBFGS makes up to 25 a step
_MOST_BYTES = 256 * 2**20  # of their outputs, beside those of the last


@dataclass
class Pass:
    """A forward pass in training, whose loss is not told yet.

    Args:
        call: its place in the sample, where it is kept.
        outputs: what a loss may be computed from.
        gradients: place among the outputs -> what came back to it.
    """

    call: Call | None
    outputs: list[Tensor] = field(default_factory=list)
    gradients: dict[int, Tensor] = field(default_factory=dict)


class Passes:
    """Sees the training passes of a model, by hooks on it as it is called.

    Args:
        examples: of the last pass.
        carried: told when a gradient comes back, until it has decided.
        waiting: seconds between the end of a step and the next pass; evaluations are no waiting.
        likeness: of what passes without gradients are given to what is trained on.
        evaluated: passes without gradients, in evaluation mode and in training mode with dropout or batch
            statistics at work.
        used, idle: how many training passes that were looked at got a gradient, and how many did not until
            another one's loss was told.
        unread: whether passes are to be seen although the sample is full: until a loss was read.
    """

    def __init__(self, sample: Sample, carried: Carried) -> None:
        self.sample, self._carried = sample, carried
        self.likeness = Likeness(sample)
        self.examples = 0
        self.waiting = 0.0
        self.used = self.idle = 0
        self.unread = True
        self.evaluated = {"evaluation": 0, "training": 0}
        self._passes: list[Pass] = []
        self._inside: nn.Module | None = None  # whose pass is under way
        self._left = time.perf_counter()

    def attach(self, model: nn.Module) -> list[RemovableHandle]:
        """Hooks on the model, wrappers and all, and on what a loop may call in its place."""
        return [
            handle
            for module in called_modules(model)
            for handle in (
                module.register_forward_pre_hook(self._called, with_kwargs=True),
                module.register_forward_hook(self._said),
            )
        ]

    def read(
        self, loss: Tensor, parameters: Iterable[nn.Parameter]
    ) -> tuple[Pass, LossReading] | None:
        """The last pass that the loss was computed from, and what its graph says; None: none is known."""
        if not self._passes:
            return None
        parameters = list(parameters)
        for each in reversed(self._passes):
            reading = read_loss(loss, each.outputs, parameters)
            if reading.output is not None:
                return each, reading
        return None

    def forget(self, kept: Pass | None = None) -> None:
        """After a loss was told: nothing of its graph is held on to, and of the passes since the last one
        the sample has this one, or else the last."""
        if kept is None and self._passes:
            kept = self._passes[-1]
        others = [each for each in self._passes if each is not kept]
        if kept is not None and kept.gradients:  # else backward is still to come
            self.used += 1 + sum(bool(each.gradients) for each in others)
            self.idle += sum(each.call is not None and not each.gradients for each in others)
        for each in others:
            self._drop(each)
        self._passes, self._inside = [], None

    def _drop(self, each: Pass) -> None:
        if each.call is not None:
            self.sample.drop(each.call)

    def step_ends(self) -> None:
        self._left = time.perf_counter()

    def _called(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not model.training or not torch.is_grad_enabled():
            self._left = math.nan
            if not is_ours() and self._inside is None and not torch.is_grad_enabled():
                self._evaluates(model)
                with suppress(Exception):  # of inputs unlike any that were thought of
                    self.likeness.compare(args, kwargs)
            return
        # A module within the one that was called; where that one broke off it is called anew.
        if self._inside is not None and self._inside is not model:
            return
        self._inside = model
        waited = time.perf_counter() - self._left - _OWN
        self.waiting += waited if waited > 0 else 0.0
        self._left = math.nan
        x = first_tensor((args, kwargs))
        self.examples = len(x) if x is not None and x.dim() else 1
        full = self.sample.full
        if not full or self.unread or self._passes or not self._carried.decided:
            self._passes.append(Pass(None if full else self.sample.add(model, args, kwargs)))
            if len(self._passes) > _MOST:
                self._drop(self._passes.pop(0))

    def _evaluates(self, model: nn.Module) -> None:
        if not model.training:
            self.evaluated["evaluation"] += 1
        elif self.evaluated["training"] < _ENOUGH and any(map(_differs, model.modules())):
            self.evaluated["training"] += 1

    def _said(self, model: nn.Module, args: Any, output: Any) -> None:
        if model is not self._inside:
            return
        self._inside = None
        if not self._passes or self._passes[-1].outputs:
            return
        own = self._passes[-1]
        own.outputs = outputs_of(output)
        while len(self._passes) > 1 and sum(map(_size, self._passes)) > _MOST_BYTES:
            self._drop(self._passes.pop(0))
        looked_at = own.call is not None or not self._carried.decided
        for place, tensor in enumerate(own.outputs if looked_at else ()):
            if tensor.requires_grad:
                tensor.register_hook(self._keeper(place, own.gradients))

    def _keeper(self, place: int, gradients: dict[int, Tensor]) -> Callable[[Tensor], None]:
        def keep(gradient: Tensor) -> None:
            gradients[place] = gradient.detach()
            self._carried.backward_begins()

        return keep


def _size(own: Pass) -> int:
    """Bytes of a pass's outputs."""
    return sum(tensor.numel() * tensor.element_size() for tensor in own.outputs)


def _differs(module: nn.Module) -> bool:
    """Whether a module does in training mode what it does not in evaluation, and is in it."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.training and module.p > 0
    batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return batch_norm and module.training and module.track_running_stats
