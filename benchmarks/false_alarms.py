"""How often a finding is wrong, and how often it is missed.

A run is *healthy* when no remedy of the catalogue helps it: each case (a family on a data set) is
improved by every remedy there is, but for another family, until a screen over all of them and a
confirmation of the best two give no `helps`. That is its healthy recipe. Each fresh sample of the data
that is cross-validated by it is a healthy run, and every finding of it of medium or high confidence a false
alarm; those of low confidence are counted beside them.

A run is *sick* when a fault of `alarm_faults` was put into it, its severity drawn at random, and, where the
fault must harm, its score is worse than the healthy runs' by more than they differ (of a rare class: its
recall on examples that were left out is worse than the others' by 0.2): the fault is detected where a
finding of its cause is there. Runs of which `diagnose` says that it cannot assess the cause are counted
beside.

`python -m benchmarks.false_alarms`: rows are saved one by one, and what is done is not done again, nor are
the trials of a recipe that is not healthy yet. Runs stand side by side, one on each core. Thresholds may be
chosen by the cases of the half "fit", whose records are kept in the cache: `python -m
benchmarks.false_alarms again` reads them by the rules as they are. The table is of the half "report".
"""

import gzip
import itertools
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.alarm_cases import CASES, Case, sample
from benchmarks.alarm_faults import FAULTS, Fault, made
from fitwell.caching import cache_folder
from fitwell.data.types import Data
from fitwell.errors import FitwellError
from fitwell.findings import RULES, diagnose
from fitwell.improve.evidence import gather
from fitwell.improve.variants import variants_of
from fitwell.metrics import METRICS
from fitwell.recipe import Recipe
from fitwell.record import Finding, Remedy, Run
from fitwell.remedies import REMEDIES, name_of
from fitwell.resolve import complete
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Budget
from fitwell.trials.confirming import REPEATS
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.protocol import judge, screen
from fitwell.trials.trial import Task, slug_of

FAMILY = "other_family"  # the remedy that is left out
SEEDS = 35  # healthy runs a case
SICK = 90  # sick runs a fault: three of four in the half that is reported
MOST_ROUNDS = 6
HALVES = ("report", "fit")  # the one that counts first
LISTED = 8  # names in a list of the evidence that are kept: no doubtful examples one by one
ALLOWED = 4  # false alarms in 200 healthy runs


def main() -> None:
    result = common.load("false_alarms")
    if sys.argv[1:] == ["again"]:
        return again(result)
    for half in HALVES:
        cases = [case for case in CASES if case.half == half]
        for case in cases:
            if not common.done(result, stage="heal", case=case.name):
                common.add(result, healed(case))
                summarise(result)
        recipes = {case.name: recipe_of(result, case) for case in cases}
        keys, jobs = [], []
        for seed, case in itertools.product(range(SEEDS), cases):
            keys.append({"stage": "healthy", "case": case.name, "seed": seed})
            jobs.append((healthy, (case, recipes[case.name], seed)))
        common.measured(result, keys, jobs, summarise, every=20)
        keys, jobs = [], []
        seeds = [seed for seed in range(SICK) if half_of(seed) == half]
        for seed, name in itertools.product(seeds, FAULTS):
            keys.append({"stage": "sick", "fault": name, "seed": seed})
            jobs.append((sick, (cases, recipes, name, seed)))
        common.measured(result, keys, jobs, summarise, every=20)
    print(result["summary"])


def half_of(seed: int) -> str:
    """Three of four sick runs are of the half that is reported."""
    return "report" if seed % 4 else "fit"


def recipe_of(result: dict[str, Any], case: Case) -> Recipe:
    row = next(r for r in result["rows"] if r["stage"] == "heal" and r["case"] == case.name)
    return Recipe(row["recipe"])


