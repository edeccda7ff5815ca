"""What a model is made of: its parameters, the shapes that pass through it, its cost, its signal."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fitwell.models.parts import example_inputs
from fitwell.nn.inits import init_of, named_weights
from fitwell.nn.modes import evaluating
from fitwell.nn.tying import tied_names
from fitwell.spec import Spec

# Examples that the signal is measured on: fewer of large ones, so that it takes seconds at most.
_MOST_EXAMPLES, _MOST_NUMBERS = 64, 2**19
# One layer, although torch builds it of several modules.
_WHOLE = (nn.MultiheadAttention,)
# What moves numbers about and computes nothing.
_MOVING = frozenset({"clone", "copy", "detach", "empty", "to_copy", "unsafe_view"})


def show_model(
    model: nn.Module, spec: Spec, init: str | list[str] = "", x: Tensor | None = None
) -> dict[str, Any]:
    """`{"layers", "parameters", "trainable", "multiply_adds", "table"}` of a model for one example.

    Args:
        x: [batch, *input] examples to measure the signal on; None: standard normal numbers.
    """
    layers = layer_table(model, spec)
    table = parameter_table(model, init)
    if x is None:
        x = example_inputs(spec, num_examples(spec))
    seen = signal(model, x)
    for layer in layers:
        layer["variance"] = seen.get(layer["name"])
    return {
        "layers": layers,
        "parameters": sum(row["count"] for row in table),
        "trainable": sum(row["count"] for row in table if row["trainable"]),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "table": table,
    }


def num_examples(spec: Spec) -> int:
    """How many examples the signal is measured on; two at least, for batch normalisation.

    >>> num_examples(Spec("images", "regression", (3, 224, 224)))
    3
    """
    return min(_MOST_EXAMPLES, max(2, _MOST_NUMBERS // prod(spec.input_shape)))


def parameter_table(model: nn.Module, init: str | list[str] = "") -> list[dict[str, Any]]:
    """One row a parameter: name, shape, count, tied_to, trainable, init.

    A parameter that two layers share is counted once: the second one has count 0 and names the first.

    >>> [row["count"] for row in parameter_table(nn.Linear(3, 2))]
    [6, 2]
    """
    tied = tied_names(model)
    weights = {name for name, _, weight in named_weights(model) if weight}
    return [
        {
            "name": name,
            "shape": list(parameter.shape),
            "count": 0 if name in tied else parameter.numel(),
            "tied_to": tied.get(name),
            "trainable": parameter.requires_grad,
            # Inits draw the weights of linear and convolution layers; the rest is PyTorch's.
            "init": init_of(name.rpartition(".")[0], init)
            if tied.get(name, name) in weights and init
            else "default",
        }
        for name, parameter in model.named_parameters(remove_duplicate=False)
    ]


def layer_table(model: nn.Module, spec: Spec) -> list[dict[str, Any]]:
    """One row a layer in the order of computation: name, kind, output shape (of one example),
    parameters of its own, multiply_adds, functions.

    Measured by running one example of zeros through, in evaluation mode. A module that holds others
    has a row where it does something itself: own parameters, or `functions` that it calls between
    them, such as the sum of a residual block. A layer that is called twice has a second row, `a#2`.

    >>> rows = layer_table(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), Spec("table", "regression", (3,)))
    >>> [(row["name"], row["output"], row["parameters"], row["multiply_adds"]) for row in rows]
    [('0', [2], 8, 6), ('1', [2], 0, 0)]
    """
    work = _Work()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    example = torch.zeros_like(example_inputs(spec, 1), device=device)
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.no_grad())
        # Attention as products of matrices, not as one fused call: the same in every torch.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_no_fast_path())
        stack.enter_context(_step_by_step())
        stack.enter_context(_calls(model, work.begin, work.end))
        stack.enter_context(work)
        model(example)
    counted: set[int] = set()
    rows = []
    for call in work.done:
        own = [p for p in _own_parameters(call.module, work.called) if id(p) not in counted]
        counted |= {id(p) for p in own}
        leaf = not any(True for _ in call.module.children()) or isinstance(call.module, _WHOLE)
        functions = [] if leaf else sorted(call.functions)
        if not (leaf or own or call.multiply_adds or functions):
            continue
        rows.append(
            {
                "name": call.label,
                "kind": type(call.module).__name__,
                "output": call.output,
                "parameters": sum(p.numel() for p in own),
                "multiply_adds": call.multiply_adds,
                "functions": functions,
            }
        )
    return rows


def signal(model: nn.Module, x: Tensor) -> dict[str, dict[str, float | None]]:
    """Variance of every layer's output, and of the gradient that comes back to it.

    Where variances fall from layer to layer signal or gradient vanish, where they rise they explode
    (Glorot and Bengio 2010). The gradient is that of sum(g z), g standard normal numbers at the
    output z, so that no target is needed; only its course over the layers says something. In
    training mode, on a copy: batch normalisation uses the batch, and the model stays as it is.

    Args:
        x: [batch, *input] examples.

    >>> seen = signal(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), torch.randn(1000, 4))
    >>> seen["0"]["gradient"] < 1 / 16 < seen["1"]["gradient"]  # a sigmoid's slope is 1/4 at most
    True
    """
    seen: dict[str, dict[str, float | None]] = {}

    def measure(label: str, module: nn.Module, output: Any) -> None:
        tensor = _tensor(output)
        if tensor is None or not tensor.is_floating_point():
            return
        row = seen[label] = {"forward": _variance(tensor), "gradient": None}
        if tensor.requires_grad:
            tensor.register_hook(lambda g: row.update(gradient=_variance(g)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        trained = copy.deepcopy(model).train()
        with torch.enable_grad(), _calls(trained, lambda label, module: None, measure):
            # A clone, since an activation in place may not touch a leaf. Words have no gradient.
            output = _tensor(trained(x.clone().requires_grad_(x.is_floating_point()).clone()))
        if output is not None and output.requires_grad:  # not where a layer computes with `.data`
            output.backward(torch.randn_like(output))
    return seen


def _tensor(output: Any) -> Tensor | None:
    """What a layer gives; the first of several, as of torch's attention."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None


