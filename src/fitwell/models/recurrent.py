"""RNN, LSTM and GRU: a state that reads a sequence step by step."""

from typing import Annotated, Literal, TypeAlias

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from fitwell.errors import SettingError
from fitwell.models.parts import dropout_rates
from fitwell.models.sequences import (
    Embedding,
    Pooled,
    Tied,
    draw_steps,
    pooled_alone,
    step_inputs,
    symbol_head,
)
from fitwell.nn.recurrent import (
    Cell,
    Recurrent,
    RecurrentInit,
    State,
    draw_recurrent,
    last_state,
)
from fitwell.nn.steps import Pooling, pooled
from fitwell.nn.types import Dropout, Init, Width
from fitwell.spec import Spec

NumLayers: TypeAlias = Annotated[int, Field(ge=1, le=20, description="recurrent layers")]
BothWays: TypeAlias = Annotated[
    bool, Field(description="read from both ends, with layers of its own for each way")
]
BetweenLayers: TypeAlias = Annotated[
    Literal["none", "layer"],
    Field(description="normalisation of the features of each step, behind each recurrent layer"),
]
StateInit: TypeAlias = Annotated[
    RecurrentInit,
    Field(
        description="how the weights from state to state are drawn, each gate by itself; default: as "
        "model.init draws all others"
    ),
]
ForgetBias: TypeAlias = Annotated[
    float,
    Field(
        ge=-10,
        le=10,
        description="first bias of the forget gate; above 0 the state is kept at first",
    ),
]
Nonlinearity: TypeAlias = Annotated[
    Literal["tanh", "relu"], Field(description="the nonlinearity of the state")
]


class RecurrentClassifier(nn.Module):
    """Inputs to steps, through recurrent layers, pooled over the steps to one row an example."""

    def __init__(
        self, inputs: nn.Module, recurrent: Recurrent, head: nn.Linear, pooling: Pooling
    ) -> None:
        super().__init__()
        self.inputs, self.recurrent, self.head = inputs, recurrent, head
        self.pooling = pooling

    def forward(self, x: Tensor) -> Float[Tensor, "batch output"]:
        steps, lengths = self.inputs(x)
        out, _ = self.recurrent(steps, lengths)
        if self.pooling == "last":
            return self.head(last_state(out, lengths, self.recurrent.both))
        return self.head(pooled(out, lengths, self.pooling))