def healed(case: Case) -> dict[str, Any]:
    """Improve a case by every remedy until none helps; the recipe that is left."""
    began = time.perf_counter()
    data = sample(case, 10_000)
    first = complete({"model.name": case.family, **case.settings}, data.spec)
    folder = common.RESULTS / "runs" / slug_of(case.name)  # finished trials are used again
    adopted: list[dict[str, Any]] = []
    with LocalExecutor(data, folder) as executor:
        bench = Bench(data, executor, Budget(None), lambda *a, **k: None, first)
        current, known, repeat, fresh = Variant("baseline", first), [first], 0, 1
        for number in range(1, MOST_ROUNDS + 1):
            runs = bench.run(folds_of(bench, current, repeat))
            if number == 1:
                bench.settle_precision(runs)
            proposed = [(r, "") for r in all_remedies(current.recipe, data)]
            variants, _ = variants_of(
                proposed, current.recipe, data.spec, round_number=number, known_recipes=known
            )
            screening = screen(bench, current, variants, repeat=repeat, round_number=number)
            verdicts = judge(bench, current, screening, first_repeat=fresh, round_number=number)
            helping = sorted(
                (v for v in verdicts if v.decision == "helps"), key=lambda v: -v.effect
            )
            if not helping:
                break
            best = helping[0]
            adopted.append({"remedy": best.remedy, "effect": best.effect, "low": best.low})
            current = next(v for v in variants if v.remedy == best.remedy)
            known.append(current.recipe)
            repeat, fresh = fresh, fresh + REPEATS
        metric = bench.metric
    shutil.rmtree(folder)
    scores = [run.scores["held_out"][metric] for run in runs if run.scores]
    return {
        "stage": "heal",
        "case": case.name,
        "half": case.half,
        "adopted": adopted,
        "healthy": not helping,
        "tried": len(variants),
        "metric": metric,
        "score": sum(scores) / len(scores),
        "half_width": max(
            ((v.high - v.low) / 2 for v in verdicts if v.low is not None and v.high is not None),
            default=None,
        ),
        "seconds": time.perf_counter() - began,
        "recipe": dict(current.recipe),
    }


def all_remedies(recipe: Recipe, data: Data) -> list[Remedy]:
    """The first guess of every remedy but another family."""
    nothing = Finding("nothing_wrong", "low", {}, "")
    found = []
    for name, guess in REMEDIES.items():
        edits = [] if name == FAMILY else guess(recipe, data.spec, nothing)
        found += [Remedy(name_of(edit, recipe), edit) for edit in edits[:1]]
    return found


def folds_of(bench: Bench, variant: Variant, repeat: int) -> list[Task]:
    return [bench.task(variant, repeat, fold) for fold in range(bench.folds)]


def healthy(case: Case, recipe: Recipe, seed: int) -> dict[str, Any]:
    """A fresh sample, cross-validated by the healthy recipe: what is found."""
    found = diagnosed(
        sample(case, seed), recipe.edit({"train.seed": seed}), kept(case.half, case.name, seed)
    )
    return {"half": case.half, **found}


def sick(cases: list[Case], recipes: dict[str, Recipe], name: str, seed: int) -> dict[str, Any]:
    """A fresh sample with a fault: what is found. The seed says of which case; the next one that the fault
    suits."""
    random = np.random.default_rng([seed, list(FAULTS).index(name), 61])
    first = seed % len(cases)
    for case in (*cases[first:], *cases[:first]):
        recipe = recipes[case.name].edit({"train.seed": seed})
        before = sample(case, 1000 + seed)
        found = made(name, before, recipe, random)
        if found is None:
            continue
        data, changed = found
        truth = FAULTS[name].truth
        sickness = {"sick": truth(before, data, changed)} if truth else {}
        edits = {k: new for k, (_, new) in recipe.changes(changed).items() if k != "train.seed"}
        facts = {"case": case.name, "half": case.half, "edits": edits, **sickness}
        return {**facts, **diagnosed(data, changed, kept(case.half, name, seed))}
    raise ValueError(f"{name} suits no case of the half {half_of(seed)}")


def kept(half: str, name: str, seed: int) -> Path | None:
    """Where the records of a run are kept; None of the reported half, by which no rule is chosen."""
    folder = cache_folder() / "benchmarks" / "alarms"
    return folder / f"{slug_of(name)}-{seed}.pickle.gz" if half == "fit" else None


def diagnosed(data: Data, recipe: Recipe, place: Path | None) -> dict[str, Any]:
    """Findings of a cross-validation and of the experiments beside it, with its mean score."""
    began = time.perf_counter()
    folder = Path(tempfile.mkdtemp())
    seed = int(recipe["train.seed"])  # type: ignore[arg-type]
    count = int(recipe["data.folds"])  # type: ignore[arg-type]
    with LocalExecutor(data, folder, in_process=True, threads=1) as executor:
        runs: Sequence[Run] = executor.run(
            [Task(recipe, fold, 0, seed, variant="run") for fold in range(count)]
        )
    shutil.rmtree(folder)
    try:
        rows = gather(data, recipe, runs, repeat=0, seed=seed)
    except FitwellError:
        rows = []
    runs = [replace(runs[0], evidence=[*runs[0].evidence, *rows]), *runs[1:]]
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(place, "wb", compresslevel=1) as file:
            pickle.dump(runs, file)
    metric = str(recipe["score.name"])
    scores = [r.scores["held_out"][metric] for r in runs if "held_out" in r.scores]
    return {
        **told(runs),
        "score": sum(scores) / len(scores) if scores else None,
        "seconds": time.perf_counter() - began,
    }


