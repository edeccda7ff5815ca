"""What the rows of a range test say of a learning rate: one to take, the range around it, and where a
recipe's own lies. No torch.

Every seed has a rate at which its loss broke. A tenth of it is what a seed asks for; of a loss that fell
long before (a linear model), the middle between the steepest fall and the break. The rules were compared by
what trainings at their rates reach: `python -m benchmarks.lr_find`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from fitwell.record import Confidence, Row

Place = Literal["within", "too low", "too high", "no verdict"]

SAFE = 10.0  # a seed asks for its break divided by this
LOWER, UPPER = 5.0, 3.0  # times below and above it; half of the break is too much for some networks
MOST_APART = 10.0  # times that the seeds' breaks may differ


@dataclass(frozen=True)
class LrRange:
    """A learning rate and the range around it; all None where there is no verdict.

    Args:
        lr: the geometric mean of what the seeds ask for.
        low, high: 5 times below to 3 times above it, widened to its 95 % interval over the seeds
            (Student's t of the logarithms) where that is wider.
        asked: what each seed asks for; None where its loss never fell, or never broke.
        why: why there is no verdict.
    """

    lr: float | None
    low: float | None
    high: float | None
    asked: tuple[float | None, ...]
    why: str = ""


def lr_range(rows: Sequence[Row]) -> LrRange:
    """The rate that the rows of a range test ask for, a row a seed.

    >>> rows = [{"steepest_lr": 0.1, "divergence_lr": 0.5} for _ in range(3)]
    >>> round(lr_range(rows).lr, 6)
    0.05
    """
    asked = tuple(asked_by(row) for row in rows)
    known = [rate for rate in asked if rate is not None]
    if why := _unsure(rows, known):
        return LrRange(None, None, None, asked, why)
    from scipy import stats

    logs = [math.log(rate) for rate in known]
    reach = stats.t.ppf(0.975, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    lr, factor = math.exp(fmean(logs)), math.exp(float(reach))
    return LrRange(lr, lr / max(LOWER, factor), lr * max(UPPER, factor), asked)


def asked_by(row: Row) -> float | None:
    """What one seed asks for; None where its loss never fell, or never broke."""
    steepest, broke = row.get("steepest_lr"), row.get("divergence_lr")
    if not steepest or not broke:
        return None
    return min(broke / SAFE, math.sqrt(steepest * broke))


def _unsure(rows: Sequence[Row], known: Sequence[float]) -> str:
    """Why the seeds together say nothing, or an empty text."""
    if len(known) >= 2 and 2 * len(known) > len(rows):
        factor = max(known) / min(known)
        if factor <= MOST_APART:
            return ""
        return f"The seeds disagree: what they ask for lies {factor:.0f} times apart."
    count = len(rows)
    fell = sum(bool(row.get("steepest_lr")) for row in rows)
    broke = sum(bool(row.get("divergence_lr")) for row in rows)
    if count < 2:
        return "One seed is no evidence of how far seeds differ."
    if 2 * fell <= count or fell < 2:
        return f"The loss fell clearly with {fell} of {count} seeds."
    return f"The loss fell, and broke with {broke} of {count} seeds."


def place_of(rate: float, found: LrRange) -> tuple[Place, Confidence]:
    """Where a rate lies against the range, and how sure that is.

    High where all of three or more seeds, each by itself, say the same; medium where two in three do.

    >>> found = lr_range([{"steepest_lr": 0.1, "divergence_lr": 0.5} for _ in range(3)])
    >>> place_of(0.05, found), place_of(1.0, found), place_of(1e-4, found)[0]
    (('within', 'high'), ('too high', 'high'), 'too low')
    """
    if found.low is None or found.high is None:
        return "no verdict", "low"
    place = _place(rate, found.low, found.high)
    same, count = agreeing(rate, place, found), len(found.asked)
    if same == count >= 3:
        return place, "high"
    return place, "medium" if 3 * same >= 2 * count else "low"


def agreeing(rate: float, place: Place, found: LrRange) -> int:
    """How many seeds, each by itself, have a rate in this place."""
    known = [asked for asked in found.asked if asked is not None]
    return sum(_place(rate, asked / LOWER, asked * UPPER) == place for asked in known)


def _place(rate: float, low: float, high: float) -> Place:
    return "too low" if rate < low else "too high" if rate > high else "within"
