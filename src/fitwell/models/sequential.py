"""A network written in the recipe: layers and activations by name, one after another."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import torch
from pydantic import Field
from torch import nn

from fitwell.errors import SettingError, did_you_mean
from fitwell.models.custom import load_builder, refuse_untrusted
from fitwell.models.parts import assemble
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.arithmetic import TooSmall
from fitwell.nn.layers import LAYERS, layer
from fitwell.nn.modes import evaluating
from fitwell.nn.types import Init
from fitwell.settings import arguments, signatures
from fitwell.spec import Spec

Layers: TypeAlias = Annotated[
    Sequence[str],
    Field(description='layers and activations in order, such as "conv2d(6, kernel=5)" or "relu"'),
]
# A name and a colon, a layer, an activation, an import path or @name, and arguments: most is optional.
_ENTRY = re.compile(r"(?:(?P<name>\w+):\s+)?(?P<what>@?[\w.:]+)\s*(?:\((?P<inside>.*)\))?", re.S)
_LARGEST = 512  # sides up to which the least one is looked for


def sequential(
    spec: Spec,
    *,
    layers: Layers = ("flatten", "linear(64)", "relu"),
    init: Init = "default",
) -> nn.Sequential:
    """Layers and activations by name, one after another, and a linear head.

    Formula: z = W f_n(... f_2(f_1(x))) + b, each f an entry of `layers`
    Use: a network of one's own without a line of Python; the textbook's, layer by layer
    Weakness: no branches: residual blocks and the like are layers of one's own, by import path
    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, equation 6.2

    An entry is a layer (`fitwell list layers`) or an activation, with its settings in brackets, by
    name or in order: "conv2d(6, kernel=5, padding=2)". How many channels or features come in is
    found by running each layer on zeros. A layer of one's own is named by import path,
    "my_package.layers:Centered(scale=2)"; an argument without a default gets the shape that
    reaches it. "shared: linear(64)" gives a layer a name, and "@shared" puts the same one at a
    second place: its weights train once, count once and are stored once. The head is added, one
    output a class, unless the last entry is called so: "head: linear(10)".

    >>> spec = Spec("images", "classification", (1, 8, 8), tuple("0123456789"))
    >>> model = sequential(spec, layers=["flatten", "a: linear(64)", "tanh", "@a", "tanh"])
    >>> [name for name, _ in model.named_children()]
    ['flatten1', 'a', 'tanh3', 'tanh5', 'head']
    >>> model.get_parameter("a.weight").shape, model(torch.zeros(5, 1, 8, 8)).shape
    (torch.Size([64, 64]), torch.Size([5, 10]))
    """
    try:
        modules = _modules(spec, layers)
    except TooSmall as error:
        least = _least(spec, layers)
        also = f", or data.image_size={least}, the least that passes" if least else ""
        raise SettingError(f"{error.message.rstrip('.')}{also}.", setting="model.layers") from error
    return assemble(modules, init)


def _modules(spec: Spec, layers: Layers) -> dict[str, nn.Module]:
    """The layers under their names, the head last."""
    shape = tuple(spec.input_shape)
    modules: dict[str, nn.Module] = {}
    for position, text in enumerate(layers, start=1):
        try:
            if "head" in modules:
                raise SettingError("it comes after the head. The head must be the last entry.")
            entry = read_entry(text)
            name = entry.name or f"{re.split('[.:@]', entry.what)[-1].lower()}{position}"
            if name in modules or hasattr(nn.Sequential, name):
                raise SettingError(f"the name {name!r} is taken. Choose another one.")
            modules[name] = _built(entry, shape, modules)
            gives = _output_shape(modules[name], shape)
        except SettingError as error:
            raise (TooSmall if isinstance(error, TooSmall) else SettingError)(
                f"model.layers, entry {position} of {len(layers)}, {text!r}, which gets "
                f"{list(shape)}: {re.sub('^model[.](name: )?', '', error.message)}",
                setting="model.layers",
            ) from error
        shape = gives
    if "head" not in modules:
        if len(shape) != 1:
            raise SettingError(
                f"model.layers end in {list(shape)}, and the head needs a row of numbers. "
                "Add flatten or global_avgpool at the end.",
                setting="model.layers",
            )
        modules["head"] = nn.Linear(shape[0], spec.num_outputs)
    elif shape != (spec.num_outputs,):
        raise SettingError(
            f"model.layers: the head gives {list(shape)}, and {[spec.num_outputs]} is needed: one "
            "raw output a class, or one for a number.",
            setting="model.layers",
        )
    return modules


def _least(spec: Spec, layers: Layers) -> int:
    """The least larger square image that passes through all layers; 0 where none up to 512 does."""
    if spec.kind != "images":
        return 0
    channels, *sides = spec.input_shape
    for side in range(min(sides) + 1, _LARGEST + 1):
        try:
            with torch.device("meta"):  # shapes, and no numbers
                _modules(replace(spec, input_shape=(channels, side, side)), layers)
        except TooSmall:
            continue
        except SettingError:
            break  # another mistake behind the first one
        return side
    return 0


@dataclass(frozen=True)
class Entry:
    """One entry of `layers`, read: "name: what(in_order, key=value)"."""

    name: str
    what: str
    in_order: list[Any]
    by_name: dict[str, Any]


def read_entry(text: str) -> Entry:
    """Read an entry; arguments are literals, and nothing is evaluated.

    Raises:
        SettingError: it is not written as an entry is.

    >>> read_entry("first: conv2d(6, kernel=[3, 1], padding_mode=circular)")
    Entry(name='first', what='conv2d', in_order=[6], by_name={'kernel': [3, 1], 'padding_mode': 'circular'})
    """
    found = _ENTRY.fullmatch(text.strip())
    if found is None:
        raise SettingError('it is not written as "layer(setting=value)".')
    try:
        call = ast.parse(f"f({found['inside'] or ''})", mode="eval").body
        assert isinstance(call, ast.Call)
        in_order = [_literal(node) for node in call.args]
        assert all(word.arg for word in call.keywords)  # no **
        by_name = {str(word.arg): _literal(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError):
        raise SettingError(
            f"({found['inside']}) is not a list of values: write numbers, [lists], true, false or "
            "names, as in (6, kernel=[5, 3])."
        ) from None
    return Entry(found["name"] or "", found["what"], in_order, by_name)


def _literal(node: ast.expr) -> Any:
    """A literal; a bare word stands for itself, since a shell takes quotes away."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False}.get(node.id, node.id)
    return ast.literal_eval(node)