class RecurrentLanguageModel(nn.Module):
    """What comes next, at every step: [batch, time] symbols to [batch, time, vocabulary] raw outputs.

    While it carries (`carry`), a batch goes on where the batch before ended: `state` holds the state behind
    the last step, without its gradient (truncated back-propagation through time). A batch of another size
    begins anew.
    """

    def __init__(self, inputs: nn.Module, recurrent: Recurrent, head: nn.Module) -> None:
        super().__init__()
        self.inputs, self.recurrent, self.head = inputs, recurrent, head
        self.carrying = False
        self.state: State | None = None

    def carry(self, on: bool) -> None:
        """Carry the state from batch to batch from now on, or begin each anew."""
        self.carrying = on
        self.reset_state()

    def reset_state(self) -> None:
        """Begin the next batch anew."""
        self.state = None

    def forward(self, ids: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time symbol"]:
        steps, lengths = self.inputs(ids)
        state = self.state if self.carrying else None
        if state is not None and state[0].shape[1] != len(ids):
            state = None
        out, after = self.recurrent(steps, lengths, state)
        if self.carrying and after is not None:
            self.state = tuple(part.detach() for part in after)
        return self.head(out)


def rnn(
    spec: Spec,
    *,
    width: Width = 128,
    depth: NumLayers = 1,
    bidirectional: BothWays = False,
    pooling: Pooled = "last",
    activation: Nonlinearity = "tanh",
    norm: BetweenLayers = "none",
    dropout: Dropout = 0.0,
    embedding: Embedding = 0,
    tied: Tied = False,
    init: Init = "default",
    recurrent_init: StateInit = "orthogonal",
) -> nn.Module:
    """Elman's network: the state is a layer that reads the next step and itself.

    Formula: h_t = tanh(W x_t + b + U h_{t-1} + c), h_0 = 0; z = V h + d with h the last state, or mean or
        maximum of all; of a language z_t = V h_t + d at every step
    Use: short sequences; to see what gates are for
    Weakness: gradients vanish or explode with the distance in time, so it learns some ten steps back
    Source: Elman 1990, Cognitive Science 14; Le, Jaitly and Hinton 2015, arXiv 1504.00941 (relu and
        identity)

    Dropout stands behind each layer, the last before the head; a list has one rate a layer. What stands
    behind the end of a shorter sequence changes nothing.

    >>> import torch
    >>> model = rnn(Spec("series", "regression", (2, 30)), width=8)
    >>> model(torch.ones(5, 2, 30)).shape
    torch.Size([5, 1])
    """
    return _network(
        "rnn",
        spec,
        width=width,
        depth=depth,
        both=bidirectional,
        pooling=pooling,
        norm=norm,
        dropout=dropout,
        embedding=embedding,
        tied=tied,
        init=init,
        recurrent_init=recurrent_init,
        nonlinearity=activation,
    )


def lstm(
    spec: Spec,
    *,
    width: Width = 128,
    depth: NumLayers = 1,
    bidirectional: BothWays = False,
    pooling: Pooled = "last",
    norm: BetweenLayers = "none",
    dropout: Dropout = 0.0,
    embedding: Embedding = 0,
    tied: Tied = False,
    init: Init = "default",
    recurrent_init: StateInit = "orthogonal",
    forget_bias: ForgetBias = 1.0,
) -> nn.Module:
    """Long short-term memory: a cell that is written, kept and read through gates.

    Formula: i, f, o = sigmoid(W x_t + U h_{t-1} + b), each with its own; c_t = f c_{t-1} + i tanh(W_c x_t +
        U_c h_{t-1} + b_c); h_t = o tanh(c_t); z = V h + d as in `rnn`
    Use: sequences whose distant steps matter: text, speech, series
    Weakness: four times the work of an RNN, and a step waits for the step before
    Source: Hochreiter and Schmidhuber 1997, Neural Computation 9; Gers, Schmidhuber and Cummins 2000,
        Neural Computation 12 (forget gate); Jozefowicz, Zaremba and Sutskever 2015, ICML (its bias of 1)

    Dropout stands behind each layer, the last before the head; a list has one rate a layer. What stands
    behind the end of a shorter sequence changes nothing.

    >>> import torch
    >>> model = lstm(Spec("text", "classification", (9,), ("no", "yes"), vocabulary=50), width=8)
    >>> model(torch.ones(5, 9, dtype=torch.int32)).shape
    torch.Size([5, 2])
    """
    return _network(
        "lstm",
        spec,
        width=width,
        depth=depth,
        both=bidirectional,
        pooling=pooling,
        norm=norm,
        dropout=dropout,
        embedding=embedding,
        tied=tied,
        init=init,
        recurrent_init=recurrent_init,
        forget_bias=forget_bias,
    )


def gru(
    spec: Spec,
    *,
    width: Width = 128,
    depth: NumLayers = 1,
    bidirectional: BothWays = False,
    pooling: Pooled = "last",
    norm: BetweenLayers = "none",
    dropout: Dropout = 0.0,
    embedding: Embedding = 0,
    tied: Tied = False,
    init: Init = "default",
    recurrent_init: StateInit = "orthogonal",
) -> nn.Module:
    """Gated recurrent unit: a state that a gate keeps or replaces.

    Formula: r, u = sigmoid(W x_t + U h_{t-1} + b), each with its own; n = tanh(W_n x_t + b_n +
        r (U_n h_{t-1} + c_n)); h_t = u h_{t-1} + (1 - u) n; z = V h + d as in `rnn`
    Use: as an LSTM, at three quarters of its work
    Weakness: cannot count without bound, as a cell can
    Source: Cho et al. 2014, EMNLP; with r behind U_n as in torch and cuDNN

    Dropout stands behind each layer, the last before the head; a list has one rate a layer. What stands
    behind the end of a shorter sequence changes nothing.

    >>> import torch
    >>> model = gru(Spec("audio", "classification", (1, 40, 64), ("no", "yes")), width=8)
    >>> model(torch.zeros(5, 1, 40, 64)).shape
    torch.Size([5, 2])
    """
    return _network(
        "gru",
        spec,
        width=width,
        depth=depth,
        both=bidirectional,
        pooling=pooling,
        norm=norm,
        dropout=dropout,
        embedding=embedding,
        tied=tied,
        init=init,
        recurrent_init=recurrent_init,
    )


def _network(
    cell: Cell,
    spec: Spec,
    *,
    width: int,
    depth: int,
    both: bool,
    pooling: Pooling,
    norm: str,
    dropout: float | list[float],
    embedding: int,
    tied: bool,
    init: Init,
    recurrent_init: RecurrentInit,
    nonlinearity: str = "tanh",
    forget_bias: float | None = None,
) -> nn.Module:
    rates = dropout_rates(dropout, depth, "recurrent layers (model.depth)")
    inputs, size = step_inputs(spec, cell, width, embedding=embedding, tied=tied)
    pooled_alone(spec, pooling)
    recurrent = Recurrent(
        cell,
        size,
        width,
        rates=rates,
        both=both,
        norm=norm == "layer",
        nonlinearity=nonlinearity,
    )
    if spec.task == "language":
        _forward_alone(both)
        head = symbol_head(spec, inputs, width, tied=tied)
        model: nn.Module = RecurrentLanguageModel(inputs, recurrent, head)
    else:
        out = nn.Linear(2 * width if both else width, spec.num_outputs)
        model = RecurrentClassifier(inputs, recurrent, out, pooling)
    draw_steps(model, init)
    draw_recurrent(recurrent, recurrent_init, forget_bias)
    return model


def _forward_alone(both: bool) -> None:
    """Refuse to read a language from behind, where what is asked for stands."""
    if both:
        raise SettingError(
            "model.bidirectional = true: a model of language that reads from behind has seen what comes "
            "next. Leave it out.",
            setting="model.bidirectional",
        )
