"""What reaches the end of a recurrent network from steps ago: the gradient by lag, and any other order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from fitwell.nn.modes import evaluating
from fitwell.nn.recurrent import Recurrent
from fitwell.nn.steps import Lengths, Steps
from fitwell.record import Row

_MOST_LAGS = 64  # of a curve
# What the first recurrent layer reads -> what it is to read instead.
Change: TypeAlias = Callable[[Steps, Lengths], Steps]


def reader_of(model: nn.Module) -> Recurrent | nn.RNNBase | None:
    """What reads the sequence in a recurrent network: its first recurrent layers; None of others.

    >>> type(reader_of(nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 8)))).__name__
    'GRU'
    """
    modules = model.modules()
    return next((m for m in modules if isinstance(m, Recurrent | nn.RNNBase)), None)


def through_time(model: nn.Module, loss: Callable[[Tensor], Tensor], x: Tensor) -> Row | None:
    """An evidence row "through_time": how much of the loss's gradient arrives how many steps back.

    Formula: gradient_k = root mean square over the examples of |dL / dx_{T-k}|, with T the last step of
        each and x_t what the first recurrent layer reads at step t
    Source: Pascanu, Mikolov and Bengio 2013, ICML, section 2.1

    In evaluation mode; modes and gradients are as before.

    Args:
        loss: of what the model says, summed over the examples.
        x: [example, ...] inputs.

    Returns:
        `lag` and `gradient`, at most 64 each, as far back as half of the examples go. None of networks
        that are not recurrent, read from both ends (whose last step is another one) or one step at a time,
        and where no gradient is finite and above 0.

    >>> model = nn.Sequential(nn.Flatten(0, 1), nn.RNN(3, 4, batch_first=True))
    >>> row = through_time(model, lambda out: out[0][:, -1].sum(), torch.randn(2, 1, 9, 3))
    >>> row["lag"]
    [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    reader = reader_of(model)
    if reader is None or (reader.both if isinstance(reader, Recurrent) else reader.bidirectional):
        return None
    read: list[tuple[Tensor, Tensor]] = []

    def keep(steps: Steps, lengths: Lengths) -> Steps:
        if read:  # a forecast that goes on from its own
            return steps
        read.append((steps.detach().requires_grad_(), lengths))
        return read[0][0]

    # cuDNN has no backward pass in evaluation mode.
    with evaluating(model), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        with reading(reader, keep):
            total = loss(model(x))
        if not read or not total.requires_grad:
            return None
        steps, lengths = read[0]
        [gradient] = torch.autograd.grad(total, steps, allow_unused=True)
    far = int(lengths.median())
    if gradient is None or far < 2:
        return None
    sizes = gradient.double().square().sum(2)  # a product of many small numbers
    curve = [_mean_at(sizes, lengths, lag).sqrt() for lag in range(far)]
    values = torch.stack(curve).cpu()
    if not values.isfinite().all() or not values.any():
        return None
    lags = torch.linspace(0, far - 1, min(far, _MOST_LAGS)).long()
    return {"experiment": "through_time", "lag": lags.tolist(), "gradient": values[lags].tolist()}


def _mean_at(values: Tensor, lengths: Tensor, lag: int) -> Tensor:
    """Mean of [example, step] values a lag before the end, over the examples that go so far back."""
    there = lengths > lag
    return values[there, lengths[there] - 1 - lag].mean()


@contextmanager
def in_any_order(model: nn.Module, seed: int = 0, *, kept: int = 0) -> Iterator[None]:
    """Inside, a recurrent network reads the steps of each sequence in an order drawn at random.

    Args:
        kept: last steps of each that stay where they are.

    >>> model = nn.RNN(1, 1, batch_first=True)
    >>> x = torch.arange(9.0)[None, :, None]
    >>> with in_any_order(model, kept=2):
    ...     bool((model(x)[0] == model(x)[0]).all())  # drawn anew each time
    False
    """
    random = torch.Generator().manual_seed(seed)

    def deal(steps: Steps, lengths: Lengths) -> Steps:
        places = torch.arange(steps.shape[1], device=steps.device)
        drawn = torch.rand(steps.shape[:2], generator=random).to(steps.device)
        keys = torch.where(places < lengths[:, None] - kept, drawn, 1.0 + places)
        return steps.gather(1, keys.argsort(1)[:, :, None].expand_as(steps))

    reader = reader_of(model)
    if reader is None:
        yield
        return
    with reading(reader, deal):
        yield


@contextmanager
def reading(reader: Recurrent | nn.RNNBase, change: Change) -> Iterator[None]:
    """Inside, recurrent layers read what is made of their sequences.

    Where each ends is told by ours and by packed ones; others are read as if all went to the end.
    """

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        x = inputs[0] if inputs else None
        if isinstance(x, PackedSequence):
            steps, lengths = pad_packed_sequence(x, batch_first=True)
            changed = change(steps, lengths.to(steps.device))
            packed = pack_padded_sequence(changed, lengths, batch_first=True, enforce_sorted=False)
            return (packed, *inputs[1:])
        if not isinstance(x, Tensor) or x.dim() != 3:
            return None
        if isinstance(module, Recurrent):
            return (change(x, inputs[1]), *inputs[1:])
        steps = x if module.batch_first else x.transpose(0, 1)
        changed = change(steps, torch.full((len(steps),), steps.shape[1], device=x.device))
        return (changed if module.batch_first else changed.transpose(0, 1), *inputs[1:])

    handle = reader.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
