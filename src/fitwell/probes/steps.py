"""What flows through each layer at chosen steps: signal, gradient, weights and their real update."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fitwell.probes.activations import Activations
from fitwell.record import Row

_TABLES = (nn.Embedding, nn.EmbeddingBag)
_COLUMNS = 4096  # of a weight that are looked at together


class Probes:
    """Measure chosen steps of a training loop, and the activations of an evaluation pass.

    In the loop, around a step that is to be measured:

        probes.before_step()
        loss.backward()
        probes.after_backward()      # before clipping, before the optimizer clears the gradients
        optimizer.step()
        rows = probes.after_step(step, epoch)

    A layer is a module with weights of its own of two or more dimensions (biases and normalisation
    scales start at 0 or 1, so their relative update says nothing); its rows carry its module name.

    Args:
        model: the module that is trained; it is never changed.
        fresh: whether it has not made a step yet. Units that are twins are looked for at its first.
    """

    def __init__(self, model: nn.Module, *, fresh: bool = True) -> None:
        self.model = model
        self._layers = weight_layers(model)
        self._order: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []
        self._names: list[str] = []
        self._weights: list[list[nn.Parameter]] = []
        self._before: list[list[Tensor]] = []
        self._grad_norms: list[Tensor | None] = []
        self._flow: dict[str, tuple[Tensor | None, Tensor | None]] = {}
        self._twins: dict[str, float] | None = None if fresh else {}

    @torch.no_grad()
    def before_step(self) -> None:
        """Keep a copy of the weights, to compare with after the step."""
        trainable = {n: [p for p in ps if p.requires_grad] for n, ps in self._layers.items()}
        self._names = [name for name, weights in trainable.items() if weights]
        self._weights = [trainable[name] for name in self._names]
        self._before = [[w.detach().clone() for w in weights] for weights in self._weights]
        self._grad_norms, self._flow = [], {}
        if not self._handles:
            self._watch_flow()

    @torch.no_grad()
    def after_backward(self) -> None:
        """Read each layer's gradient, as backward left it."""
        self._grad_norms = [
            _norm([dense(w.grad) for w in weights if w.grad is not None])
            for weights in self._weights
        ]
        if self._twins is None:
            looked_up = {n for n, m in self.model.named_modules() if isinstance(m, _TABLES)}
            self._twins = {
                name: twins(weights, looked_up=name in looked_up)
                for name, weights in zip(self._names, self._weights, strict=True)
            }

    @torch.no_grad()
    def after_step(self, step: int, epoch: int) -> list[Row]:
        """One row a layer: `input_rms`, `output_rms`, `grad_rms`, `weight_rms` (before the step) and
        `update_ratio`; at the first step that is measured also `twins`.

        A number that is unknown (no gradient, zero weights, not finite, a layer that was not called
        as a module) is None.
        """
        self._remove_hooks()
        rows: list[Row] = []
        position = {n: self._order.get(n, len(self._layers)) for n in self._layers}
        # Stable: layers that the forward pass never called as a module stay in order, last.
        index = {name: i for i, name in enumerate(sorted(self._layers, key=lambda n: position[n]))}
        grad_norms = self._grad_norms or [None] * len(self._names)
        for name, weights, before, grad in zip(
            self._names, self._weights, self._before, grad_norms, strict=True
        ):
            scale = math.sqrt(sum(w.numel() for w in weights))
            moved = _norm([w.detach() - b for w, b in zip(weights, before, strict=True)])
            weight_norm = _number(_norm(before))
            update_norm = _number(moved)
            grad_norm = _number(grad)
            ratio = None
            if weight_norm and update_norm is not None:
                ratio = update_norm / weight_norm
            signal, output = self._flow.get(name, (None, None))
            row: Row = {
                "step": step,
                "epoch": epoch,
                "layer": name,
                "index": index[name],
                "kind": "step",
                "input_rms": _number(signal),
                "output_rms": _number(output),
                "grad_rms": None if grad_norm is None else grad_norm / scale,
                "weight_rms": None if weight_norm is None else weight_norm / scale,
                "update_ratio": ratio,
            }
            if self._twins:
                row["twins"] = self._twins[name]
            rows.append(row)
        self._before, self._grad_norms, self._flow = [], [], {}
        if self._twins:
            self._twins = {}  # taken once
        return sorted(rows, key=lambda row: row["index"])

    @contextmanager
    def watch_activations(self, model: nn.Module | None = None) -> Iterator[Activations]:
        """Measure every activation module during the passes run inside the block.

        The model should be in evaluation mode and see the fixed training sample:

            with probes.watch_activations() as watched:
                for x in sample:
                    model(x)
            rows = watched.rows(step, epoch)

        Functional calls (`F.relu`) cannot be seen by hooks and give no row.

        Args:
            model: the module that is run in the block, where it is not the trained one itself (an
                averaged copy).
        """
        watched = Activations()
        handles = watched.attach(self.model if model is None else model)
        try:
            yield watched
        finally:
            for handle in handles:
                handle.remove()

    def close(self) -> None:
        """Remove what a step that was never finished left behind."""
        self._remove_hooks()
        self._before, self._grad_norms, self._flow = [], [], {}

    def _watch_flow(self) -> None:
        """Note what goes into each layer and comes out of it at its first call of this step, and the
        order of the calls in the first step: the layers' depth."""

        def enter(name: str) -> Any:
            def hook(*_: object) -> None:
                self._order.setdefault(name, len(self._order))

            return hook

        def leave(name: str) -> Any:
            def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
                if name not in self._flow:
                    self._flow[name] = (_rms(inputs), _rms(output))

            return hook

        modules = dict(self.model.named_modules())
        for name in self._layers:
            if name in modules:
                self._handles.append(modules[name].register_forward_pre_hook(enter(name)))
                self._handles.append(modules[name].register_forward_hook(leave(name)))

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def weight_layers(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Each module's own weights of two or more dimensions, by module name; shared ones once.

    A parameter of the model itself goes under its own name, and so does one of a list or dictionary of
    parameters. A model that has only vectors (a scale a feature) gives those.
    """
    found: dict[int, dict[str, list[nn.Parameter]]] = {1: {}, 2: {}}
    taken: set[int] = set()
    for name, module in model.named_modules():
        listed = isinstance(module, nn.ParameterList | nn.ParameterDict)
        for own, weight in module.named_parameters(recurse=False):
            if id(weight) in taken or isinstance(weight, nn.UninitializedParameter):
                continue
            taken.add(id(weight))
            layer = f"{name}.{own}" if name and listed else name or own
            found[2 if weight.dim() >= 2 else 1].setdefault(layer, []).append(weight)
    return found[2] or found[1]


@torch.no_grad()
def twins(weights: list[nn.Parameter], *, looked_up: bool = False) -> float:
    """Share of the units whose weights and gradients are those of another unit too: no step will ever
    tell the two apart.

    A unit is a row of the weight. Rows are compared by one random combination of their numbers; of
    weights in several pieces the largest share counts.

    Args:
        looked_up: rows are looked up one by one, as an embedding's: those without a gradient are not at
            hand yet, and say nothing.
    """
    found = 0.0
    for weight in weights:
        if weight.dim() < 2 or len(weight) < 2 or weight.grad is None:
            continue
        random = torch.Generator().manual_seed(0)
        gradient = dense(weight.grad)
        marks = _marks(weight, random) + _marks(gradient, random)
        if looked_up:
            marks = marks[gradient.flatten(1).any(1)]
            if len(marks) < 2:
                continue
        marks = marks.sort().values
        same = marks.diff() <= 1e-7 * marks.abs().max()
        none = same.new_zeros(1)
        alike = torch.cat([none, same]) | torch.cat([same, none])
        found = max(found, float(alike.float().mean()))
    return found


def _marks(weight: Tensor, random: torch.Generator) -> Tensor:
    """[row] one random combination of the numbers of each row, as shares of the largest number.

    A few columns at a time: in float64 a large layer would not fit beside itself.
    """
    rows = weight.detach().flatten(1)
    mix = torch.rand(rows.shape[1], generator=random, dtype=torch.float64) + 0.5
    pairs = zip(rows.split(_COLUMNS, 1), mix.to(rows.device).split(_COLUMNS), strict=True)
    marks = torch.stack([part.double() @ share for part, share in pairs]).sum(0)
    return marks / rows.abs().max().double().clamp(min=torch.finfo(torch.float64).tiny)


def dense(gradient: Tensor) -> Tensor:
    """A gradient as it would be without `sparse=True`."""
    return gradient.to_dense() if gradient.layout != torch.strided else gradient


def _rms(value: Any) -> Tensor | None:
    """Root mean square of a tensor, or of the first of several; None of anything else."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
        return None
    value = value.detach().float()
    return torch.linalg.vector_norm(value) / math.sqrt(value.numel())


def _norm(tensors: list[Tensor]) -> Tensor | None:
    """Euclidean norm over all of them together, kept on the device."""
    if not tensors:
        return None
    norms = torch.stack([torch.linalg.vector_norm(t.float()) for t in tensors])
    return torch.linalg.vector_norm(norms)


def _number(norm: Tensor | None) -> float | None:
    value = math.nan if norm is None else norm.item()
    return value if math.isfinite(value) else None
