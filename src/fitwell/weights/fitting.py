"""Weights into a model: by name, with every name that does not fit said."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from fitwell.errors import DataError
from fitwell.nn.inits import named_weights
from fitwell.nn.tying import untied
from fitwell.weights.files import Tensors, refuse_nonfinite, some, wrapper_of


@dataclass(frozen=True)
class Fitted:
    """What became of the weights.

    Args:
        loaded: parameters and buffers that were taken over.
        new: those of the head, which stay as they were drawn, since it has other outputs; of a detector
            that starts from a network for classes, the parts behind its backbone.
        notes: what was done to make them fit.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def fit_weights(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    new_head: bool = False,
    source: str = "the file",
    setting: str = "",
) -> Fitted:
    """Load the weights of another task into `model`, by name; a head of another shape stays new.

    The head is the last layer that has weights, or the layers that the model names in `head_layers`.
    Weights of a first convolution that reads three channels are summed for a model that reads one: a
    grey image is then seen as its three equal channels were. Auxiliary classifiers that only serve
    training are left out. A model that has `backbone_prefixes` (how the names of its backbone begin, here
    and in a network for classes) takes over such a network without its head.

    Args:
        new_head: the head stays new whatever its shape: it told other classes apart.

    Raises:
        DataError: any other name or shape that does not fit, or nothing that would be taken over.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> source = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 10))
    >>> fit_weights(model, source.state_dict()).new
    ('1.weight', '1.bias')
    """
    own = model.state_dict()
    here, there = getattr(model, "backbone_prefixes", ("", ""))
    if here and not any(name in own and not name.startswith(here) for name in tensors):
        return _fit_trunk(model, tensors, here, there, source=source, setting=setting)
    renamed = {_current(n): value for n, value in _wrapped_alike(tensors, own).items()}
    given = {name: t for name, t in renamed.items() if name in own or not _is_auxiliary(name)}
    weights = [(name, p) for name, p, is_weight in named_weights(model) if is_weight]
    if not weights:
        raise DataError(f"The model has no weights that {source} could be for.", setting=setting)
    (first, stem), (last, _) = weights[0], weights[-1]
    notes = []
    notes += _summed(given, first, stem)
    layers = getattr(model, "head_layers", (last.rpartition(".")[0],))
    heads = [name for name in own if name.rpartition(".")[0] in layers]
    fits = not new_head and all(
        name in given and given[name].shape == own[name].shape for name in heads
    )
    new = () if fits else tuple(heads)
    # Buffers that older files did not have: how many batches a normalisation has seen.
    counts = {n: own[n] for n in own if n.endswith("num_batches_tracked") and n not in given}
    rest = {name: value for name, value in given.items() if name not in new}
    if len(new) == len(own):
        raise DataError(
            f"Nothing of {source} can be taken over: the model is its head alone, and this head has "
            f"another shape. Leave {setting or 'the weights'} out, or choose a network with more "
            "layers.",
            setting=setting,
        )
    load_exactly(model, {**rest, **counts, **{name: own[name] for name in new}}, source, setting)
    return Fitted(tuple(name for name in own if name not in new), new, tuple(notes))


def _fit_trunk(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    here: str,
    there: str,
    *,
    source: str,
    setting: str,
) -> Fitted:
    """The backbone of a network for classes; everything behind it stays new.

    Left out is what the source has behind its backbone: parts that the backbone has none of.

    Raises:
        DataError: as of `fit_weights`.
    """
    own = model.state_dict()
    part = {name: value for name, value in own.items() if name.startswith(here)}
    parts = {name[len(here) :].partition(".")[0] for name in part}
    renamed = {_current(n)[len(there) :]: t for n, t in tensors.items() if n.startswith(there)}
    given = {here + name: t for name, t in renamed.items() if name.partition(".")[0] in parts}
    left = [
        name
        for name in tensors
        if not name.startswith(there) or name[len(there) :].partition(".")[0] not in parts
    ]
    stem = next(name for name, _, is_weight in named_weights(model) if is_weight)
    notes = _summed(given, stem, own[stem])
    if left:
        notes.append(f"Left out is what stands behind its backbone: {some(left)}.")
    counts = {n: part[n] for n in part if n.endswith("num_batches_tracked") and n not in given}
    behind = {name: value for name, value in own.items() if name not in part}
    load_exactly(model, {**given, **counts, **behind}, source, setting)
    new = tuple(dict.fromkeys(name.partition(".")[0] for name in behind))
    return Fitted(tuple(part), new, tuple(notes))


def _summed(given: Tensors, first: str, stem: Tensor) -> list[str]:
    """Sum a first convolution over three channels where the model reads one; a note of it."""
    value = given.get(first)
    if value is None or value.shape == stem.shape or not _sums_to(value, stem):
        return []
    given[first] = value.sum(1, keepdim=True)
    return [f"{first} is summed over its three channels, to read one."]


def load_exactly(
    model: nn.Module, tensors: Mapping[str, Tensor], source: str = "the file", setting: str = ""
) -> None:
    """Load weights into `model`, name by name.

    Names that the model ties may be in the file once or, with equal values, several times.

    Raises:
        DataError: names that are missing or too many, other shapes or types, tied names with
            different values, or values that are not finite in the model's precision.
    """
    own = model.state_dict()
    given = untied(model, _wrapped_alike(tensors, own), source, setting)
    missing = [name for name in own if name not in given]
    unknown = [name for name in given if name not in own]
    unlike = [name for name in own if name in given and not _alike(own[name], given[name])]
    if not (missing or unknown or unlike):
        refuse_nonfinite({name: given[name].to(own[name].dtype) for name in own}, source, setting)
        model.load_state_dict(given)
        return
    shapes = [f"{n} is {_shown(given[n])} there and {_shown(own[n])} here" for n in unlike]
    said = [
        f"other shapes: {'; '.join(shapes[:5])}{_more(shapes)}" if unlike else "",
        f"missing in it: {some(missing)}" if missing else "",
        f"unknown to the model: {some(unknown)}" if unknown else "",
    ]
    raise DataError(
        f"The weights in {source} are not of this model ({'; '.join(filter(None, said))}). Name the "
        "network that they were saved from, with its settings.",
        setting=setting,
        where=", ".join([*unlike, *missing, *unknown][:20]),
    )


def _wrapped_alike(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Tensors:
    """The weights named as if what they are of stood in the wrapper that the model stands in."""
    there, here = wrapper_of(tensors), wrapper_of(own)
    return {here + name[len(there) :]: value for name, value in tensors.items()}


def _alike(own: Tensor, value: Tensor) -> bool:
    return own.shape == value.shape and own.is_floating_point() == value.is_floating_point()


def _sums_to(value: Tensor, stem: Tensor) -> bool:
    """Whether a convolution over three channels is wanted as one over a single channel."""
    grey = (value.shape[0], 1, *value.shape[2:])
    return value.ndim == 4 and value.shape[1] == 3 and tuple(stem.shape) == grey


def _is_auxiliary(name: str) -> bool:
    """Whether a name is of GoogLeNet's or Inception's classifiers half-way up."""
    return bool(re.match(r"(aux\d*|AuxLogits)\.", name))


def _current(name: str) -> str:
    """The name as it is now: torchvision's DenseNet files have `norm.1` for `norm1`."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


def _shown(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{list(tensor.shape)}{kind}"


def _more(items: list[str], most: int = 5) -> str:
    return f" and {len(items) - most} more" if len(items) > most else ""
