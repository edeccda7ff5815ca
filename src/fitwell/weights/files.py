"""Files of weights: written without code in them, read with care whoever wrote them.

Ours are safetensors. A tensor that stands under several names (tied weights) is stored once, under
the first of them; the others are listed in the file's metadata, and are one tensor again after
reading.
"""

import json
import os
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fitwell.errors import DataError, FitwellError
from fitwell.store import ORDER, replacing

Tensors = dict[str, Tensor]
RUN_WEIGHTS = "best.safetensors"
_TIED = "fitwell.tied"  # in the metadata: name -> the name it is stored under
# What other people's checkpoints call the weights among the other things they hold.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# DataParallel and torch.compile put the model into a module of theirs.
_PREFIXES = ("module.", "_orig_mod.")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors atomically as plain values; tied ones once.

    Raises:
        FolderError: no room, or the folder may not be written to.
    """
    from safetensors.torch import save_file

    first: dict[tuple[Any, ...], str] = {}
    tied = {
        name: kept
        for name, t in tensors.items()
        if (kept := first.setdefault(_memory(t), name)) != name
    }
    plain = {k: t.detach().cpu().contiguous().clone() for k, t in tensors.items() if k not in tied}
    known = {**metadata, ORDER: json.dumps(list(tensors))}
    if tied:
        known[_TIED] = json.dumps(tied)
    with replacing(path) as temporary:
        mode = temporary.stat().st_mode
        try:
            save_file(plain, temporary, known)
        except Exception as error:  # safetensors has an error of its own for those of the system
            code = re.search(r"\(os error (\d+)\)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from None
        temporary.chmod(mode)  # its file is private (0600)


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """(tensors, metadata) of a safetensors file, in the order in which they were written, where it is
    one of ours; names that are tied give one tensor.

    Raises:
        safetensors.SafetensorError, OSError, ValueError: no such file, or a damaged one.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata() or {})
    for name, kept in json.loads(metadata.pop(_TIED, "{}")).items():
        tensors[name] = tensors[kept]
    order = json.loads(metadata.pop(ORDER, "[]"))
    ordered = {name: tensors[name] for name in order if name in tensors}
    return ordered | tensors, metadata


def copies(tensors: Mapping[str, Tensor]) -> Tensors:
    """Copies on the processor; names that were tied share one copy."""
    made: dict[tuple[Any, ...], Tensor] = {}
    for tensor in tensors.values():
        if (memory := _memory(tensor)) not in made:
            made[memory] = tensor.detach().cpu().clone()
    return {name: made[_memory(tensor)] for name, tensor in tensors.items()}


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for two names of one tensor; empty tensors have no memory, and are all their own."""
    place = tensor.data_ptr() if tensor.numel() else id(tensor)
    return place, tensor.device, tensor.dtype, tuple(tensor.shape), tensor.stride()


def read_weights(path: Path | str, *, setting: str = "") -> Tensors:
    """The weights in a file of any known kind, or of a fitwell run folder, by parameter name.

    Wrappers (`{"state_dict": ...}`) and the prefixes of DataParallel and torch.compile are taken
    off. No code in a file is ever run.

    Args:
        setting: the setting that named the file, for the error.

    Raises:
        DataError: missing, empty, damaged, of an unknown kind, holds code, no weights, or weights
            that are not finite or no plain numbers.
    """
    path = Path(path).expanduser()
    try:
        found = _clean(_read(path))
    except FitwellError:
        raise
    except _Refused as error:
        raise DataError(f"{path} {error}", setting=setting, where=str(path)) from None
    refuse_nonfinite(found, str(path), setting)
    return found


def refuse_nonfinite(tensors: Mapping[str, Tensor], source: str, setting: str = "") -> None:
    """Refuse weights among which is a NaN or an infinity.

    Raises:
        DataError: names them.
    """
    numbers = {k: t for k, t in tensors.items() if t.is_floating_point() or t.is_complex()}
    broken = [name for name, tensor in numbers.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise DataError(
            f"{source} holds weights that are not finite: {some(broken)}. It was saved after its "
            "training had broken; use an earlier checkpoint.",
            setting=setting,
            where=source,
        )


def wrapper_of(names: Collection[str]) -> str:
    """What DataParallel and torch.compile put before every name of a model's parameters.

    >>> wrapper_of(["module._orig_mod.weight", "module._orig_mod.bias"])
    'module._orig_mod.'
    """
    found = ""
    while names and (
        prefix := next((p for p in _PREFIXES if all(n.startswith(found + p) for n in names)), "")
    ):
        found += prefix
    return found


def some(names: list[str], most: int = 5) -> str:
    """The first few names, for a sentence.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class _Refused(Exception):
    """Why a file is not read, to be put behind its name."""


