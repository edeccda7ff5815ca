"""Scores that somebody else measured: lists of numbers, or files of them."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.errors import DataError, SettingError
from fitwell.metrics import METRICS
from fitwell.recipe import Recipe

ENDINGS = (".txt", ".csv", ".json")
_USUAL = {"data.folds": 5, "score.name": "accuracy", "score.min_effect": 0.0}


def scores_in(item: Any) -> bool:
    """Whether it is a list of scores, or names a file of them.

    >>> scores_in([0.91, 0.93]), scores_in("runs/digits-mlp-1"), scores_in("mine.csv")
    (True, False, True)
    """
    if isinstance(item, str | Path):
        return Path(item).suffix.lower() in ENDINGS
    return isinstance(item, list | tuple | np.ndarray) and not any(
        hasattr(part, "recipe") for part in item
    )


def compared_scores(
    first: Any, second: Any, settings: Mapping[str, Any]
) -> tuple[Recipe, Recipe, list[float], float]:
    """(recipe that says how to judge, the same, [trial] how much better the second is, mean of the first).

    Raises:
        SettingError: a setting that scores have not, or numbers that are no whole repeats of the folds.
        DataError: not both are scores, other numbers of them, or something that is no number.
    """
    if unknown := [name for name in settings if name not in _USUAL]:
        raise SettingError(
            f"{unknown[0]}: scores that are measured already have no such setting. Of them may be set: "
            f"{', '.join(_USUAL)}.",
            setting=unknown[0],
        )
    for item in (first, second):
        if not scores_in(item):
            raise DataError(
                f"{_named(item)} is no list of scores, nor a file of them ({', '.join(ENDINGS)}), and the "
                "other is. Compare scores with scores, runs or recipes with each other.",
                where=_named(item),
            )
    recipe = Recipe({**_USUAL, **settings})
    name, folds = str(recipe["score.name"]), int(recipe["data.folds"])  # type: ignore[arg-type]
    before, after = (_numbers(item, name) for item in (first, second))
    if len(before) != len(after):
        raise DataError(
            f"{_named(first)} has {len(before)} scores and {_named(second)} {len(after)}: each pair must "
            "be of the same fold and repeat, in the same order."
        )
    if len(before) % folds or len(before) < 2:
        raise SettingError(
            f"data.folds = {folds}: {len(before)} scores are no whole repeats of so many folds. Set "
            "data.folds to the number of folds of one repeat.",
            setting="data.folds",
        )
    gains = [METRICS[name].gain(a, b) for a, b in zip(before, after, strict=True)]
    return recipe, recipe, gains, float(np.mean(before))


def _numbers(item: Any, metric: str) -> list[float]:
    found = _read(Path(item), metric) if isinstance(item, str | Path) else item
    if not isinstance(found, Sequence | np.ndarray):
        raise DataError(f"{_named(item)} holds no scores. Compare scores with scores.")
    values = []
    for place, value in enumerate(found, 1):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"{_named(item)}, score {place}: {value!r} is no number.")
        if METRICS[metric].bounded and number > 1:
            raise DataError(
                f"{_named(item)}, score {place}: {number:g} is above 1, the most that {metric} can be. "
                "Divide per cents by 100, leave out a column that counts the folds, or name the score with "
                "score.name=..."
            )
        values.append(number)
    return values


def _read(path: Path, metric: str) -> Any:
    """The numbers of a file: one after the other, or the folds of what `cv --json` printed."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"There is no file {path}. Check the path and the current folder.", where=str(path)
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}).", where=str(path)) from None
    if path.suffix.lower() != ".json":
        words = [word for word in re.split(r"[\s,;]+", text) if word]
        return words[1:] if words and not _is_number(words[0]) else words  # below a heading
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: is no JSON ({error}).", where=str(path)) from None
    if isinstance(document, dict) and "folds" in document:
        try:
            return [fold["validation"].get(metric) for fold in document["folds"]]
        except (AttributeError, KeyError, TypeError):
            raise DataError(
                f"{path}: its folds are not those that `cv --json` prints. A list of numbers will do.",
                where=str(path),
            ) from None
    return document


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _named(item: Any) -> str:
    return str(item) if isinstance(item, str | Path) else "The list"
