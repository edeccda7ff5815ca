"""What this machine can do, and which precision a model is trained in."""

import ctypes
import inspect
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fitwell.errors import SettingError
from fitwell.spec import Spec

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Of glibc's malloc.h. The thresholds, in bytes, grow by themselves until they are set; afterwards they are
# set to what they grow to at most.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 27
_GROWN = {_MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26}
_BLOCK = 16  # channels of AVX-512
WIDE = 128  # units of a recurrent layer
FEW_PIXELS = 8192  # a batch of 128 of 8x8, of 11 of 28x28
_PACKAGES = ("fitwell", "torch", "torchvision", "numpy", "scikit-learn", "scipy")


def choose_device(name: str) -> torch.device:
    """`auto` is the accelerator where there is one.

    Raises:
        SettingError: no such device on this machine.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(
            f"train.device = {name}: not on this machine ({str(error).splitlines()[0]}). "
            "Choose cpu, or auto for the best there is.",
            setting="train.device",
        ) from None
    return device


def spare_compiler() -> None:
    """Keep optimizers from importing torch's compiler, which nothing here uses.

    Some of their methods are marked as not to be compiled, and look the mark up on the first call
    by importing torch._dynamo: 2 to 5 s and 150 MB a process, more than a small trial takes. They are
    given the mark beforehand. Where torch changes how it does this, the import comes back and
    nothing else changes; a program that imported the compiler itself is left alone.
    """
    if "torch._dynamo" in sys.modules:
        return
    for method in vars(Optimizer).values():
        plain = getattr(method, "__wrapped__", None)
        if plain is not None and not hasattr(plain, "__dynamo_disable"):
            plain.__dynamo_disable = plain


def step_of(optimizer: Optimizer) -> Callable[[], object]:
    """The optimizer's published update, which also forgets the gradients it used.

    Without torch's wrappers, which import the compiler and open a profiler's range each time: a
    small MLP feels that (`benchmarks/step.py`).
    """
    update = inspect.unwrap(type(optimizer).step)

    @torch.no_grad()
    def step() -> None:
        update(optimizer)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    return step


def has_convolutions(model: nn.Module) -> bool:
    return any(isinstance(module, _CONVOLUTIONS) for module in model.modules())


def suits_channels_last(model: nn.Module, spec: Spec) -> bool:
    """Whether it is best trained with a pixel's channels side by side in memory, the quicker layout of
    convolutions."""
    image = len(spec.input_shape) == 3
    return image and has_convolutions(model) and not any(map(_writes_past, model.modules()))


def _writes_past(module: nn.Module) -> bool:
    """oneDNN's gradient of such a convolution's weights is wrong in that layout, and writes past its memory
    (its issue 6035): where there are fewer channels than a block of AVX2 or AVX-512 has."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels // module.groups < _BLOCK
    )


def choose_precision(name: str, device: torch.device, model: nn.Module, pixels: int) -> str:
    """`auto`: bfloat16 where it is faster at equal accuracy, else float32.

    On a processor that is convolutions with AVX512_BF16 or AMX, on enough pixels: casting the
    weights costs more than it gains for a plain MLP of batch 128, and for LeNet on 8x8 digits. And wide
    recurrent layers (`python -m benchmarks.language`).

    Args:
        pixels: of a training batch, or of what stands in their place.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = device.type == "cpu" and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )
    worth = has_convolutions(model) and pixels >= FEW_PIXELS
    return "bfloat16" if able and (worth or is_wide(model)) else "float32"


def is_wide(model: nn.Module) -> bool:
    """Whether a network has recurrent layers that are wide enough for bfloat16 to be worth its casts."""
    layers = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    return bool(layers) and min(layer.hidden_size for layer in layers) >= WIDE


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextmanager
def thread_count(threads: int) -> Iterator[int]:
    """Train with so many processor threads (0: as it is), and give them back afterwards."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library keep what tensors free for those of the next step, and give it back at the end.

    By default glibc asks the system for each large block and returns it when it is freed; every step of a
    convolution network then touches fresh pages, each of which is a page fault. Where there is no glibc
    nothing is done. `benchmarks/store.py` measures the epoch of such a network.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    for threshold in _GROWN:
        libc.mallopt(threshold, _KEPT_BYTES)
    try:
        yield
    finally:
        for threshold, grown in _GROWN.items():
            libc.mallopt(threshold, grown)
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library, where it is glibc."""
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions, machine, threads and precision; no user, host, path or variable."""
    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "machine": {
            "system": platform.system(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        },
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 (a device file)
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
