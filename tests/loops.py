"""What the tests of watched loops train: real digits and small networks."""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Optimizer


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
