"""Other people's training loops: watched from outside, and inspected before the first step."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from fitwell.watching.inspection import inspect
from fitwell.watching.session import Watch


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    out: str | Path | None = None,
) -> Watch:
    """Watch a training loop of your own, and say what holds it back.

        with fw.watch(model, optimizer) as watch:
            for x, y in loader:
                loss = loss_function(model(x), y)
                optimizer.zero_grad(); loss.backward(); optimizer.step()
                watch.step(loss)
        watch.diagnose()

    Read-only: the trained weights are the same bits with and without it. The first 512 examples of the
    loop (64 MiB at most) are kept, and the model is run on them again, in evaluation mode, at the end of
    each epoch that is told and of the block; random numbers and buffers are put back afterwards.

    Args:
        model: the module that is trained; compiled or wrapped (DistributedDataParallel) too.
        optimizer: whose `step()` is called; several; without one weights are looked at from one
            `watch.step` to the next.
        out: a new folder to write the record to as it grows; `fitwell diagnose` reads it, also of a loop
            that was killed.

    Raises:
        SettingError: no parameters; a learning rate below zero, or of zero with no scheduler; a setting
            that is not a number.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer) as watching:
    ...     for _ in range(3):
    ...         x, y = torch.randn(8, 4), torch.randint(3, (8,))
    ...         loss = nn.functional.cross_entropy(model(x), y)
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    ...         watching.step(loss)
    >>> [finding.name for finding in watching.diagnose(show=False)]
    ['head_loss_mismatch']
    """
    return Watch(model, optimizer, out=out)


__all__ = ["Watch", "inspect", "watch"]
