"""What the autograd graph of a loss says: which loss it is, what stands before it, and whether weights
are penalised. The graph can be read after the backward pass too, as long as the loss is at hand.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_MOST = 20_000  # nodes that are looked at
# Change the shape or the type of numbers, not their values.
_SHAPES = frozenset(
    "alias clone expand index permute reshapealias select slice squeeze t tocopy transpose unsafeview "
    "unsqueeze view".split()
)
_FUNCTIONS = {
    "softmax": "softmax",
    "logsoftmax": "log_softmax",
    "sigmoid": "sigmoid",
    "logsigmoid": "log_sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "hardtanh": "hardtanh",
    "hardsigmoid": "sigmoid",
}
# Operations of losses by themselves, under the names that fitwell's table has where it has them.
_LOSSES = {
    "binarycrossentropywithlogits": "binary_cross_entropy",
    "binarycrossentropy": "bce_of_probabilities",
    "mseloss": "mse",
    "huberloss": "huber",
    "smoothl1loss": "huber",
    "multimarginloss": "hinge",
}
_NLL = frozenset({"nllloss", "nllloss2d", "nlllossnd"})
# Keep a logarithm finite: (p + 1e-8).log(), p.clamp(min=1e-8).log().
_GUARDS = frozenset({"add", "clamp", "clampmin", "maximum"})
# Layers: behind them stand other numbers than those that the model gave.
_LAYERS = frozenset(
    "addbmm addmm addmv baddbmm bmm convolution cudnnbatchnorm dot linear mm mv nativebatchnorm "
    "nativegroupnorm nativelayernorm".split()
)
_STRETCHES = frozenset({"div", "mul"})  # a tanh times 30 is a logit
_STRETCHED = frozenset({"tanh", "hardtanh", "sigmoid"})
# What a penalty on weights is made of.
_PENALTY = frozenset(
    "abs add cat div linalgvectornorm mean mul norm pow neg sqrt square stack sub sum".split()
) | (_SHAPES - {"index"})


@dataclass(frozen=True)
class LossReading:
    """What is known of a loss.

    Args:
        output: which of the tensors that the model gave it is computed from; None: of none.
        name: as fitwell's table of losses has it, else `nll` (of log-probabilities),
            `nll_of_probabilities` (of their logarithms, taken outside of the model) or
            `bce_of_probabilities`; empty where it is none of the known, or a layer stands between.
        before: the last function before the loss ("softmax", "sigmoid", "relu", "tanh", ...), in the model
            or after it; empty: none.
        penalty: whether weights reach the loss beside what the model says.
        pairs: whether each output is compared with each target: of shapes [N, 1] and [N] torch makes
            [N, N].
    """

    output: int | None = None
    name: str = ""
    before: str = ""
    penalty: bool = False
    pairs: bool = False


def read_loss(
    loss: Tensor, outputs: Sequence[Tensor], parameters: Iterable[nn.Parameter] = ()
) -> LossReading:
    """What the graph between a loss and a model's outputs says.

    Args:
        loss: a scalar with its graph.
        outputs: what the model gave, of which the loss may be computed.
        parameters: of the model; for penalties.

    >>> x, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    >>> said = nn.Linear(3, 3)(x).softmax(1)
    >>> read_loss(nn.functional.cross_entropy(said, y), [said])
    LossReading(output=0, name='cross_entropy', before='softmax', penalty=False, pairs=False)
    """
    if loss.grad_fn is None:
        return LossReading()
    ends = {out.grad_fn: place for place, out in enumerate(outputs) if out.grad_fn is not None}
    path, place = _way(loss.grad_fn, ends)
    penalty = _penalised(loss.grad_fn, ends, {id(p) for p in parameters})
    if place is None:
        return LossReading(penalty=penalty)
    outside = [_name(node) for node in path]
    if not _LAYERS.isdisjoint(outside):  # a head of the loop's own, or another network
        return LossReading(place, penalty=penalty)
    name, rest = _named([*outside, *_down(outputs[place].grad_fn)], len(outside))
    pairs = any(_pairs(node, outputs[place].numel()) for node in path)
    before = _function(rest, logits=name in ("cross_entropy", "binary_cross_entropy"))
    return LossReading(place, name, before, penalty, pairs)


def last_function(output: Tensor) -> str:
    """The function at the end of what computed a tensor, as in `LossReading.before`; empty: none.

    >>> last_function(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid())(torch.zeros(1, 2)))
    'sigmoid'
    """
    return _function(_down(output.grad_fn))


def _name(node: Any) -> str:
    """`LogSoftmaxBackward0` -> `logsoftmax`."""
    return str(node.name()).rpartition("::")[2].partition("Backward")[0].lower()


def _way(start: Any, ends: dict[Any, int]) -> tuple[list[Any], int | None]:
    """The operations from the loss to the nearest of the outputs, without it, and its place."""
    before: dict[Any, Any] = {start: None}
    queue = deque([start])
    while queue and len(before) < _MOST:
        node = queue.popleft()
        if node in ends:
            path, at = [], before[node]
            while at is not None:
                path.append(at)
                at = before[at]
            return path[::-1], ends[node]
        for following, _ in node.next_functions:
            if following is not None and following not in before:
                before[following] = node
                queue.append(following)
    return [], None


def _pairs(node: Any, outputs: int) -> bool:
    """Whether an operation spreads so many outputs over as many constants each; where outputs are compared
    with one another, as in a loss of ranks, that is meant."""
    follows = [following for following, _ in node.next_functions if following is not None]
    square = [(outputs, outputs)]
    spreads = _shapes(node) == square and len(follows) == 1 and _shapes(follows[0]) != square
    return outputs > 1 and spreads


def _shapes(node: Any) -> list[tuple[int, ...]]:
    """Of what an operation gave."""
    return [tuple(each.shape) for each in getattr(node, "_input_metadata", ())]


def _down(node: Any) -> list[str]:
    """Names from an output into the model, as long as one operation follows another."""
    names: list[str] = []
    while node is not None:
        name = _name(node)
        if name not in _SHAPES and name not in _FUNCTIONS:
            break
        names.append(name)
        node = next((following for following, _ in node.next_functions if following), None)
    return names


def _named(chain: list[str], outside: int) -> tuple[str, list[str]]:
    """The name of the loss, and the operations that follow after its own.

    Args:
        outside: how many of the operations the loop made of what the model gave.
    """
    for at, name in enumerate(chain):
        rest = chain[at + 1 :]
        if name in _NLL:
            following = [n for n in rest if n not in _SHAPES]
            if following[:1] == ["logsoftmax"]:
                return "cross_entropy", rest[rest.index("logsoftmax") + 1 :]
            if following[:1] == ["log"]:
                return _by_hand(rest, outside - at - 1)
            return "nll", rest
        if name == "logsoftmax":
            return "cross_entropy", rest  # of targets that are shares
        if name in _LOSSES:
            return _LOSSES[name], rest
        if name in ("pow", "abs") and "sub" in rest[:2]:
            return "mse" if name == "pow" else "mae", rest[rest.index("sub") + 1 :]
    return "", chain


def _by_hand(rest: list[str], outside: int) -> tuple[str, list[str]]:
    """The same of a loss of a logarithm that is taken outside of the model."""
    inner = rest[rest.index("log") + 1 :]
    softmax = next((at for at, n in enumerate(inner) if n not in _SHAPES | _GUARDS), None)
    if softmax is not None and inner[softmax] == "softmax":
        if len(rest) - len(inner) + softmax < outside:
            return "cross_entropy", inner[softmax + 1 :]
    return "nll_of_probabilities", inner


def _function(rest: list[str], *, logits: bool = False) -> str:
    """The first function among the operations that are left.

    Args:
        logits: whether logits are asked for: then not one whose range is made wider.
    """
    at = next((at for at, name in enumerate(rest) if name in _FUNCTIONS), len(rest))
    if at == len(rest) or (
        logits and rest[at] in _STRETCHED and not _STRETCHES.isdisjoint(rest[:at])
    ):
        return ""
    return _FUNCTIONS[rest[at]]


def _penalised(start: Any, ends: dict[Any, int], parameters: set[int]) -> bool:
    seen, queue = {start}, deque([start])
    while queue and len(seen) < _MOST:
        node = queue.popleft()
        variable = getattr(node, "variable", None)
        if variable is not None:
            if id(variable) in parameters:
                return True
            continue
        if node in ends or (node is not start and _name(node) not in _PENALTY):
            continue
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                queue.append(following)
    return False


def class_axis(name: str, gradient: Tensor) -> int:
    """Along which axis the outputs are scores of classes, by the gradient of a loss of classes.

    Loops turn and join axes before the loss: a language model says [example, place, word] and its loss
    takes [example x place, word]. A cross-entropy takes from the other classes what it gives to the one
    that is asked for, so that its gradient sums to nothing along the classes; one of log-probabilities
    pushes a single class at each place.

    Args:
        name: of the loss, as `read_loss` gives it.
        gradient: [example, ...] of the loss with respect to the outputs.

    >>> said = torch.randn(4, 7, 3, requires_grad=True)
    >>> loss = nn.functional.cross_entropy(said.flatten(0, 1), torch.arange(28) % 3)
    >>> class_axis("cross_entropy", torch.autograd.grad(loss, said)[0])
    2
    """

    def off(axis: int) -> float:
        if name in ("nll", "nll_of_probabilities"):
            return float((gradient != 0).sum(axis).clamp(min=1).sub(1).float().mean())
        return float(gradient.sum(axis).abs().sum() / gradient.abs().sum())

    # Where nothing tells them apart torch's own: the second.
    return min(range(1, gradient.dim()), key=off) if gradient.dim() > 2 else 1


def targets_of(name: str, output: Tensor, gradient: Tensor, loss: float) -> Tensor | None:
    """What was asked for, from the gradient of a loss with respect to what the network said.

    Formula: mse: y = o - g N / 2 (mean) or o - g / 2 (sum); cross-entropy: g = s (softmax(o) - y) is
        negative for the class asked for alone, unless labels are smoothed: then softmax(o) - g / s is
        their distribution; binary cross-entropy: g < 0 where y = 1

    Args:
        name: of the loss, as `read_loss` gives it.
        output, gradient: [example, ...] float; classes along the second axis.
        loss: its value; numbers are only told where they give this loss again.

    Returns:
        [example, ...] int64 class, -1 where none is asked for (an ignored label); or float numbers; None
        where it cannot be told.

    >>> said = torch.tensor([[1.0], [3.0]], requires_grad=True)
    >>> loss = nn.functional.mse_loss(said, torch.tensor([[5.0], [2.0]]))
    >>> targets_of("mse", said.detach(), torch.autograd.grad(loss, said)[0], loss.item()).tolist()
    [[5.0], [2.0]]
    """
    gradient = gradient.to(output.dtype)
    if not torch.isfinite(gradient).all() or not gradient.any():
        return None
    if (
        name in ("cross_entropy", "nll", "nll_of_probabilities")
        and output.dim() >= 2
        and output.shape[1] > 1
    ):
        return _classes(name, output, gradient, loss)
    if name in ("binary_cross_entropy", "bce_of_probabilities"):
        return (gradient < 0).to(output.dtype)
    if name != "mse":
        return None
    for share, values in ((output.numel() / 2, 1.0), (0.5, float(output.numel()))):
        error = gradient * share
        if abs(float(error.square().mean()) * values - loss) <= 0.02 * abs(loss):
            return output - error
    return None


def _classes(name: str, output: Tensor, gradient: Tensor, loss: float) -> Tensor:
    """[example, ...] the class that each gradient of a cross-entropy pulls towards; -1: none."""
    known = gradient.abs().amax(1) > 0
    if name == "cross_entropy":
        log = output.log_softmax(1)  # the same of log-probabilities
        for scale in (int(known.sum()), 1):  # of the mean, of the sum
            asked = log.exp() - gradient * scale
            values = -(asked * log).sum(1)[known].sum() / scale
            if abs(float(values) - loss) <= 0.02 * abs(loss):
                return torch.where(known, asked.argmax(1), -1)
    return torch.where(known, gradient.argmin(1), -1)
