"""One HTML file that holds a whole result: no network, no script, prints well, fits a phone."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fitwell import store
from fitwell.record import Diagnosis, Finding, Verdict
from fitwell.report import (
    detection,
    forecasts,
    language,
    mistakes,
    model,
    searching,
    varying,
    wording,
)
from fitwell.report.curves import learning_curve, shared_limits, step_curve, verdict_plot
from fitwell.report.evidence import picture
from fitwell.report.examples import contact_sheet
from fitwell.report.facts import (
    JUDGED,
    Facts,
    explained_mistakes,
    folds_said,
    gather,
    held_out_predictions,
)
from fitwell.report.headline import headline

VERBS = {"improvement": "improve", "search": "search", "cv": "cv", "fit": "fit"}


def write_report(
    result: Any,
    path: Path | str,
    *,
    examples: bool = True,
    data: Any = None,
    diagnosis: Diagnosis | None = None,
    source: str = "",
) -> Path:
    """Write the report of an Improvement or a Run as one HTML file.

    Args:
        result: an Improvement, a Run, or a Run whose `trials` are the folds of a cross-validation.
        path: the file to write; it takes its place when it is whole.
        examples: embed pictures or rows of the most confident mistakes; `--no-examples` leaves
            them and their names out.
        data: the `Data` that was trained on: for pictures, and for the problems found in it.
        diagnosis: findings of a single run.
        source: name or path of the data; the recipe's by default.

    Returns:
        The path written to.

    Raises:
        FolderError: the file cannot be written.
    """
    path = Path(path)
    facts = gather(result, diagnosis=diagnosis)
    store.write_text(path, render(facts, examples, data, source))
    return path


def render(
    facts: Facts,
    examples: bool = True,
    data: Any = None,
    source: str = "",
) -> str:
    """The HTML text of gathered facts; the arguments are those of `write_report`."""
    source = source or str((facts.baseline_recipe or {}).get("source", ""))
    folder = facts.run.folder or facts.folder
    parameters = model.parameters(folder / "best.safetensors") if folder else []
    writes = facts.spec is not None and bool(facts.spec.tokens)
    ahead = forecasts.section(facts, examples)
    detected = detection.section(facts, data, *held_out_predictions(facts), examples)
    own = writes or ahead or detected  # has a page of mistakes of its own
    context = {
        "facts": facts,
        "headline": headline(facts),
        "source": source or getattr(data, "name", "") or "unnamed data",
        "model_name": str((facts.recipe or {}).get("model.name", "")),
        "tiles": tiles(facts),
        "proofs": proofs(facts),
        "rounds": rounds(facts),
        "search": searching.section(facts.search) if facts.search else {},
        "curves": curves(facts),
        "varied": [(one, varying.picture(one)) for one in varying.varied(facts.run)],
        "forecasts": ahead,
        "detected": detected,
        "errors": {} if own else errors(facts, data if examples else None, examples),
        "written": language.section(facts, data, held_out_predictions(facts)[0], examples),
        "references": language.references([facts.run, *facts.final_folds], facts.metric),
        "examples": examples,
        "sheet": contact_sheet(data)
        if examples and not (writes or ahead) and is_of(data, facts)
        else {},
        "problems": [
            p if examples else without_examples(p, facts.spec)
            for p in sorted_problems(getattr(data, "problems", ()))
        ],
        "parameters": model.shapes(parameters),
        "commands": model.commands(
            source,
            facts.recipe,
            facts.baseline_recipe,
            verb=VERBS[facts.kind],
            options=model.options_of(facts.folder),
        ),
        "environment": model.flat(facts.environment),
    }
    return _template().render(context)


def _template() -> Any:
    """The page; every value that is put into it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fitwell.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=wording.number,
        signed=partial(wording.number, signed=True),
        setting=wording.setting,
        evidence=wording.evidence,
        chance=wording.chance,
        title=wording.title,
        words=wording.words,
        duration=wording.duration,
        arrows=wording.arrows,
    )
    helpers: dict[str, Any] = {
        "interval": wording.interval,
        "metric_word": wording.metric_word,
        "looked": wording.looked,
        "edits": wording.edits,
        "equivalence": wording.equivalence,
        "nothing_found": wording.nothing_found,
    }
    environment.globals.update(helpers)
    return environment.get_template("page.html")


def tiles(facts: Facts) -> list[dict[str, Any]]:
    """The few numbers at the top: (what, before, after, note)."""
    found = []
    notes = {"validation": _validation_note(facts), "test": wording.looked(facts.run.test_looks)}
    for part in ("validation", "test"):
        before = facts.baseline.get(part, {}).get(facts.metric)
        after = facts.final.get(part, {}).get(facts.metric)
        if after is None and before is None:
            continue
        changed = bool(facts.changes) and before is not None
        found.append(
            {
                "what": f"{part} {wording.metric_word(facts.metric)}",
                "before": before if changed else None,
                "after": after if after is not None else before,
                "note": notes[part],
            }
        )
    return found


def proofs(facts: Facts) -> list[dict[str, Any]]:
    """The verdicts a round, with their picture."""
    found = []
    for number in sorted({v.round for v in facts.verdicts}):
        rows = [v for v in facts.verdicts if v.round == number]
        picture = verdict_plot(rows, facts.min_effect)
        found.append({"number": number, "verdicts": rows, "picture": picture})
    return found


