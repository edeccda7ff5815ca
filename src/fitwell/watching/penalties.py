"""How hard penalties on the weights pull, beside the data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitwell.probes import dense, weight_layers
from fitwell.record import Row


class Penalties:
    """Parts the gradient of each layer into that of penalties on its weights, and the rest.

    Penalties in the loss are told from the gradient itself, by least squares on the weights (L2) and their
    signs (L1). Weight decay is the optimizer's setting; where it goes beside the gradient, as in AdamW, it
    is compared with the step: both are divided by the learning rate.
    """

    def __init__(self) -> None:
        self._pulls: dict[str, tuple[float, float]] = {}
        self._beside: dict[str, tuple[float, float]] = {}  # decay and learning rate

    @torch.no_grad()
    def measure(self, model: nn.Module, optimizers: Sequence[Optimizer], *, in_loss: bool) -> None:
        """Before a step, with the gradients that backward left.

        Args:
            in_loss: whether the loss has penalties of its own.
        """
        groups = {
            id(p): (group, type(optimizer).__name__)
            for optimizer in optimizers
            for group in optimizer.param_groups
            for p in group["params"]
        }
        self._pulls, self._beside = {}, {}
        for name, weights in weight_layers(model).items():
            weight = max(weights, key=lambda w: w.numel())
            group, kind = groups.get(id(weight), ({}, ""))
            decay = float(group.get("weight_decay") or 0.0)
            beside = bool(group.get("decoupled_weight_decay")) or kind == "Muon"
            if weight.grad is None or not (in_loss or decay):
                continue
            if beside and decay:
                self._beside[name] = (decay, float(group.get("lr", 0.0)))
            w, gradient = weight.detach().flatten().float(), dense(weight.grad).flatten().float()
            penalty = _like_weights(w, gradient) if in_loss else torch.zeros_like(w)
            rest = _rms(gradient - penalty)
            if not beside:
                penalty = penalty + decay * w
            if in_loss or not beside:
                self._pulls[name] = (_rms(penalty), rest)

    def told(self, rows: list[Row]) -> list[Row]:
        """The probe rows of the step, with `penalty_rms` and `data_rms` where there are penalties."""
        for row in rows:
            name, size, update = row["layer"], row["weight_rms"], row["update_ratio"]
            if name in self._pulls:
                row["penalty_rms"], row["data_rms"] = self._pulls[name]
            elif name in self._beside and size and update:
                decay, rate = self._beside[name]
                if rate:
                    row["penalty_rms"], row["data_rms"] = decay * size, update * size / rate
        return rows


def _like_weights(w: Tensor, gradient: Tensor) -> Tensor:
    """The part of a gradient that is a multiple of the weights and of their signs."""
    shapes = torch.stack([w, w.sign()], 1)
    products = torch.linalg.pinv(shapes.T @ shapes)  # 2 x 2; singular where all are equally large
    return shapes @ (products @ (shapes.T @ gradient))


def _rms(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values)) / max(1, values.numel()) ** 0.5
