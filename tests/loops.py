"""What the tests of watched loops train: real digits and small networks."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

import fitwell as fw


def digits(count: int = 1797) -> tuple[Tensor, Tensor]:
    found: Any = load_digits()
    return torch.tensor(found.data[:count] / 16).float(), torch.tensor(found.target[:count])


def mlp(*end: nn.Module, inputs: int = 64, outputs: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, outputs), *end)


class Detached(nn.Module):
    """A body that no gradient reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu().data)


def one_step(
    model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor, loss: Any = F.cross_entropy
) -> Tensor:
    """A step as anybody would write it; its loss, with the graph."""
    value = loss(model(x), y)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value


Told = dict[str, str]  # finding -> sentence


def table(load: Any, count: int) -> tuple[Tensor, Tensor]:
    found = load()
    order = torch.randperm(len(found.data), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(found.data).float()[order], torch.tensor(found.target)[order]
    return (x - x[:count].mean(0)) / x[:count].std(0), y


def classes(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        out = model(x)
    model.train()
    return {"accuracy": float((out.argmax(1) == y).float().mean()), **loss_of(out, y)}


def loss_of(out: Tensor, y: Tensor) -> dict[str, float]:
    return {"loss": float(F.cross_entropy(out, y))}


def trained(
    model: nn.Module,
    data: tuple[Tensor, ...],
    *,
    optimizer: Optimizer | None = None,
    loss: Callable[..., Tensor] = F.cross_entropy,
    score: Callable[..., dict[str, float]] = classes,
    step: Callable[[Optimizer, Tensor], None] | None = None,
    schedule: Any = None,
    epochs: int = 10,
    batch: int = 32,
    measure: bool = False,
) -> Told:
    """What is found of a training, with a validation after each epoch."""
    x, y, x_new, y_new = data
    torch.manual_seed(0)
    optimizer = optimizer or torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                value = loss(model(x[rows]), y[rows])
                if step:
                    step(optimizer, value)
                else:
                    optimizer.zero_grad()
                    value.backward()
                    optimizer.step()
                watch.step(value)
            told = score(model, x_new, y_new)
            if schedule:
                schedule.step(*([told["loss"]] if isinstance(schedule, ReduceLROnPlateau) else []))
            watch.epoch(validation=told)
    return {f.name: f.sentence for f in watch.diagnose(measure=measure, show=False)}


def rmse(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    with torch.no_grad():
        return {"rmse": float(F.mse_loss(model(x).squeeze(-1), y).sqrt())}
