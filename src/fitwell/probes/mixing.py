"""Whether what a network says of an example depends on the others of its batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fitwell.record import Row

_EXAMPLES = 64
_TINY = 1e-12
_SAME = 1e-6  # of the spread: a network that says the same twice


def mixing(run: Callable[[Tensor, int], Any], x: Tensor) -> Row | None:
    """An evidence row "mixing": how far the outputs of examples change when others leave their batch.

    Both halves of the first 64 examples are run together and alone: a recurrent layer that takes the batch
    for time passes on to later ones only.

    Args:
        run: (inputs, seed) -> what the network says of them in evaluation mode, without gradients, from the
            same state each time.
        x: [example, ...] inputs.

    Returns:
        `difference`: root mean square of the change over that of the outputs around their mean; up to
        rounding 0 where each example stands for itself. None where it cannot be told: fewer than 4
        examples, outputs that are no row an example, that do not differ, or that chance has a hand in.

    >>> x, layer = torch.randn(8, 3), torch.nn.Linear(3, 2)
    >>> mixing(lambda x, seed: layer(x), x)["difference"] < 1e-5
    True
    >>> mixing(lambda x, seed: layer(x).softmax(0), x)["difference"] > 0.1
    True
    """
    x = x[:_EXAMPLES]
    half = len(x) // 2
    if half < 2:
        return None
    said = [run(each, seed) for each, seed in ((x, 0), (x, 1), (x[:half], 0), (x[half:], 0))]
    if not all(isinstance(out, Tensor) and out.dim() for out in said):
        return None
    if [len(out) for out in said] != [len(x), len(x), half, len(x) - half]:
        return None
    if len({out.shape[1:] for out in said}) > 1:
        return None
    together, again, *alone = (out.detach().float() for out in said)
    spread = _size(together - together.mean(0))
    change = _size(together - torch.cat(alone))
    if not spread + change < float("inf") or spread <= _TINY * (1 + float(together.abs().max())):
        return None
    if _size(together - again) > _SAME * spread:
        return None
    return {"experiment": "mixing", "difference": change / spread}


def _size(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
