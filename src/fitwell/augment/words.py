"""Texts changed at random while they are trained on: words left out, neighbours changing places."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from fitwell.data.batches import Mixture
from fitwell.spec import NO_WORD

Words = Int[Tensor, "batch word"]
_CHANGES = 103  # parts these random numbers from those of the order


def word_drop(rng: np.random.Generator, ids: Words, *, word_drop: float) -> Words:
    """Leave words out; what follows moves up. At least one word of a text stays.

    Formula: each word is left out with probability word_drop
    Use: texts that are overfitted: no single word can be relied on
    Weakness: a word that turns the meaning (not) goes as easily as any
    Source: Iyyer, Manjunatha, Boyd-Graber and Daume 2015, ACL; Wei and Zou 2019, EMNLP

    >>> ids = torch.tensor([[5, 6, 7, 0]])
    >>> word_drop(np.random.default_rng(0), ids, word_drop=0.5).tolist()
    [[5, 0, 0, 0]]
    """
    there = (ids != NO_WORD).cpu().numpy()
    stays = there & (rng.random(ids.shape) >= word_drop)
    lost = there.any(1) & ~stays.any(1)
    stays[lost, 0] = True
    order = np.argsort(~stays, axis=1, kind="stable")
    kept = np.take_along_axis(stays, order, axis=1)
    moved = ids.gather(1, torch.from_numpy(order).to(ids.device))
    return moved * torch.from_numpy(kept).to(ids.device, ids.dtype)


def word_swap(rng: np.random.Generator, ids: Words, *, word_swap: float) -> Words:
    """Let neighbouring words change places.

    Formula: the words are taken in pairs, from the first or the second on; each pair is turned round with
        probability word_swap
    Use: texts that are overfitted, by models that read the order
    Weakness: nothing to a bag of words; too much of it, and the order says nothing any more
    Source: Wei and Zou 2019, EMNLP (there of any two words)

    >>> word_swap(np.random.default_rng(0), torch.tensor([[5, 6, 7, 8]]), word_swap=1.0).tolist()
    [[5, 7, 6, 8]]
    """
    count, length = ids.shape
    there = (ids != NO_WORD).cpu().numpy()
    order = np.tile(np.arange(length), (count, 1))
    first = rng.integers(2, size=(count, 1))
    turned = rng.random((count, length)) < word_swap
    # A pair begins at every second place from `first` on, where a word follows.
    begins = (np.arange(length) % 2 == first) & turned
    begins[:, :-1] &= there[:, 1:]
    begins[:, -1] = False
    order[begins] += 1
    order[:, 1:][begins[:, :-1]] -= 1
    return ids.gather(1, torch.from_numpy(order).to(ids.device))


WORDS = {"word_drop": word_drop, "word_swap": word_swap}


class AugmentWords:
    """Changes training texts as the settings say: places first, then words are left out.

    Args:
        settings: of the section `augment`, complete.
        seed: with epoch and step, decides what happens to whom; nothing else does.
    """

    def __init__(self, settings: Mapping[str, Any], *, seed: int) -> None:
        self.used = {name: settings[name] for name in reversed(WORDS) if settings[name]}
        self.seed = seed

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.used)

    def __call__(self, x: Words, epoch: int, step: int) -> Words:
        rng = np.random.default_rng([self.seed % 2**63, _CHANGES, epoch, step])
        for name, value in self.used.items():
            x = WORDS[name](rng, x, **{name: value})
        return x

    def mix(self, x: Words, epoch: int, step: int) -> tuple[Words, Mixture | None]:
        """Texts are not mixed."""
        return x, None
