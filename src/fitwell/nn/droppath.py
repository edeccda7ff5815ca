"""Stochastic depth: whole residual branches left out at random."""

from jaxtyping import Float
from torch import Tensor, nn


class DropPath(nn.Module):
    """Leaves a residual branch out, for each example by itself, while training.

    Formula: y = x m / (1 - p), m = 0 with probability p and 1 otherwise, one m an example
    Use: deep residual networks and transformers: regularises, and shortens the way of gradients
    Weakness: little in shallow networks; a high rate near the input costs accuracy
    Source: Huang, Sun, Liu, Sedra and Weinberger 2016, ECCV

    Ours differs: examples and not whole batches are dropped, and what is kept is scaled in training
    rather than in evaluation, so that evaluation is the identity.

    >>> import torch
    >>> DropPath(0.5).eval()(torch.ones(2, 1)).tolist()
    [[1.0], [1.0]]
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
        if not self.training:
            return x
        keep = 1 - self.rate
        kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep)
        return x * (kept / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def drop_path(rate: float) -> nn.Module:
    """The module of a rate; at rate 0 the identity."""
    return DropPath(rate) if rate > 0 else nn.Identity()
