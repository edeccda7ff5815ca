"""`save` and `load`: a tensor, lists and dicts of tensors, a model's parameters. No pickled code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fitwell.errors import DataError
from fitwell.weights.files import RUN_WEIGHTS, Tensors, read_tensors, read_weights, write_tensors
from fitwell.weights.fitting import load_exactly

_STRUCTURE = "fitwell.structure"  # in the metadata: how the tensors of the file hang together
_PLAIN = (bool, int, float, str, type(None))


def save(value: Any, path: Path | str) -> None:
    """Write a tensor, a model's parameters, or any list, tuple and dict of these, as safetensors.

    A tensor that occurs several times (tied weights) is stored once, and is one tensor again when
    it is loaded. Numbers and texts between the tensors are kept too. Of a model the parameters and
    buffers are kept, and not its code.

    Args:
        value: what to write; keys of dicts are texts.
        path: the file, ending in `.safetensors`; an existing one is replaced.

    Raises:
        DataError: another ending, or something that only pickled code could hold.
        FolderError: the file cannot be written.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save({"w": torch.ones(2), "steps": [1, 2]}, f"{folder}/state.safetensors")
    ...     load(f"{folder}/state.safetensors")
    {'w': tensor([1., 1.]), 'steps': [1, 2]}
    """
    path = Path(path).expanduser()
    if path.suffix != ".safetensors":
        raise DataError(f"{path}: name a file that ends in .safetensors.", where=str(path))
    tensors: Tensors = {}
    structure = _taken_apart(value, "", tensors)
    write_tensors(path, tensors, {_STRUCTURE: json.dumps(structure)})


def load(path: Path | str, into: nn.Module | None = None) -> Any:
    """What `save` wrote; of other files and of run folders, the weights by name.

    Args:
        path: a file of `save`; .safetensors, .npz, .pt, .pth, .th or .bin with weights; a run
            folder.
        into: a model that takes the weights, name by name; it is given back in evaluation mode.

    Returns:
        The tensors on the processor, in the lists and dicts they were saved in; a model's
        parameters as a dict by name, or `into`.

    Raises:
        DataError: the file is missing, damaged or could run code; or its weights are not of `into`.
    """
    path = Path(path).expanduser()
    found = _own(path)
    if into is None:
        return read_weights(path) if found is None else found[0]
    weights = read_weights(path) if found is None else found[0]
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise DataError(f"{path} holds no weights of a model by name.", where=str(path))
    load_exactly(into, weights, str(path))
    return into.eval()


def _own(path: Path) -> tuple[Any] | None:
    """What `save` wrote, in a tuple of one; None where the file is another's."""
    if path.suffix != ".safetensors" or path.name == RUN_WEIGHTS or not path.is_file():
        return None
    try:
        tensors, metadata = read_tensors(path)
        structure = metadata.get(_STRUCTURE)
        return None if structure is None else (_put_together(json.loads(structure), tensors),)
    except Exception:
        return None  # damaged: `read_weights` says how


def _taken_apart(value: Any, place: str, tensors: Tensors) -> Any:
    """The structure as JSON, each tensor replaced by its name; the tensors go into `tensors`."""
    if isinstance(value, nn.Module):
        value = value.state_dict()
    if isinstance(value, Tensor):
        name = place or "tensor"
        while name in tensors:  # {"a.b": ..., "a": {"b": ...}}
            name += "_"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise DataError(
                    f"{place or 'The dict'} has the key {key!r}; only texts can be keys in a file. "
                    f"Use str({key!r})."
                )
        return {"dict": {k: _taken_apart(v, _below(place, k), tensors) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        parts = [_taken_apart(v, _below(place, str(i)), tensors) for i, v in enumerate(value)]
        return {kind: parts}
    if isinstance(value, _PLAIN):
        return {"value": value}
    raise DataError(
        f"{place or 'This'} is a {type(value).__name__}, which only pickled code could keep. Save "
        "tensors, models, numbers and texts, in lists and dicts."
    )


def _put_together(part: Any, tensors: Tensors) -> Any:
    ((kind, value),) = part.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _put_together(item, tensors) for key, item in value.items()}
    if kind == "value":
        return value
    items = [_put_together(item, tensors) for item in value]
    return items if kind == "list" else tuple(items)


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
