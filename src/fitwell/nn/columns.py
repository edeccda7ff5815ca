"""What a network reads of a table's columns: categories as learned vectors, numbers as waves too."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fitwell.spec import Column

Features = Float[Tensor, "batch feature"]
Wider = Float[Tensor, "batch wider"]


class Waves(nn.Module):
    """Each number beside a few mixtures of cosines of it.

    Formula: x becomes [x, W cos(2 pi (f x + p)) + b], with f, p, W and b of its own, all learned
    Use: numbers on which the target depends finely: places, ages, prices
    Weakness: high first frequencies learn the noise
    Source: Gorishniy, Rubachev and Babenko 2022, NeurIPS, section 3.3; in the form of Holzmueller,
        Grinsztajn and Steinwart 2024, NeurIPS, section 3

    Args:
        numbers: how many numbers an example has.
        waves: cosines a number.
        mixtures: mixtures a number.
        spread: standard deviation of the first frequencies, in waves a unit.

    >>> Waves(2, waves=16)(torch.zeros(5, 2)).shape
    torch.Size([5, 8])
    """

    def __init__(self, numbers: int, *, waves: int, mixtures: int = 3, spread: float = 0.1) -> None:
        super().__init__()
        self.frequency_bias = nn.Parameter(torch.randn(numbers, waves) * spread)
        self.phase_bias = nn.Parameter(torch.rand(numbers, waves) - 0.5)
        bound = 1 / math.sqrt(waves)
        self.weight = nn.Parameter(torch.empty(numbers * mixtures, waves).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(numbers, mixtures))

    def forward(self, x: Features) -> Wider:
        angles = x.unsqueeze(2) * self.frequency_bias + self.phase_bias
        waves = torch.cos(2 * math.pi * angles)  # [batch, number, wave]
        weight = self.weight.unflatten(0, (len(self.bias), -1))
        mixed = torch.einsum("bnw,nmw->bnm", waves, weight) + self.bias
        return torch.cat([x, mixed.flatten(1)], dim=1)


class ColumnInputs(nn.Module):
    """The features of a table as a network reads them: some columns as learned vectors.

    Formula: a category c of a column becomes e_c, a row of that column's table E
    Use: columns of many categories; alike ones come to have vectors that are near
    Weakness: a category that was seldom seen has a vector that was seldom trained
    Source: Guo and Berkhahn 2016, arXiv 1604.06737

    A category that is missing or unknown, all zeros among the features, has the zero vector.

    Args:
        columns: of the table; `Column.features` says what features each has.
        embedding: length of a category's vector. Columns of at most so many categories keep a
            feature for each, which costs no more and can say the same; 0: every column does.
        waves: cosines a number, see `Waves`; 0: none.

    >>> columns = [Column("age"), Column("town", "category", tuple("abcdefgh"))]
    >>> ColumnInputs(columns, embedding=3)(torch.zeros(5, 9)).shape
    torch.Size([5, 4])
    """

    def __init__(self, columns: Sequence[Column], *, embedding: int = 0, waves: int = 0) -> None:
        super().__init__()
        numbers: list[int] = []
        kept: list[int] = []
        self.spans: list[slice] = []  # of the features of each embedded column
        self.tables = nn.ModuleList()
        end = 0
        for column in columns:
            span = range(end, end + len(column.features))
            end = span.stop
            if column.kind != "category":
                numbers += span
            elif not 0 < embedding < len(span):
                kept += span
            else:
                self.spans.append(slice(span.start, span.stop))
                self.tables.append(_table(len(span), embedding))
        self.numbers: Tensor
        self.kept: Tensor
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64), persistent=False)
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.int64), persistent=False)
        self.waves = Waves(len(numbers), waves=waves) if waves and numbers else None
        wide = 0 if self.waves is None else self.waves.bias.numel()
        self.width = len(numbers) + wide + len(kept) + embedding * len(self.tables)

    def forward(self, x: Features) -> Wider:
        numbers = x[:, self.numbers]
        parts = [numbers if self.waves is None else self.waves(numbers), x[:, self.kept]]
        parts += [table(x[:, span]) for table, span in zip(self.tables, self.spans, strict=True)]
        return torch.cat(parts, dim=1)


def _table(categories: int, width: int) -> nn.Linear:
    """A vector a category. As a product with its one-hot, so that none of them gives zeros."""
    table = nn.Linear(categories, width, bias=False)
    nn.init.normal_(table.weight, std=1 / math.sqrt(width))
    return table