def _validation_note(facts: Facts) -> str:
    spread = facts.spread.get(facts.metric)
    around = f" (sd {wording.number(spread)})" if spread is not None else ""
    folds = facts.final_folds
    return f"mean of {folds_said(folds)}{around}" if len(folds) > 1 else "held out of training"


def curves(facts: Facts) -> list[tuple[str, str]]:
    """(heading, picture) of score and loss by epoch, before and after beside each other on equal
    axes; of a single epoch the loss by step."""
    arms = [("", facts.final_folds)]
    if facts.kind in JUDGED and facts.changes and facts.baseline_folds:
        arms = [("Before: ", facts.baseline_folds), ("After: ", facts.final_folds)]
    pictures = []
    if max((len(run.epochs) for _, runs in arms for run in runs), default=0) < 2:
        picture = step_curve(
            [run for _, runs in arms for run in runs], "loss", "Loss by step", width=9.2
        )
        return [("Loss by step", picture)] if picture else []
    for metric in dict.fromkeys((facts.metric, "loss")):
        limits = shared_limits([runs for _, runs in arms], metric)
        for before, runs in arms:
            heading = f"{before}{wording.metric_word(metric)}"
            heading = wording.capital(heading)
            picture = learning_curve(runs, metric, heading=heading, limits=limits)
            if picture:
                pictures.append((heading, picture))
    return pictures


def rounds(facts: Facts) -> list[dict[str, Any]]:
    """Findings a round, each with its picture and what became of its remedies."""
    found = []
    for i, (diagnosis, runs) in enumerate(zip(facts.rounds, facts.runs_of_diagnosis, strict=False)):
        number = i + 1
        found.append(
            {
                "number": number,
                "findings": [
                    {
                        "finding": finding,
                        "picture": picture(finding, runs, facts.metric),
                        "outcomes": outcomes(finding, facts.verdicts, number),
                    }
                    for finding in diagnosis.findings
                ],
                "diagnosis": diagnosis,
            }
        )
    return found


def outcomes(finding: Finding, verdicts: Iterable[Verdict], number: int) -> list[tuple[str, str]]:
    """(remedy, what became of it): decisions of the round's trials, then what no trial can prove.

    A verdict says which findings its remedy is for; a remedy that stands in the finding itself is
    found by its name.
    """
    own = {remedy.name: remedy for remedy in finding.remedies}
    decided = {
        v.remedy: v.decision
        for v in wording.in_order(verdicts)[::-1]  # the confirm stage has the last word
        if v.round == number and (v.remedy in own or finding.name in v.finding.split(", "))
    }
    tried = list(decided.items())[::-1]
    rest = [
        (wording.advised(r), "not tried" if r.settings else "advice")
        for r in own.values()
        if r.name not in decided
    ]
    return [*tried, *rest]


def errors(facts: Facts, data: Any, examples: bool) -> dict[str, Any]:
    """Confusion matrix, scores a label or residuals, and the most confident mistakes."""
    predictions, where = held_out_predictions(facts)
    if predictions is None or not len(predictions.target):
        return {}
    wrong = int(predictions.wrong.sum())
    several = predictions.target.ndim == 2
    found: dict[str, Any] = {
        "where": where,
        "total": len(predictions.target),
        "wrong": wrong,
        "classified": predictions.probabilities is not None,
        "matrix": "",
        "pairs": [],
        "labels": [],
        "residuals": [],
        "examples": [],
        "looked": {},
        "blank": 0,
    }
    if examples:
        explained = explained_mistakes(facts)
        shown = mistakes.examples(predictions, facts.spec, data, explained=explained)
        found["examples"] = shown
        looked = [explained[e.key] for e in shown if e.looked]
        found["looked"] = looked[0] if looked else {}
        found["blank"] = sum(not np.any(row["map"]) for row in looked)
    if found["classified"] and several:
        names = mistakes.several_names(facts.spec, predictions)
        found["labels"] = mistakes.label_rows(predictions, names)
    elif found["classified"]:
        names = mistakes.class_names(facts.spec, predictions)
        counts = mistakes.confusion(predictions, len(names))
        found["matrix"] = mistakes.confusion_plot(counts, names)
        found["pairs"] = mistakes.confused_pairs(counts, names)
    else:
        units = [facts.spec.target if facts.spec else ""]
        if several:
            units = mistakes.several_names(facts.spec, predictions)
        found["residuals"] = mistakes.residual_plots(predictions, units)
    return found


def is_of(data: Any, facts: Facts) -> bool:
    """Whether the predictions are of this data: their examples have the same names."""
    predictions, _ = held_out_predictions(facts)
    if data is None or predictions is None or not len(predictions.index):
        return data is not None
    inside = predictions.index < len(data)
    return bool(inside.all()) and bool((data.keys[predictions.index] == predictions.keys).all())


def sorted_problems(problems: Iterable[Any]) -> list[Any]:
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(problems, key=lambda p: order.get(p.severity, 3))


def without_examples(problem: Any, spec: Any) -> Any:
    """The problem with its count instead of the names of examples; columns and classes stay named."""
    named = (
        {spec.target, *spec.targets, *spec.classes, *(column.name for column in spec.columns)}
        if spec
        else set()
    )
    if named.issuperset(problem.where):
        return problem
    text = f"{wording.title(problem.name)}: {len(problem.where)}; `fitwell check` names them."
    return replace(problem, message=text, where=())
