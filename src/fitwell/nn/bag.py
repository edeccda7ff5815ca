"""A text as a bag: which words stand in it, whatever their order."""

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fitwell.spec import RESERVED

Counting: TypeAlias = Literal["presence", "counts", "log_counts"]


class BagOfWords(nn.Module):
    """Texts as vectors with a place for each word of the vocabulary.

    Formula: x_w = 1 where word w stands in the text (presence), n_w, how often it does (counts), or
        log(1 + n_w) (log_counts); then x times sqrt(128) / ||x||, which makes short and long texts equally
        large
    Use: texts whose words say what they are about
    Weakness: knows nothing of order: "not good" is good and not
    Source: Harris 1954, Word 10; Salton, Wong and Yang 1975, Communications of the ACM 18

    Args:
        vocabulary: `Spec.vocabulary`: with the numbers for no word and an unknown one, which have no
            place in the vector.

    >>> BagOfWords(5, "counts")(torch.tensor([[2, 4, 2, 1, 0]], dtype=torch.int32)).shape
    torch.Size([1, 3])
    """

    def __init__(self, vocabulary: int, counting: Counting) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.counting = counting

    def forward(self, ids: Int[Tensor, "batch word"]) -> Float[Tensor, "batch feature"]:
        places = ids.long()
        bags = torch.zeros(ids.shape[0], self.vocabulary, device=ids.device)
        if self.counting == "presence":
            bags.scatter_(1, places, 1.0)
        else:
            bags.scatter_add_(1, places, torch.ones_like(places, dtype=bags.dtype))
        bags = bags[:, RESERVED:]
        if self.counting == "log_counts":
            bags = bags.log1p()
        return bags * (_SIZE / bags.norm(dim=1, keepdim=True).clamp_min(1e-6))


_SIZE = math.sqrt(128.0)  # of every text's vector: an ordinary text's where each word counts 1
