"""Text from a model of language, token by token."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fitwell.data.tokens import Tokens
from fitwell.record import Row
from fitwell.spec import NO_WORD, RESERVED
from fitwell.train.job import Job

SHOWN = 240  # tokens of a sample that is kept of a training ...
COOLER = 0.8  # ... and its temperature


def next_token(
    logits: Float[Tensor, " token"],
    random: torch.Generator,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> int:
    """Draw the next token; never that of none, nor the unknown one.

    Formula: p_k = softmax(z / temperature)_k over the top_k likeliest tokens, and of these over the fewest
        likeliest whose sum is at least top_p; temperature 0: argmax z
    Use: temperature below 1, or either cut, for text with fewer slips; all of it to see what a model knows
    Weakness: the cooler, the more it repeats itself
    Source: Ackley, Hinton and Sejnowski 1985, Cognitive Science 9 (temperature); Fan, Lewis and Dauphin
        2018, ACL (top k); Holtzman et al. 2020, ICLR (top p)

    >>> next_token(torch.tensor([9.0, 9.0, 1.0, 2.0]), torch.Generator(), temperature=0.0)
    3
    """
    known = logits[RESERVED:].float()
    if temperature == 0:
        return RESERVED + int(known.argmax())
    # At most 0: divided by little it is still a number.
    cooled = (known - known.max()) / temperature
    p, order = cooled.softmax(0).sort(descending=True, stable=True)
    if top_k:
        p[top_k:] = 0
    p[p.cumsum(0) - p >= top_p * p.sum()] = 0  # what stands before it is enough
    return RESERVED + int(order[torch.multinomial(p, 1, generator=random)])


@torch.inference_mode()
def tokens_of(
    model: nn.Module,
    prompt: list[int],
    *,
    length: int,
    context: int,
    size: int,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Iterator[int]:
    """`length` tokens that follow a prompt, one by one, of the first `size`.

    A recurrent model reads each token once and carries its state; any other reads the last `context`
    tokens again for each.
    """
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    carries = hasattr(model, "carry")
    was_training = model.training
    model.eval()
    if carries:
        model.carry(True)  # type: ignore[operator]
    try:
        read = [NO_WORD, *prompt]
        fresh = read
        for _ in range(length):
            seen = fresh if carries else read[-context:]
            outputs = model(torch.tensor([seen], dtype=torch.int32, device=device))
            logits = outputs[0, -1, :size].cpu()
            token = next_token(logits, random, temperature=temperature, top_k=top_k, top_p=top_p)
            read.append(token)
            fresh = [token]
            yield token
    finally:
        if carries:
            model.carry(False)  # type: ignore[operator]
        model.train(was_training)


def pieces_of_text(tokens: Tokens, ids: Iterator[int]) -> Iterator[str]:
    """Tokens as text, as they come: what is not a whole character yet waits for the next token."""
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = tokens.text(waiting)
        if text and not text.endswith("\ufffd"):
            yield text
            waiting.clear()
    if rest := tokens.text(waiting):
        yield rest


def sample_of(job: Job, epoch: int) -> list[Row]:
    """What the model writes after an epoch, as a row of evidence; none where it writes nothing."""
    tokens = job.preprocess.tokens
    if tokens is None:
        return []
    ids = tokens_of(
        job.evaluated,
        [],
        length=SHOWN,
        context=job.context,
        size=tokens.size,
        temperature=COOLER,
    )
    text = "".join(pieces_of_text(tokens, ids))
    return [{"experiment": "written", "epoch": epoch, "temperature": COOLER, "text": text}]
