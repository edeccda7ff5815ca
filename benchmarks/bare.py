"""The loop fitwell is measured against: as lean as PyTorch allows by hand.

Preloaded float32 tensors, whole batches by index, fused optimizer, no DataLoader, float32 and NCHW
(everybody's default). `second` is the same job written another way; `benchmarks/step.py` checks that
the two are within 5 % of one another, so that neither is slow by accident.
"""

import copy
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def first(model: nn.Module, x: Tensor, y: Tensor, batch: int, steps: int, lr: float) -> float:
    """Seconds for so many steps of SGD with momentum."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, fused=True
    )
    model.train()
    order = torch.randperm(len(x))
    per_epoch = len(x) // batch
    started = time.perf_counter()
    for step in range(steps):
        at = step % per_epoch * batch
        index = order[at : at + batch]
        loss = F.cross_entropy(model(x.index_select(0, index)), y.index_select(0, index))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def second(model: nn.Module, x: Tensor, y: Tensor, batch: int, steps: int, lr: float) -> float:
    """The same with a module loss, the order cut up and the targets put into it beforehand."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(
        list(model.parameters()), lr=lr, momentum=0.9, weight_decay=5e-4, fused=True
    )
    criterion = nn.CrossEntropyLoss()
    order = torch.randperm(len(x))[: len(x) // batch * batch]
    indices, targets = order.split(batch), y[order].split(batch)
    started = time.perf_counter()
    for step in range(steps):
        index = step % len(indices)
        optimizer.zero_grad(set_to_none=True)
        criterion(model(x.index_select(0, indices[index])), targets[index]).backward()
        optimizer.step()
    return time.perf_counter() - started