def _built(entry: Entry, shape: tuple[int, ...], modules: Mapping[str, nn.Module]) -> nn.Module:
    if entry.what.startswith("@"):
        shared = entry.what[1:]
        if shared not in modules:
            raise SettingError(
                f"no layer before it is called {shared!r}.{did_you_mean(shared, modules)} "
                f'Write "{shared}: linear(64)" at the first place.'
            )
        if entry.in_order or entry.by_name:
            raise SettingError(f"settings of a shared layer stand at its first place, {shared!r}.")
        return modules[shared]
    if ":" in entry.what:
        return _own(entry, shape)
    if entry.what in LAYERS:
        known = signatures()["layers"][entry.what]
        return layer(entry.what, shape, _settings(entry, list(known)))
    if entry.what in ACTIVATIONS:
        known = signatures()["activations"][entry.what]
        return ACTIVATIONS[entry.what](
            **arguments("activations", entry.what, _settings(entry, list(known)))
        )
    raise SettingError(
        f"there is no layer or activation {entry.what!r}."
        f"{did_you_mean(entry.what, [*LAYERS, *ACTIVATIONS])} `fitwell list layers` and `fitwell "
        "list activations` show them; your own is package.module:name."
    )


def _own(entry: Entry, shape: tuple[int, ...]) -> nn.Module:
    """A layer by import path. It is found and called as a model of one's own is."""
    first, _, rest = entry.what.partition(":")
    if rest in LAYERS or rest in ACTIVATIONS:
        raise SettingError(f'to name a layer, put a blank after the colon: "{first}: {rest}".')
    refuse_untrusted(entry.what)
    build: Callable[..., nn.Module] = load_builder(entry.what)
    names = list(inspect.signature(build).parameters)[1:]
    return build(shape, **_settings(entry, names))


def _settings(entry: Entry, names: Sequence[str]) -> dict[str, Any]:
    """The arguments by name, those in order included."""
    if len(entry.in_order) > len(names):
        raise SettingError(
            f"{entry.what} takes {len(names)} settings ({', '.join(names) or 'none'}), and "
            f"{len(entry.in_order)} are given."
        )
    in_order = dict(zip(names, entry.in_order, strict=False))
    if twice := [name for name in in_order if name in entry.by_name]:
        raise SettingError(f"{twice[0]} is given twice, in order and by name.")
    return in_order | entry.by_name


@torch.no_grad()
def _output_shape(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """What comes out of the layer for one example of zeros; also gives lazy layers their shapes."""
    try:
        with evaluating(module):
            output = module(torch.zeros(2, *shape))
    except Exception as error:
        raise SettingError(f"it fails: {type(error).__name__}: {error}") from error
    if not isinstance(output, torch.Tensor) or output.dim() < 2 or len(output) != 2:
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise SettingError(f"it gives {got} for 2 examples, and not one row for each.")
    return tuple(output.shape[1:])