def _read(path: Path) -> Any:
    if (path / "format").is_file():
        if not (path / RUN_WEIGHTS).is_file():
            raise _Refused(f"is a run folder without {RUN_WEIGHTS}: its training has not ended.")
        path = path / RUN_WEIGHTS
    if path.is_dir():
        raise _Refused("is a folder, and not one of a run. Name a file of weights.")
    if not path.exists():
        raise _Refused("does not exist. Check the path and the current folder.")
    if not path.stat().st_size:
        raise _Refused("is empty. Copy or download it again.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise _Refused(f"is of no kind that holds weights here: {', '.join(READERS)}.")
    try:
        return reader(path)
    except _Refused:
        raise
    except Exception as error:  # each format has errors of its own for a damaged file
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise _Refused(
            f"is damaged or no {path.suffix} file ({reason}). Copy or download it again."
        ) from None


def _safetensors(path: Path) -> Any:
    return read_tensors(path)[0]


def _npz(path: Path) -> Any:
    import numpy as np

    archive = np.load(path, allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise _Refused("holds one array without a name. Save it with np.savez(path, **weights).")
    arrays = {}
    with archive:
        for name in archive.files:
            try:
                array = archive[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise _Refused(
                    f"holds Python objects ({name}), which could run code. Save plain arrays."
                ) from None
            # What else stands there, such as the names of the classes, is passed over as elsewhere.
            if isinstance(array, np.ndarray) and array.dtype.kind in "biufc":
                native = array.astype(array.dtype.newbyteorder("="), copy=False)
                arrays[name] = torch.from_numpy(native)
    return arrays


def _pickle(path: Path) -> Any:
    import pickle

    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # that a pickle is unusual: it is refused below, or fine
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        named = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        holds = f"holds code ({named[1]})" if named else "is damaged, or holds Python objects"
        if isinstance(error, RuntimeError):
            if "weights_only" not in str(error):
                raise
            # torch's own sentence recommends to load them without this protection.
            holds = "is a TorchScript program, or of torch's first format (tar): both hold code"
        raise _Refused(
            f"{holds}, which could run when it is loaded, so it was not. Save the weights alone: "
            "torch.save(model.state_dict(), path), or as safetensors."
        ) from None


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".pt": _pickle,
    ".pth": _pickle,
    ".th": _pickle,
    ".bin": _pickle,
    ".ckpt": _pickle,
}


def _clean(found: Any) -> Tensors:
    """Tensors by parameter name, out of what a file held."""
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping):
        raise _Refused(f"holds a {type(found).__name__}, and not weights by name.")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise _Refused(
            f"holds no weights (it has {some([str(name) for name in found]) or 'nothing'})."
        )
    odd = [
        n for n, t in tensors.items() if t.layout != torch.strided or t.is_quantized or t.is_meta
    ]
    if odd:
        raise _Refused(
            f"holds weights that are no plain numbers: {some(odd)} (sparse, quantised, or without "
            "values). Save them dense, in floating point."
        )
    prefix = wrapper_of(tensors)
    return {name[len(prefix) :]: value for name, value in tensors.items()}
