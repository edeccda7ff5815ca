"""A language by counting: how often each token followed the few before it."""

from collections.abc import Iterable

import numpy as np

from fitwell.data.preprocess import fit
from fitwell.data.split import Rows
from fitwell.data.tokens import Tokens
from fitwell.data.types import Data
from fitwell.metrics import METRICS
from fitwell.record import Row

ORDERS = (2, 3, 4, 5, 6)  # tokens that are looked back at
MOST_CHARACTERS = 5_000_000  # of a longer text the last ones before what is held out are counted
TRIED = 0.1  # share of the training tokens, their end, on which the order is chosen


class Markov:
    """An n-gram model, interpolated with all shorter ones (Witten and Bell).

    Formula: p_k(w | h) = l p(w | h by count) + (1 - l) p_{k-1}(w | h without its first token), with l =
        n(h) / (n(h) + different tokens seen behind h); p_{-1} = 1 / V; a context never seen: l = 0
    Use: what a network of a language must beat: it knows the last `order` tokens, and nothing else
    Weakness: two contexts that differ in one token have nothing in common
    Source: Markov 1913, Bulletin of the Imperial Academy of Sciences of St Petersburg 7; Witten and Bell
        1991, IEEE Transactions on Information Theory 37; Chen and Goodman 1999, Computer Speech and
        Language 13 (the interpolated form)

    Args:
        order: tokens of context; 0 counts tokens alone (unigram), -1 knows nothing (uniform).
        vocabulary: numbers for tokens.
        tokens: [token] the numbers of a training text.

    >>> model = Markov(1, 3, np.array([1, 2, 1, 2, 1, 2]))
    >>> model.costs(np.array([1, 2])).round(2).tolist()  # of 1 by how often it occurs, of 2 behind 1
    [0.78, 0.15]
    """

    def __init__(self, order: int, vocabulary: int, tokens: np.ndarray) -> None:
        self.vocabulary = vocabulary
        # For each length of context: the codes of those that occur; the pairs of context and token, and
        # how often each occurs; how often each context occurs, and before how many different tokens.
        self._tables: list[tuple[np.ndarray, ...]] = []
        known, context = np.zeros(1, np.int64), np.zeros(len(tokens), np.int64)
        for length in range(min(order, len(tokens) - 1) + 1):
            if length:
                known, context = _extended(context, tokens, length)
            there = context[length:]  # the first tokens have no context of that length
            pairs, times = np.unique(there * vocabulary + tokens[length:], return_counts=True)
            behind = np.bincount(there, minlength=len(known))
            different = np.bincount(pairs // vocabulary, minlength=len(known))
            self._tables.append((known, pairs, times, behind, different))

    def costs(self, tokens: np.ndarray) -> np.ndarray:
        """[token] what each costs behind those before it, in nats."""
        p = np.full(len(tokens), 1 / self.vocabulary)
        context = np.zeros(len(tokens), np.int64)  # its number, -1 where it was never seen
        for length, (known, pairs, times, behind, different) in enumerate(self._tables):
            if length:
                context = _looked_up(known, _codes(context, tokens, length))
            seen = context >= 0
            seen[:length] = False
            own = np.where(seen, context, 0)
            place = _looked_up(pairs, np.where(seen, own * self.vocabulary + tokens, -1))
            counted = np.where(place >= 0, times[place], 0)
            mixed = (counted + different[own] * p) / (behind[own] + different[own])
            p = np.where(seen, mixed, p)
        return -np.log(p)


def _codes(context: np.ndarray, tokens: np.ndarray, length: int) -> np.ndarray:
    """[token] the context that is longer by the token before it, as one number; -1 where the shorter one
    is not known."""
    longer = np.full(len(tokens), -1, np.int64)
    before = tokens[: len(tokens) - length].astype(np.int64)
    shorter = context[length:]
    longer[length:] = np.where(shorter >= 0, (before << 40) + shorter, -1)
    return longer


def _extended(
    context: np.ndarray, tokens: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """(the contexts of this length that occur, as codes; [token] the number of each)."""
    codes = _codes(context, tokens, length)
    known, numbers = np.unique(codes[length:], return_inverse=True)
    out = np.zeros(len(tokens), np.int64)
    out[length:] = numbers
    return known, out


def _looked_up(known: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[code] its place among the sorted `known`, -1 where it is none of them."""
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.where(known[place] == codes, place, -1)


def language_references(
    data: Data, rows: Rows, *, metric: str = "nats", fold: int | None = None
) -> list[Row]:
    """What is reached by knowing nothing, by how often each token stands, and by the tokens before it.

    Args:
        metric: nats or perplexity; no other can be told of these.

    Returns:
        Rows as of `reference_models`: uniform, unigram and markov, whose "order" is chosen on the end of
        the training part, where "train" is scored, too.
    """
    if metric not in ("nats", "perplexity") or not len(rows.held_out):
        return []
    tokens = fit(data, rows.train).tokens
    assert tokens is not None
    vocabulary, texts = data.spec.vocabulary, _stretches(data, rows.held_out)
    text = "".join(data.inputs[rows.train].tolist())[-MOST_CHARACTERS:]
    end = text[-max(1, int(TRIED * len(text))) :]
    train, tried = tokens.ids(text), tokens.ids(end)
    told = {
        order: _costs([tried], Markov(order, vocabulary, train[: -len(tried)])) for order in ORDERS
    }
    order = min(ORDERS, key=lambda order: told[order].sum())
    found: list[Row] = []
    for name, length in (("uniform", -1), ("unigram", 0), ("markov", order)):
        model = Markov(length, vocabulary, train)
        scored = {"train": [end], "held_out": texts}
        scores = {part: _score(metric, tokens, model, said) for part, said in scored.items()}
        about = {"metric": metric, "examples": len(rows.train)}
        more = {"order": order} if name == "markov" else {}
        found.append(
            {"experiment": "reference", "model": name, "fold": fold, **scores, **about, **more}
        )
    return found


def _costs(texts: Iterable[np.ndarray], model: Markov) -> np.ndarray:
    return np.concatenate([model.costs(tokens) for tokens in texts])


def _score(metric: str, tokens: Tokens, model: Markov, texts: list[str]) -> float:
    costs = _costs([tokens.ids(text) for text in texts], model)
    sizes = np.array([[sum(map(len, texts)), len(costs)]], float)
    return METRICS[metric](sizes, np.array([[costs.sum(), 0.0]]))


def _stretches(data: Data, rows: np.ndarray) -> list[str]:
    """The text of rows; those that do not follow each other in it are parted."""
    parts = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return ["".join(data.inputs[part].tolist()) for part in parts]
