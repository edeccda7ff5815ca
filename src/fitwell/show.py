"""What a model is made of: its parameters, the shapes that pass through it, its cost."""

from typing import Any

import torch
from torch import nn

from fitwell.nn.inits import init_of
from fitwell.spec import Spec


def parameter_table(model: nn.Module, init: str | list[str] = "") -> list[dict[str, Any]]:
    """One row a parameter: name, shape, count, tied_to, trainable, init.

    A parameter that two layers share is counted once: the second one has count 0 and names the first.

    >>> [row["count"] for row in parameter_table(nn.Linear(3, 2))]
    [6, 2]
    """
    first: dict[int, str] = {}
    rows = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        tied = first.get(id(parameter), "")
        first.setdefault(id(parameter), name)
        drawn = parameter.ndim > 1 and init
        rows.append(
            {
                "name": name,
                "shape": list(parameter.shape),
                "count": 0 if tied else parameter.numel(),
                "tied_to": tied or None,
                "trainable": parameter.requires_grad,
                # Inits draw the weights of linear and convolution layers; the rest is PyTorch's.
                "init": init_of(name.rpartition(".")[0], init) if drawn else "default",
            }
        )
    return rows


@torch.no_grad()
def layer_table(model: nn.Module, spec: Spec) -> list[dict[str, Any]]:
    """One row a layer in the order of computation: name, kind, output shape (of one example),
    parameters of its own, multiply_adds.

    Measured by running one example of zeros through, in evaluation mode.
    """
    rows: list[dict[str, Any]] = []
    handles = []

    def record(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            shape = list(output.shape[1:]) if isinstance(output, torch.Tensor) else None
            rows.append(
                {
                    "name": name,
                    "kind": type(module).__name__,
                    "output": shape,
                    "parameters": sum(p.numel() for p in module.parameters(recurse=False)),
                    "multiply_adds": multiply_adds(module, output),
                }
            )

        return hook

    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(module.register_forward_hook(record(name, module)))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        model(torch.zeros(1, *spec.input_shape, device=device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return rows


def multiply_adds(module: nn.Module, output: Any) -> int:
    """Multiplications with an addition of a layer for one example; 0 for layers without weights
    that are multiplied.

    >>> multiply_adds(nn.Linear(3, 2), torch.zeros(1, 2))
    6
    """
    if not isinstance(output, torch.Tensor):
        return 0
    if isinstance(module, nn.Linear):
        return output[0].numel() * module.in_features
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        kernel = 1
        for size in module.kernel_size:
            kernel *= size
        return output[0].numel() * kernel * module.in_channels // module.groups
    return 0


def show_model(model: nn.Module, spec: Spec, init: str | list[str] = "") -> dict[str, Any]:
    """`{"layers", "parameters", "multiply_adds", "table"}` of a model for one example."""
    layers = layer_table(model, spec)
    table = parameter_table(model, init)
    return {
        "layers": layers,
        "parameters": sum(row["count"] for row in table),
        "trainable": sum(row["count"] for row in table if row["trainable"]),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "table": table,
    }


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
    names = [
        name
        for column in spec.columns
        for name in ([f"{column.name}={v}" for v in column.categories] or [column.name])
    ]
    [layer] = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = layer.weight.detach().T + 0.0  # [feature, output]; + 0.0 turns -0.0 into 0.0
    order = weights.abs().amax(1).argsort(descending=True, stable=True).tolist()
    return [
        {"name": names[i], "weight": row[0] if len(row) == 1 else row}
        for i in order
        if any(row := weights[i].tolist())
    ]
