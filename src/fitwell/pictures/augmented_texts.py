"""Texts beside what augmentation makes of them, as a PNG sheet."""

import textwrap
from collections.abc import Sequence

import torch

from fitwell.data.batches import Augmentation
from fitwell.data.words import words_of
from fitwell.spec import RESERVED

NUM_CHANGED = 3  # of each text, in the first epochs of a run
NUM_WORDS = 24  # of a text that are shown
LETTERS = 100  # a line


def lines_of(texts: Sequence[str], augment: Augmentation) -> list[str]:
    """Each text's first words, then the same as training sees them, an epoch a line."""
    lines: list[str] = []
    for words in (words_of(text)[:NUM_WORDS] for text in texts):
        places = torch.arange(len(words), dtype=torch.int32)[None] + RESERVED
        seen = [augment(places, epoch, 0)[0].tolist() for epoch in range(NUM_CHANGED)]
        changed = [[words[i - RESERVED] for i in ids if i >= RESERVED] for ids in seen]
        lines.append("")
        for mark, said in zip(("", *["→ "] * len(changed)), (words, *changed), strict=True):
            lines += textwrap.wrap(mark + " ".join(said), LETTERS, subsequent_indent="    ")
    return lines