def _variance(values: Tensor) -> float | None:
    return values.detach().double().var().item() if values.numel() > 1 else None


@dataclass
class _Call:
    """One call of a module, while it runs and after."""

    label: str
    module: nn.Module
    multiply_adds: int = 0
    functions: set[str] = field(default_factory=set)
    output: list[int] | None = None


class _Work(TorchDispatchMode):
    """Counts what torch computes, and books it on the innermost module that is running."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[_Call] = []
        self.done: list[_Call] = []
        self.called: set[nn.Module] = set()

    def begin(self, label: str, module: nn.Module) -> None:
        self.running.append(_Call(label, module))
        self.called.add(module)

    def end(self, label: str, module: nn.Module, output: Any) -> None:
        call = self.running.pop()
        tensor = _tensor(output)
        call.output = None if tensor is None else list(tensor.shape[1:])
        self.done.append(call)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.strip("_")
        if self.running and not func.is_view and name not in _MOVING:
            call = self.running[-1]
            call.functions.add(name)
            if func.overloadpacket in flop_registry:
                flops = flop_registry[func.overloadpacket]
                # One multiplication and one addition are two operations.
                call.multiply_adds += flops(*args, **(kwargs or {}), out_val=output) // 2
        return output


@contextmanager
def _calls(
    model: nn.Module,
    begin: Callable[[str, nn.Module], None],
    end: Callable[[str, nn.Module, Any], None],
) -> Iterator[None]:
    """Tell of every call of every module inside: its label (`name`, then `name#2` ...) and output."""
    counts: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        name = name or "model"

        def before(module: nn.Module, inputs: Any, name: str = name) -> None:
            counts[name] = counts.get(name, 0) + 1
            begin(label(name), module)

        def after(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            end(label(name), module, output)

        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))

    def label(name: str) -> str:
        return name if counts[name] == 1 else f"{name}#{counts[name]}"

    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """torch's fused transformer layer would hide the products inside it."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _step_by_step() -> Iterator[None]:
    """Recurrent layers as products of matrices, not as one fused call that nothing can be counted in."""
    backend: Any = torch.backends.mkldnn
    before = backend.enabled
    backend.enabled = False  # `flags` sets further ones, and warns of them
    try:
        yield
    finally:
        backend.enabled = before


def surviving_features(model: nn.Module, spec: Spec) -> list[dict[str, Any]]:
    """The inputs of a linear model of a table whose weight is not 0, the heaviest first.

    `{"name", "weight"}`; a category is one input a value. Weights are those of standardised columns
    (and a standardised target), so their sizes compare; of several outputs they are a list.

    >>> from fitwell.spec import Column
    >>> spec = Spec("table", "regression", (2,), columns=(Column("age"), Column("height")))
    >>> layer = nn.Linear(2, 1)
    >>> layer.weight.data = torch.tensor([[0.0, -0.5]])
    >>> surviving_features(layer, spec)
    [{'name': 'height', 'weight': -0.5}]
    """
    names = [name for column in spec.columns for name in column.features]
    [layer] = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = layer.weight.detach().T + 0.0  # [feature, output]; + 0.0 turns -0.0 into 0.0
    order = weights.abs().amax(1).argsort(descending=True, stable=True).tolist()
    return [
        {"name": names[i], "weight": row[0] if len(row) == 1 else row}
        for i in order
        if any(row := weights[i].tolist())
    ]


def _own_parameters(module: nn.Module, called: set[nn.Module]) -> Iterator[nn.Parameter]:
    """Parameters that this module uses itself: its own, and those of parts that are never called."""
    yield from module.parameters(recurse=False)
    for child in module.children():
        if child not in called:
            yield from _own_parameters(child, called)
