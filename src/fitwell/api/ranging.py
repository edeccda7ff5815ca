"""The verb that looks for a learning rate: a range test of several seeds, and where the recipe's lies."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitwell.api.start import Model, Start, begin, given
from fitwell.data import split
from fitwell.errors import Interrupted, SettingError
from fitwell.lr_range import LrRange, Place, agreeing, lr_range, place_of
from fitwell.record import Confidence, Row
from fitwell.refusals import check_batch

Progress = Callable[..., Any]
LOW, HIGH, STEPS, SEEDS = 1e-5, 10.0, 300, 3
BEYOND = 100.0  # times `high`: how far the test goes on where the loss has not broken
MOST_STEPS, MOST_SEEDS = 10_000, 100
_DENSITY = 10  # steps a decade at least: 7 are smoothed together
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class LrFound:
    """A learning rate, the range around it, and where the recipe's own lies.

    Args:
        range: of all seeds together, see `fitwell.lr_range`.
        recipe_lr: `optim.lr` of the recipe.
        verdict: where that lies against the range.
        confidence: how sure the verdict is.
        rows: the evidence of each seed, see `fitwell.experiments.range_test`.
        picture: where it was written, or None.
    """

    range: LrRange
    recipe_lr: float
    verdict: Place
    confidence: Confidence
    rows: tuple[Row, ...]
    picture: Path | None = None

    @property
    def lr(self) -> float | None:
        return self.range.lr

    @property
    def low(self) -> float | None:
        return self.range.low

    @property
    def high(self) -> float | None:
        return self.range.high

    @property
    def seeds(self) -> list[Row]:
        """What each seed says, without its curve."""
        names = ("seed", "steepest_lr", "divergence_lr")
        return [
            {**{name: row[name] for name in names}, "lr": asked}
            for row, asked in zip(self.rows, self.range.asked, strict=True)
        ]

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.lr is None or self.low is None or self.high is None:
            return f"No verdict. {self.range.why} {self._next_step()}"
        here = {
            "within": "lies within the range",
            "too low": f"is too low, {self.low / self.recipe_lr:.3g} times below the range",
            "too high": f"is too high, {self.recipe_lr / self.high:.3g} times above the range",
        }[self.verdict]
        agree = agreeing(self.recipe_lr, self.verdict, self.range)
        return (
            f"The recipe's rate {self.recipe_lr:.2g} {here} ({self.confidence} confidence: {agree} of "
            f"{len(self.rows)} seeds say so, each by itself)."
        )

    def _next_step(self) -> str:
        """What to do where there is no verdict."""
        first, last = self.rows[0]["lr"][0], max(row["lr"][-1] for row in self.rows)
        if any(row["steepest_lr"] for row in self.rows):
            return "Take more seeds, or more steps: the rate then rises more slowly."
        if all(row["divergence_lr"] for row in self.rows):
            return f"It broke at once: start lower than {first:.2g}, or look at the data (check)."
        return (
            f"Up to {last:.2g} nothing was learned: take more steps, and see that the inputs say "
            "something of the target and that gradients arrive (fit, then diagnose)."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "lr": self.lr,
            "low": self.low,
            "high": self.high,
            "verdict": self.verdict,
            "confidence": self.confidence,
            "recipe_lr": self.recipe_lr,
            "why": self.range.why,
            "seeds": self.seeds,
            "picture": self.picture.as_posix() if self.picture else None,
        }

    def __repr__(self) -> str:
        """What a notebook shows."""
        if self.lr is None:
            return self.sentence
        return f"lr {self.lr:.2g} ({self.low:.2g} to {self.high:.2g}). {self.sentence}"


def lr_find(
    source: Any,
    *,
    model: Model = "",
    settings: Mapping[str, Any] | None = None,
    low: float | str = LOW,
    high: float | str = HIGH,
    steps: int | str = STEPS,
    seeds: int | str = SEEDS,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> LrFound:
    """Find a learning rate: raise it step by step over several seeds, and see where the loss breaks.

    The rate that is found is the peak that the schedule starts from or warms up to, `optim.lr`. Every seed
    trains afresh on the training part of fold 0, as the range test of `improve` does.

    Args:
        source, model, settings: as for `fit`.
        low, high: first and last rate; they rise by a constant factor. Where the loss has not broken at
            `high`, the test goes on, up to 100 times as far.
        steps: from `low` to `high`, at least 10 a decade.
        seeds: how many; 2 or more.
        out: a picture of the curves: a file that ends in .png, .svg or .pdf.
        progress: called with an event and its facts, see `fitwell.report.progress`.

    Raises:
        SettingError, DataError, FolderError: before any training.
        Interrupted: Ctrl-C; nothing is kept.

    Source: Smith, Cyclical learning rates for training neural networks, WACV 2017, section 3.3
    """
    given(model, settings)  # what is misspelt is said before anything is read
    first, last, steps, seeds = _asked(low, high, steps, seeds)
    place = _place_of(out)
    start = begin(source, model, settings)
    rows = split.fold_rows(start.data, start.options, fold=0, repeat=0, seed=start.seed)
    check_batch(start.recipe, len(rows.train))
    try:
        tested = _tested(start, first, last, steps, seeds, progress)
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted. A range test keeps nothing: the same command starts again; fewer seeds or "
            "steps take less time."
        ) from None
    found = lr_range(tested)
    own = float(start.recipe["optim.lr"])  # type: ignore[arg-type]
    result = LrFound(found, own, *place_of(own, found), tuple(tested), place)
    if place is not None:
        from fitwell.pictures.ranging import write_range

        write_range(place, result.rows, found, own)
    return result


def _tested(
    start: Start, low: float, high: float, steps: int, seeds: int, progress: Progress | None
) -> list[Row]:
    import torch

    from fitwell.experiments import range_test
    from fitwell.improve.evidence import range_starter
    from fitwell.train.job import check_buildable
    from fitwell.train.machine import thread_count

    tell = progress or (lambda event, **facts: None)
    check_buildable(start.recipe, start.data.spec)
    threads = int(start.recipe["train.threads"])  # type: ignore[arg-type]
    # The caller's random numbers stay as they were.
    with torch.random.fork_rng(), thread_count(threads):
        tell("phase", name="lr-find", total=seeds)
        tested = range_test(
            range_starter(start.data, start.recipe, repeat=0, seed=start.seed),
            seeds=range(seeds),
            low=low,
            high=high,
            steps=steps,
            beyond=BEYOND,
            seed_done=lambda row: tell("trial", name=f"seed {row['seed']}"),
        )
        tell("end")
    return tested


def _asked(low: Any, high: Any, steps: Any, seeds: Any) -> tuple[float, float, int, int]:
    """The range as numbers.

    Raises:
        SettingError: one that is none, or out of its bounds.
    """
    first, last = (_rate(name, value) for name, value in (("low", low), ("high", high)))
    if first >= last:
        raise _refused("low", low, f"must lie below high = {last:g}")
    least = max(20, math.ceil(_DENSITY * math.log10(last / first) - 1e-9))
    number = _count("steps", steps, least, MOST_STEPS)
    return first, last, number, _count("seeds", seeds, 2, MOST_SEEDS)


def _rate(name: str, value: Any) -> float:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 1e-12 <= rate <= 1e6:
        raise _refused(name, value, "must be a rate between 1e-12 and 1e6, such as 1e-5")
    return rate


def _count(name: str, value: Any, least: int, most: int) -> int:
    try:
        count = float(value)
    except (TypeError, ValueError):
        count = math.nan
    if not (least <= count <= most and count == int(count)):
        why = f", {_DENSITY} for each time the rate rises tenfold" if name == "steps" else ""
        raise _refused(name, value, f"must be a whole number from {least} to {most:,}{why}")
    return int(count)


def _place_of(out: str | Path | None) -> Path | None:
    """The file of the picture.

    Raises:
        SettingError: a file of another kind, or in a folder that is not there.
    """
    if out is None:
        return None
    place = Path(out)
    if place.suffix.lower() not in PICTURES:
        raise _refused("out", out, f"must be a picture's file, which ends in {', '.join(PICTURES)}")
    if not place.parent.is_dir():
        raise _refused("out", out, f"there is no folder {place.parent}. Make it first")
    return place


def _refused(name: str, value: Any, rule: str) -> SettingError:
    return SettingError(f"{name} = {value}: {rule}.", setting=name)
