"""How often the proof says `helps` where nothing does, and how often where something does.

`python -m benchmarks.null`, rows saved one by one, runs side by side, one on each core:

- neutral: settings that change nothing within 0.2 point of accuracy. 50 retrains of both recipes, each on a
  fresh half of the data and scored on the other half; the 90 % interval of the mean difference lies within
  0.2 point (two one-sided tests).
- null: 300 comparisons by the confirm stage, each on a fresh sample of a case: the same recipe with
  disjoint seeds and orders, and every third one of the neutral settings.
- power: real changes of a setting on digits, whose true effect is the mean over 100 retrains on 80 % of
  them; how many of 40 comparisons on all of them say `helps`, each of other seeds and partitions. Arms
  share seeds and orders, as they do in every proof.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.alarm_cases import CASES, Case, sample, whole
from fitwell.data.split import Rows
from fitwell.data.types import Data
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.train import train_once
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Budget
from fitwell.trials.confirming import REPEATS, confirm
from fitwell.trials.executor import LocalExecutor

COMPARISONS, RETRAINS = 300, 50
WITHIN = 0.002  # accuracy
QUICK = {"train.epochs": 15}
NULL_CASES = ("digits mlp", "wine mlp", "breast-cancer linear", "breast-cancer mlp", "vowels mlp")
NEUTRAL: tuple[dict[str, Any], ...] = (
    {"schedule.warmup": 0.15},
    {"schedule.floor": 0.001},
    {"train.clip_norm": 5.0},
    {"optim.nesterov": True},
    {"optim.weight_decay": 4e-4},
    {"optim.momentum": 0.89},
)
POWER_RETRAINS, POWER_COMPARISONS = 100, 40
# Starts that leave room above them, and changes.
NARROW = {"model.width": 6, "model.depth": 1, **QUICK}
SHORT = {"model.width": 16, "model.depth": 1, "train.epochs": 2}
POWER: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    (NARROW, {"model.width": 7}),
    (NARROW, {"model.width": 8}),
    (NARROW, {"model.width": 12}),
    (SHORT, {"train.epochs": 3}),
    (SHORT, {"train.epochs": 4}),
    (SHORT, {"model.width": 24}),
)
LIMITS = {
    "null": {"helps": "at most 8 of 300"},
    "neutral": {"settings proved": "at least 3"},
}


def main() -> None:
    result = common.load("null")
    result["limits"] = LIMITS
    keys = [{"stage": "neutral", "setting": str(edit)} for edit in NEUTRAL]
    common.measured(result, keys, [(neutral, (edit,)) for edit in NEUTRAL], summarise)
    proved = [NEUTRAL[i] for i, key in enumerate(keys) if _row(result, key)["neutral"]]
    keys = [{"stage": "null", "number": number} for number in range(COMPARISONS)]
    common.measured(
        result, keys, [(null, (number, proved)) for number in range(COMPARISONS)], summarise
    )
    keys = [{"stage": "true effect", "start": str(start), "setting": str(e)} for start, e in POWER]
    common.measured(result, keys, [(true_effect, pair) for pair in POWER], summarise)
    jobs = [(power, (*pair, seed)) for seed in range(POWER_COMPARISONS) for pair in POWER]
    keys = [
        {"stage": "power", "start": str(start), "setting": str(edit), "seed": seed}
        for _, (start, edit, seed) in jobs
    ]
    common.measured(result, keys, jobs, summarise)
    print(result["summary"])


def _row(result: dict[str, Any], key: dict[str, Any]) -> dict[str, Any]:
    return next(r for r in result["rows"] if all(r.get(k) == v for k, v in key.items()))


def neutral(edit: dict[str, Any]) -> dict[str, Any]:
    """A row: the mean difference that a setting makes on digits, and whether it is proved to be none."""
    differences = retrained(QUICK, {**QUICK, **edit}, RETRAINS)
    mean, error = float(np.mean(differences)), _error(differences)
    reach = 1.677 * error  # t of 49 degrees of freedom, one-sided 5 %
    return {"mean": mean, "error": error, "neutral": abs(mean) + reach < WITHIN}


def true_effect(start: dict[str, Any], edit: dict[str, Any]) -> dict[str, Any]:
    differences = retrained(start, {**start, **edit}, POWER_RETRAINS, share=0.8)
    return {"mean": float(np.mean(differences)), "error": _error(differences)}


def _error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def retrained(
    first: dict[str, Any], second: dict[str, Any], times: int, share: float = 0.5
) -> list[float]:
    """Differences in accuracy, each of two trainings of different seeds on a share of digits, scored on the
    rest."""
    data = whole("digits")
    recipes = [
        complete({"model.name": "mlp", **settings}, data.spec) for settings in (first, second)
    ]
    found = []
    for number in range(times):
        order = np.random.default_rng([number, 67]).permutation(len(data))
        cut = int(share * len(data))
        validation = np.empty(0, np.int64)
        rows = Rows(np.sort(order[:cut]), validation, np.sort(order[cut:]))
        scores = [
            train_once(data, rows, recipe, seed=2 * number + arm, probes=False, threads=1).scores[
                "test"
            ]["accuracy"]
            for arm, recipe in enumerate(recipes)
        ]
        found.append(scores[1] - scores[0])
    return found


def null(number: int, proved: list[dict[str, Any]]) -> dict[str, Any]:
    """A row: what the proof says of two arms that differ by chance alone."""
    if proved and number % 3 == 2:
        case = _case("digits mlp")
        edit = proved[number // 3 % len(proved)]
    else:
        case, edit = _case(NULL_CASES[number % len(NULL_CASES)]), {}
    values = {"model.name": case.family, **case.settings, **QUICK, "train.seed": number}
    verdict = compared(sample(case, 20_000 + number), values, edit, shift=1)
    return {"case": case.name, "edit": edit, **verdict}


def power(start: dict[str, Any], edit: dict[str, Any], seed: int) -> dict[str, Any]:
    values = {"model.name": "mlp", **start, "train.seed": 5000 + seed}
    return compared(whole("digits"), values, edit)


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def compared(
    data: Data, values: dict[str, Any], edit: dict[str, Any], *, shift: int = 0
) -> dict[str, Any]:
    """What the confirm stage says of one variant; with a shift its arms have disjoint seeds."""
    recipe = complete(values, data.spec)
    other: Recipe = complete({**values, **edit}, data.spec)
    folder = Path(tempfile.mkdtemp())
    with LocalExecutor(data, folder, in_process=True, threads=1) as executor:
        bench = Bench(data, executor, Budget(None), lambda *a, **k: None, recipe)
        arms = [Variant("first", recipe), Variant("second", other, shift=shift)]
        (verdict,) = confirm(bench, arms[0], arms[1:], range(REPEATS), round_number=1)
    shutil.rmtree(folder)
    keys = ("decision", "effect", "low", "high", "p", "trials")
    return {key: getattr(verdict, key) for key in keys}


def summarise(result: dict[str, Any]) -> None:
    rows = result["rows"]
    nulls = [row for row in rows if row["stage"] == "null"]
    helps = sum(row["decision"] == "helps" for row in nulls)
    result |= {"comparisons": len(nulls), "helps": helps}
    kinds = {
        "disjoint seeds": [row for row in nulls if not row["edit"]],
        "neutral settings": [row for row in nulls if row["edit"]],
    }
    summary: dict[str, Any] = {
        "neutral": {
            "settings proved": sum(bool(row.get("neutral")) for row in rows),
            **{
                row["setting"]: f"{row['mean']:+.4f} (standard error {row['error']:.4f})"
                for row in rows
                if row["stage"] == "neutral"
            },
        },
        "null": {"helps": f"{helps} of {len(nulls)}"}
        | {
            f"{kind}: helps, hurts": f"{_said(some, 'helps')}, {_said(some, 'hurts')} of {len(some)}"
            for kind, some in kinds.items()
        },
    }
    for effect in (row for row in rows if row["stage"] == "true effect"):
        same = {"stage": "power", "start": effect["start"], "setting": effect["setting"]}
        own = [row for row in rows if same.items() <= row.items()]
        name = f"power at {100 * effect['mean']:+.1f} points ({effect['setting']})"
        summary[name] = {"helps": f"{_said(own, 'helps')} of {len(own)}"}
    result["summary"] = summary
    common.save(result)


def _said(rows: list[dict[str, Any]], decision: str) -> int:
    return sum(row["decision"] == decision for row in rows)


if __name__ == "__main__":
    main()