def told(runs: Sequence[Run]) -> dict[str, Any]:
    """What the rules say of the folds of a cross-validation."""
    diagnosis = diagnose(runs)
    return {
        "findings": [
            {
                "name": finding.name,
                "confidence": finding.confidence,
                "explained": "explained_by" in finding.evidence,
                "evidence": {
                    name: value
                    for name, value in finding.evidence.items()
                    if not isinstance(value, list) or len(value) <= LISTED
                },
            }
            for finding in diagnosis
        ],
        "not_assessed": [entry.name for entry in diagnosis.not_assessed],
    }


def again(result: dict[str, Any]) -> None:
    """Read the kept records by the rules as they are; say which runs are told otherwise than before."""
    for row in result["rows"]:
        name = row["case"] if row["stage"] == "healthy" else row.get("fault", "")
        place = kept(row["half"], name, row.get("seed", -1))
        if place is None or not place.exists():
            continue
        with gzip.open(place, "rb") as file:
            now = told(pickle.load(file))
        before, after = ({f["name"]: f["confidence"] for f in r["findings"]} for r in (row, now))
        if before != after:
            print(f"{name}, seed {row['seed']} ({row['case']}): {before} -> {after}")
        row.update(now)
    summarise(result)


def summarise(result: dict[str, Any]) -> None:
    """False alarms of each finding, by half."""
    asked = dict.fromkeys(RULES, f"at most {ALLOWED} of 200")
    result["limits"] = {"false alarms, report": asked}
    summary: dict[str, Any] = {}
    for half in ("report", "fit"):
        rows = [r for r in result["rows"] if r["stage"] == "healthy" and r["half"] == half]
        if not rows:
            continue
        told = {name: sum(is_told(row, name) for row in rows) for name in RULES}
        remarked = {name: sum(is_told(row, name, "low") for row in rows) for name in RULES}
        assessed = {name: sum(name not in row["not_assessed"] for row in rows) for name in RULES}
        summary[f"healthy runs, {half}"] = {
            "runs": len(rows),
            "cases": len({row["case"] for row in rows}),
            "with any finding": sum(bool(row["findings"]) for row in rows),
            "with a finding of high confidence": sum(
                any(f["confidence"] == "high" for f in row["findings"]) for row in rows
            ),
        }
        summary[f"false alarms, {half}"] = {
            name: f"{told[name]} of {assessed[name]}"
            + f", and {remarked[name]} of low confidence" * bool(remarked[name])
            for name in RULES
            if assessed[name]
        }
        named = {name: told_of(result["rows"], name, fault, half) for name, fault in FAULTS.items()}
        summary[f"sick, {half}"] = {name: text for name, text in named.items() if text}
    result["summary"] = {case: figures for case, figures in summary.items() if figures}
    common.save(result)


def is_told(row: dict[str, Any], name: str, *confidences: str) -> bool:
    """Whether a finding is there, of medium or high confidence unless others are asked for."""
    wanted = confidences or ("medium", "high")
    return any(f["name"] == name and f["confidence"] in wanted for f in row["findings"])


def told_of(rows: list[dict[str, Any]], name: str, fault: Fault, half: str) -> str:
    """How often the fault was named, among the runs of a half that it made sick."""
    mine = [r for r in rows if r["stage"] == "sick" and r["fault"] == name]
    ill = [
        row
        for row in mine
        if row["half"] == half and row.get("sick", True) and (not fault.harms or harmed(rows, row))
    ]
    assessed = [row for row in ill if not set(fault.causes) <= set(row["not_assessed"])]
    found = [[f for f in row["findings"] if f["name"] in fault.causes] for row in assessed]
    sure = sum(any(f["confidence"] == "high" for f in some) for some in found)
    if not ill:
        return ""
    beside = len(ill) - len(assessed)
    return (
        f"{sum(map(bool, found))} of {len(assessed)} named, {sure} with high confidence"
        + f"; {beside} not assessed" * bool(beside)
    )


def harmed(rows: list[dict[str, Any]], row: dict[str, Any]) -> bool:
    """Whether a sick run's score is worse than all but the worst of its case's healthy ones."""
    of_case = [r for r in rows if r["case"] == row["case"]]
    metric = METRICS[next(r["metric"] for r in of_case if r["stage"] == "heal")]
    scores = [r["score"] for r in of_case if r["stage"] == "healthy" and r["score"] is not None]
    if row["score"] is None:
        return True
    return bool(scores) and all(metric.gain(row["score"], score) > 0 for score in scores)


if __name__ == "__main__":
    main()
