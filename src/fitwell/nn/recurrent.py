"""Recurrent layers: a state that is carried from step to step."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fitwell.nn.steps import Lengths, Steps

Cell: TypeAlias = Literal["rnn", "lstm", "gru"]
# What is carried: (h,), of an LSTM (h, c).
State: TypeAlias = tuple[Float[Tensor, "layer batch unit"], ...]
Outputs: TypeAlias = Float[Tensor, "batch step unit"]
RecurrentInit: TypeAlias = Literal["orthogonal", "identity", "default"]

CELLS: dict[str, Callable[..., nn.Module]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Layers of one cell, with normalisation and dropout behind each.

    Formula: h_t = cell(x_t, h_{t-1}), h_0 = 0; the outputs of a layer are the inputs of the next; both
        ways: [h_t, g_t] with g_t = cell'(x_t, g_{t+1}) from the end on
    Use: the core of `rnn`, `lstm` and `gru`
    Weakness: one step waits for the step before
    Source: Elman 1990, Cognitive Science 14; Schuster and Paliwal 1997, IEEE Transactions on Signal
        Processing 45 (both ways)

    Args:
        size: features of a step that goes in.
        rates: dropout behind each layer; its length is the number of layers.
        both: read both ways.
        norm: normalise the features of each step behind each layer.
        nonlinearity: of `rnn`: tanh or relu.

    >>> layers = Recurrent("gru", 3, 8, rates=[0.0, 0.0])
    >>> out, state = layers(torch.zeros(2, 5, 3), torch.tensor([5, 4]))
    >>> out.shape, state[0].shape
    (torch.Size([2, 5, 8]), torch.Size([2, 2, 8]))
    """

    def __init__(
        self,
        cell: Cell,
        size: int,
        width: int,
        *,
        rates: Sequence[float],
        both: bool = False,
        norm: bool = False,
        nonlinearity: str = "tanh",
    ) -> None:
        super().__init__()
        own = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
        out = 2 * width if both else width
        self.both = both
        self.layers = nn.ModuleList()
        # No idle modules: each costs a call a step.
        self.norms = nn.ModuleList(nn.LayerNorm(out) for _ in rates) if norm else None
        dropouts = {str(place): nn.Dropout(rate) for place, rate in enumerate(rates) if rate}
        self.dropouts = nn.ModuleDict(dropouts)
        for place in range(len(rates)):
            layer = CELLS[cell](
                out if place else size, width, batch_first=True, bidirectional=both, **own
            )
            self.layers.append(layer)

    def forward(
        self, x: Steps, lengths: Lengths, state: State | None = None
    ) -> tuple[Outputs, State | None]:
        """Outputs at every step, and the state behind the last one.

        What stands before the end of a sequence does not depend on what stands behind it. The state does
        where sequences are of several lengths, and there is none both ways.
        """
        last: list[Sequence[Tensor]] = []
        for place, layer in enumerate(self.layers):
            if self.both:
                x = _both_ways(layer, x, lengths)
            else:
                first = None if state is None else [part[place : place + 1] for part in state]
                x, after = layer(x, _as_taken(first))
                last.append(after if isinstance(after, tuple) else (after,))
            x = x if self.norms is None else self.norms[place](x)
            x = self.dropouts[str(place)](x) if str(place) in self.dropouts else x
        carried = None if self.both else tuple(torch.cat(part) for part in zip(*last, strict=True))
        return x, carried


def _as_taken(state: list[Tensor] | None) -> Tensor | tuple[Tensor, ...] | None:
    """A state as torch's layers take it: an LSTM's is a pair."""
    if state is None:
        return None
    return tuple(state) if len(state) > 1 else state[0]


def _both_ways(layer: nn.Module, x: Steps, lengths: Lengths) -> Outputs:
    """Packed where any ends early, since the way back has to begin at the end of each."""
    steps = x.shape[1]
    if torch.compiler.is_exporting():
        return _both_unpacked(layer, x, lengths)
    kept = lengths.cpu()
    if int(kept.min()) == steps:
        return layer(x)[0]
    packed = pack_padded_sequence(x, kept, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=steps)[0]


def _both_unpacked(layer: nn.Module, x: Steps, lengths: Lengths) -> Outputs:
    """The same without packing, which ONNX does not have: the way back reads sequences that were moved so
    that all end at the last step, and is moved again."""
    batch, count = x.shape[:2]
    rows = torch.arange(batch, device=x.device)[:, None]
    places, behind = torch.arange(count, device=x.device), (count - lengths)[:, None]
    forth, _ = layer(x)
    back, _ = layer(x[rows, (places - behind) % count])
    width = forth.shape[2] // 2
    return torch.cat([forth[..., :width], back[rows, (places + behind) % count][..., width:]], 2)


def last_state(x: Steps, lengths: Lengths, both: bool) -> Float[Tensor, "batch feature"]:
    """The state that has read everything: behind the last step, and of the way back at the first."""
    behind = x[torch.arange(x.shape[0], device=x.device), lengths - 1]
    if not both:
        return behind
    width = x.shape[2] // 2
    return torch.cat([behind[:, :width], x[:, 0, width:]], 1)


@torch.no_grad()
def draw_recurrent(layers: Recurrent, how: RecurrentInit, forget_bias: float | None) -> None:
    """Draw the weights from state to state, and set the bias of an LSTM's forget gate.

    Args:
        how: orthogonal or identity of each gate; default leaves them as they are.
        forget_bias: None where the cell has no forget gate.

    >>> layers = Recurrent("lstm", 3, 4, rates=[0.0])
    >>> draw_recurrent(layers, "identity", 1.0)
    >>> (layers.layers[0].bias_ih_l0 + layers.layers[0].bias_hh_l0)[4:8].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    for layer in layers.layers:
        for name, weight in layer.named_parameters():
            if name.startswith("weight_hh") and how != "default":
                width = weight.shape[1]
                for gate in weight.split(width):
                    (nn.init.orthogonal_ if how == "orthogonal" else nn.init.eye_)(gate)
            if name.startswith("bias") and forget_bias is not None:
                # The gates' order is input, forget, cell, output; torch adds the two biases.
                forget = weight.chunk(4)[1]
                forget.fill_(forget_bias if name.startswith("bias_ih") else 0.0)
