"""All that going on needs, in one safetensors file: replaced in one move, no code in it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fitwell.errors import FolderError
from fitwell.nn.tying import state_of
from fitwell.train.job import Job
from fitwell.train.loop import State
from fitwell.weights import load_exactly, read_tensors, write_tensors

NAME = "last/state.safetensors"
WEIGHTS = ("best", "start", "gathered", "carried")  # of the state


def save_checkpoint(folder: Path, job: Job, state: State) -> None:
    """Weights, averaged weights, best weights, optimizer, random state, position: one file."""
    state.carried = carried(job, state)
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in state_of(job.model).items()}
    if job.average is not None:
        tensors |= {f"average.{k}": v for k, v in state_of(job.average).items()}
    for name in WEIGHTS:
        tensors |= {f"{name}.{k}": v for k, v in getattr(state, name).items()}
    optimizer = job.optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, slots in optimizer["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optim.{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    tensors["random"] = torch.get_rng_state()
    if job.device.type == "cuda":
        tensors["random_device"] = torch.cuda.get_rng_state(job.device)
    position = {f.name: getattr(state, f.name) for f in fields(state) if f.name not in WEIGHTS}
    metadata = {"state": json.dumps(position), "optimizer": json.dumps(numbers)}
    write_tensors(folder / NAME, tensors, metadata)


def carried(job: Job, state: State) -> dict[str, Tensor]:
    """The recurrent state of a network that is in the middle of a text, by place."""
    if not (job.carried and state.step) or job.recurrent.state is None:
        return {}
    return {str(i): one for i, one in enumerate(job.recurrent.state)}


def load_checkpoint(folder: Path, job: Job) -> State:
    """Put everything back into `job` and give the position.

    Raises:
        FolderError: there is no checkpoint, or it is damaged.
        DataError: its weights are of another model (code of the user's own has changed).
    """
    path = folder / NAME
    if not path.exists():
        raise FolderError(
            f"{folder} has no checkpoint ({NAME}): nothing of its training was saved yet. "
            "Start again with `fitwell fit`.",
            where=str(path),
        )
    try:
        tensors, metadata = read_tensors(path)
    except Exception as error:
        raise FolderError(
            f"{path} cannot be read ({error}). It may be damaged; train again with `fitwell fit`.",
            where=str(path),
        ) from None
    load_exactly(job.model, _below(tensors, "model."), str(path))
    if job.average is not None:
        load_exactly(job.average, _below(tensors, "average."), str(path))
    optimizer = job.optimizer.state_dict()
    slots: dict[int, dict[str, Any]] = {}
    for name, tensor in _below(tensors, "optim.").items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = tensor
    for index, values in json.loads(metadata["optimizer"]).items():
        slots.setdefault(int(index), {}).update(values)
    job.optimizer.load_state_dict({**optimizer, "state": slots})
    _same_layout(job.optimizer)
    torch.set_rng_state(tensors["random"])
    if "random_device" in tensors and job.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random_device"], job.device)
    state = State(**json.loads(metadata["state"]))
    for name in WEIGHTS:
        setattr(state, name, _below(tensors, f"{name}."))
    return state


def _same_layout(optimizer: Optimizer) -> None:
    """Lay each slot out in memory as its parameter is.

    A file keeps values only, and the fused updates walk weight and slot side by side in memory: a
    channels_last weight with a contiguous momentum would be updated with another weight's momentum.
    """
    for parameter, slots in optimizer.state.items():
        for name, value in slots.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                slots[name] = torch.empty_like(parameter).copy_(value)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
