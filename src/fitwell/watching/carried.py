"""Whether a loop clears its gradients between steps."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_LOOKS = 3


class Carried:
    """Keeps a copy of one gradient at a step, and looks when the next backward pass begins whether it is
    still there, and at further ones before the next step whether it was cleared by then; three times.

    The backward pass of a generator goes through its discriminator, whose gradients are cleared later.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = sorted(parameters, key=torch.numel)  # a small one is cheap to copy
        self._looks = self._there = 0
        self._kept: tuple[nn.Parameter, Tensor] | None = None
        # Whether it is still there; None: no backward pass has begun.
        self._stays: bool | None = None

    @property
    def decided(self) -> bool:
        return self._looks >= _LOOKS

    @property
    def told(self) -> bool:
        """Whether it was there each time."""
        return self.decided and self._there == self._looks

    def stepped(self) -> None:
        if self._stays is not None:
            self._looks += 1
            self._there += self._stays
        self._kept = self._stays = None
        if self.decided:
            return
        for parameter in self._parameters:
            gradient = parameter.grad
            if gradient is not None and not gradient.is_sparse and gradient.any():
                self._kept = parameter, gradient.detach().clone()
                return

    def backward_begins(self) -> None:
        if self._kept is None:
            return
        parameter, before = self._kept
        if self._stays is None:
            self._stays = parameter.grad is not None and torch.equal(parameter.grad, before)
        elif parameter.grad is None or not parameter.grad.any():
            self._stays = False
