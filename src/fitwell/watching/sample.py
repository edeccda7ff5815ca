"""A few of the inputs that a model was trained on, kept to look at it again later."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fitwell.nn.modes import evaluating
from fitwell.watching.checks import unwrapped

_EXAMPLES = 512
_BYTES = 64 * 2**20
_CALLS = 128
_OURS = ContextVar("ours", default=False)
T = TypeVar("T")
_OF_TORCH = frozenset(vars(nn.Module()))  # hooks, parameters, buffers, modules, the mode


@dataclass
class Call:
    """One call of the model in training: what it was given, what it said, and what that was to become."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: int | None = None  # which of the outputs the loss took
    classes: int = 1  # its axis of classes, of a loss of classes
    target: np.ndarray | None = None

    @property
    def inputs(self) -> Tensor | None:
        return first_tensor((self.args, self.kwargs))


@dataclass
class Sample:
    """The first calls of a model, up to 512 examples and 64 MiB."""

    calls: list[Call] = field(default_factory=list)
    model: nn.Module | None = None  # that was called
    full: bool = False
    modes: dict[nn.Module, bool] = field(default_factory=dict)  # training or not, at the first call
    failure: str = ""  # why the model could not be run again

    def add(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """Keep a call; None where another model was called first."""
        if self.model is not None and model is not self.model:
            return None
        if self.model is None:
            self.model, self.modes = model, {m: m.training for m in model.modules()}
        call = Call(copied(args), copied(kwargs))
        self.calls.append(call)
        kept = [each.inputs for each in self.calls]
        rows = sum(len(x) if x is not None and x.dim() else 1 for x in kept)
        size = sum(x.numel() * x.element_size() for x in kept if x is not None)
        self.full = rows >= _EXAMPLES or size >= _BYTES or len(kept) >= _CALLS
        return call

    def drop(self, call: Call) -> None:
        """Take a call back, of which no loss was told."""
        self.calls = [each for each in self.calls if each is not call]
        self.full = False

    def run_again(
        self, device_type: str, keep: Callable[["Call", Any], T], *, training: bool = False
    ) -> list[T]:
        """What the model says to each of the calls now: in evaluation mode or, with `training`, in the mode
        of the first call; without gradients, with its buffers and all random numbers put back afterwards.
        Nothing where it cannot be run.

        Args:
            keep: (call, output) -> what is to be kept of it. All outputs of a language model would not fit
                beside each other.
        """
        outputs: list[T] = []
        if self.model is None:
            return outputs
        model = unwrapped(self.model)
        try:
            with untouched(model, device_type, self.modes if training else {}):
                for call in self.calls:
                    outputs.append(keep(call, model(*copied(call.args), **copied(call.kwargs))))
        except Exception as error:  # of a model that is somebody else's
            self.failure = f"{type(error).__name__}: {error}".split("\n")[0]
            return []
        return outputs

    def table(self) -> np.ndarray | None:
        """[example, ...] all inputs together, where they are tensors of one shape."""
        kept = [call.inputs for call in self.calls]
        if not kept or any(x is None or x.dim() < 2 for x in kept):
            return None
        if len({(tuple(x.shape[1:]), x.dtype) for x in kept if x is not None}) > 1:
            return None
        joined = torch.cat([x.detach().cpu() for x in kept if x is not None])
        return (joined.float() if joined.is_floating_point() else joined).numpy()


def is_ours() -> bool:
    """Whether the model is being run by what watches it."""
    return _OURS.get()


@contextmanager
def untouched(
    model: nn.Module, device_type: str, modes: Mapping[nn.Module, bool]
) -> Iterator[None]:
    """Run a model inside, in these modes or in evaluation, and leave it as it was: modes, buffers, what its
    modules keep beside them (a state), random numbers of torch, NumPy and Python."""
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    kept = [(vars(module), _attributes(module)) for module in model.modules()]
    devices = [] if device_type == "cpu" else None
    before_us = _OURS.set(True)
    try:
        with torch.random.fork_rng(devices), numbers_kept(), evaluating(model), torch.no_grad():
            for module, training in modes.items():
                module.training = training
            yield
    finally:
        _OURS.reset(before_us)
        for own, before in kept:
            for name in [n for n in own if n not in before and n not in _OF_TORCH]:
                del own[name]
            own.update((name, value) for name, (value, _) in before.items())
        with torch.no_grad():
            for _, before in kept:
                for value, copy in before.values():
                    if copy is not None and not torch.equal(value, copy):
                        value.copy_(copy)
            for name, buffer in model.named_buffers():
                if name in buffers and not torch.equal(buffer, buffers[name]):
                    buffer.copy_(buffers[name])


@contextmanager
def numbers_kept() -> Iterator[None]:
    """The random numbers of Python and NumPy go on as if nothing had been drawn inside."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Tensor | None]]:
    """What a module keeps beside parameters, buffers and modules: as it is, and of a tensor a copy."""
    return {
        name: (value, value.detach().clone() if isinstance(value, Tensor) else None)
        for name, value in vars(module).items()
        if name not in _OF_TORCH
    }


def copied(value: Any) -> Any:
    """The same structure with copies of its tensors; what else it holds is shared."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(copied(item) for item in value)
    return value


def outputs_of(value: Any) -> list[Tensor]:
    """The tensors that a loss may be computed from: no scalars, where there are others."""
    given = tensors_in(value)
    return [tensor for tensor in given if tensor.dim()] or given


def tensors_in(value: Any) -> list[Tensor]:
    """The floating tensors of what a model gives: a tensor, a tuple, a dict, an object with fields."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors_in(item)]
    fields = vars(value).values() if hasattr(value, "__dict__") else ()
    return [item for item in fields if isinstance(item, Tensor) and item.is_floating_point()]


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in arguments, however deep."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return next((found for item in value if (found := first_tensor(item)) is not None), None)
    return None
