"""Sequences as their models read them: [batch, step, feature], and how many steps each of them has."""

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fitwell.spec import NO_WORD

Steps: TypeAlias = Float[Tensor, "batch step feature"]
Lengths: TypeAlias = Int[Tensor, " batch"]
Sequences: TypeAlias = tuple[Steps, Lengths]
There: TypeAlias = Bool[Tensor, "batch step"]
Pooling: TypeAlias = Literal["last", "mean", "max"]


class SeriesSteps(nn.Module):
    """[batch, channel, time] series, 0 behind the end, as steps of channels.

    >>> x, lengths = SeriesSteps()(torch.tensor([[[1.0, 0.0, 2.0, 0.0]]]))
    >>> x.shape, lengths
    (torch.Size([1, 4, 1]), tensor([3]))
    """

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Sequences:
        return x.transpose(1, 2), ends((x != 0).any(1))


class FrameSteps(nn.Module):
    """[batch, 1, mel, frame] spectrograms as steps of a frame each; all are equally long.

    >>> FrameSteps()(torch.zeros(2, 1, 40, 64))[0].shape
    torch.Size([2, 64, 40])
    """

    def forward(self, x: Float[Tensor, "batch 1 mel frame"]) -> Sequences:
        return x[:, 0].transpose(1, 2), torch.full((x.shape[0],), x.shape[3], device=x.device)


class WordSteps(nn.Module):
    """[batch, word] numbers of words, 0 behind the end, as steps of a learned vector each.

    Formula: x_t = E[w_t], a row of the table E; that of no word is 0
    Use: words, characters, any symbols; alike ones come to have vectors that are near
    Weakness: a word that was seldom seen has a vector that was seldom trained
    Source: Bengio, Ducharme, Vincent and Jauvin 2003, Journal of Machine Learning Research 3

    Args:
        shared: the table is the weights of the outputs, too. As such it begins with vectors of length 1,
            and as inputs these are multiplied by sqrt(width) (Vaswani et al. 2017, section 3.4).

    >>> x, lengths = WordSteps(9, 4)(torch.tensor([[5, 8, 0]]))
    >>> x.shape, lengths, x[0, 2].tolist()
    (torch.Size([1, 3, 4]), tensor([2]), [0.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, vocabulary: int, width: int, *, shared: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=NO_WORD)
        self.scale = math.sqrt(width) if shared else 1.0
        if shared:
            nn.init.normal_(self.embedding.weight, std=1 / self.scale)

    def forward(self, ids: Int[Tensor, "batch word"]) -> Sequences:
        x = self.embedding(ids)
        return x if self.scale == 1 else x * self.scale, ends(ids != NO_WORD)


def ends(there: There) -> Lengths:
    """Steps of each sequence: up to the last that is there, and one at least.

    >>> ends(torch.tensor([[True, False, True, False], [False] * 4])).tolist()
    [3, 1]
    """
    places = torch.arange(1, there.shape[1] + 1, device=there.device)
    return (there * places).amax(1).clamp_min(1)


def inside(lengths: Lengths, steps: int) -> There:
    """Whether each step lies before the end of its sequence.

    >>> inside(torch.tensor([1, 2]), 2).tolist()
    [[True, False], [True, True]]
    """
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def padded(there: There) -> There | None:
    """The same, or None where every sequence is as long as the longest, which spares masks.

    An exported network (`fitwell.export`) reads batches of either kind, so it keeps them.

    >>> padded(torch.tensor([[True, True]])), padded(torch.tensor([[True, False]]))
    (None, tensor([[ True, False]]))
    """
    if torch.compiler.is_exporting():
        return there
    return None if bool(there.all()) else there


def pooled(x: Steps, lengths: Lengths, how: Pooling) -> Float[Tensor, "batch feature"]:
    """One vector a sequence: its last step, or mean or maximum of all; what lies behind the end counts not.

    >>> x = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> [pooled(x, torch.tensor([2]), how).item() for how in ("last", "mean", "max")]
    [3.0, 2.0, 3.0]
    """
    if how == "last":
        return x[torch.arange(x.shape[0], device=x.device), lengths - 1]
    there = inside(lengths, x.shape[1])[:, :, None]
    if how == "max":
        return x.masked_fill(~there, -torch.inf).amax(1)
    return x.masked_fill(~there, 0.0).sum(1) / lengths[:, None]
