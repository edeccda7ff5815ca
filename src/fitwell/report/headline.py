"""The verdict in plain words: one heading and a few sentences, with their numbers."""

from dataclasses import dataclass
from typing import Literal

from fitwell.record import Run
from fitwell.report.facts import JUDGED, Facts, folds_said
from fitwell.report.wording import (
    capital,
    higher_is_better,
    interval,
    listed,
    metric_word,
    number,
    plural,
    setting,
)
from fitwell.trials.intervals import mean_intervals

Tone = Literal["better", "same", "open", "failed"]
ARROW = "→"


@dataclass(frozen=True)
class Headline:
    """Args:
    tone: better, same (nothing helps: a success too), open (not decided), failed.
    title: a few words.
    sentences: what was found, with numbers; each stands alone.
    """

    tone: Tone
    title: str
    sentences: tuple[str, ...]


def headline(facts: Facts) -> Headline:
    """What a busy person should read, whatever the result is."""
    if facts.run.status == "failed":
        return Headline("failed", "The training failed", (facts.run.failure,))
    if facts.kind not in JUDGED:
        return _single(facts)
    if facts.changes:
        return _improved(facts)
    return _unchanged(facts)


def _improved(facts: Facts) -> Headline:
    metric = metric_word(facts.metric)
    # A setting that only one of two models has comes and goes with the model's name.
    edits = [
        f"{name} {setting(before)} {ARROW} {setting(after)}"
        for name, (before, after) in facts.changes.items()
        if before is not None and after is not None
    ]
    title = "A better recipe, proved"
    proof = f"{plural(len(edits), 'setting').capitalize()} changed: {listed(edits)}."
    sentences = [proof, *_score_sentences(facts)]
    low = facts.test_effect.get("low")
    if low is not None and low <= 0:
        title = "A better recipe in cross-validation; the test set cannot tell"
        sentences.append(
            f"On the test set the gain is within what chance does, so the proof rests on "
            f"the folds: their paired trials show that {metric} improves."
        )
    return Headline("better", title, tuple(sentences))


def _score_sentences(facts: Facts) -> list[str]:
    metric = capital(metric_word(facts.metric))
    pairs = []
    for part, words in (("validation", "validation"), ("test", "test")):
        before, after = (s.get(part, {}).get(facts.metric) for s in (facts.baseline, facts.final))
        if before is not None and after is not None:
            how = _how(facts) if part == "test" else _folds(facts)
            pairs.append(f"{words} {number(before)} {ARROW} {number(after)}{how}")
    return [f"{metric}: {'; '.join(pairs)}."] if pairs else []


def _folds(facts: Facts) -> str:
    several = len(facts.final_folds) > 1
    return f" (mean of {folds_said(facts.final_folds)})" if several else ""


def _how(facts: Facts) -> str:
    looks = facts.run.test_looks
    words = ["one look" if looks == 1 else f"look number {looks}"] if looks else []
    effect = facts.test_effect
    if effect.get("low") is not None:
        level = 100 * (1 - effect.get("level", 0.05))
        between = interval(effect["low"], effect["high"])
        words.append(f"paired {level:.4g} % interval of the gain {between}")
    return f" ({', '.join(words)})" if words else ""


def _unchanged(facts: Facts) -> Headline:
    found = [finding for d in facts.rounds for finding in d.findings]
    tried = len({(v.round, v.remedy) for v in facts.verdicts})
    standing = _standing(facts)
    if any(v.decision == "unconfirmed" for v in facts.verdicts):
        open_ones = listed([v.remedy for v in facts.verdicts if v.decision == "unconfirmed"])
        return Headline(
            "open",
            "Not decided: the budget ended first",
            (
                f"Still to confirm: {open_ones}. `fitwell resume` with a larger --budget decides it.",
                *standing,
            ),
        )
    if facts.kind == "search":
        none = "Nothing better was found" if not tried else "The best trial is not proved better"
        why = f"{facts.trials:,} trainings; the recipe stays as it is."
        return Headline("same", none, (why, *standing))
    if not found and not tried:
        return Headline(
            "same", "Nothing wrong was found", ("The recipe stays as it is.", *standing)
        )
    if not tried:
        return Headline(
            "open",
            f"{plural(len(found), 'finding').capitalize()}, and no remedy was tried",
            ("No trial was run, so nothing is proved.", *standing),
        )
    sentence = (
        f"{plural(tried, 'remedy').capitalize()} tried in {facts.trials:,} trials; none is better "
        "beyond what chance does. The recipe stays as it is."
    )
    return Headline("same", "Nothing that was tried helps", (sentence, *standing))


def _standing(facts: Facts) -> list[str]:
    """The scores of a recipe that stays."""
    metric = capital(metric_word(facts.metric))
    parts = []
    for part in ("validation", "test"):
        score = facts.final.get(part, facts.baseline.get(part, {})).get(facts.metric)
        if score is not None:
            how = _folds(facts) if part == "validation" else _how(facts)
            parts.append(f"{part} {number(score)}{how if part == 'validation' or how else ''}")
    return [f"{metric}: {'; '.join(parts)}."] if parts else []


def _start(run: Run) -> list[str]:
    """What was taken over of pretrained weights, and what was not."""
    row = next((row for row in run.evidence if row.get("experiment") == "pretrained"), None)
    if row is None or run.recipe is None:
        return []
    new = f"; new are {listed(row['new'])}" if row["new"] else ""
    source = run.recipe["model.pretrained"]
    return [f"Started from {source}: {len(row['loaded'])} tensors taken over{new}.", *row["notes"]]


def _single(facts: Facts) -> Headline:
    metric = metric_word(facts.metric)
    part = next((p for p in ("test", "validation", "train") if p in facts.final), "")
    if facts.kind == "cv":
        part = "validation"
    score = facts.final.get(part, {}).get(facts.metric)
    if score is None:
        return Headline("open", f"The run is {facts.run.status}", ("There are no scores yet.",))
    train = facts.final.get("train", {}).get(facts.metric)
    sentences = [facts.run.failure] if facts.run.failure else []
    if facts.kind == "cv":
        spread = facts.spread.get(facts.metric)
        around = f" ± {number(spread)}" if spread is not None else ""
        title = f"{capital(metric)} {number(score)}{around}"
        sentences.append(
            f"Mean and standard deviation of {folds_said(facts.final_folds)}, each scored "
            "once on examples that its model never saw."
        )
        between = mean_intervals(facts.final_folds).get(facts.metric)
        if between and len({run.repeat for run in facts.final_folds}) > 1:
            low, high = map(number, between)
            sentences.append(
                f"The mean lies between {low} and {high} (95 %, corrected for the training examples that "
                "folds share)."
            )
    else:
        title = f"{capital(metric)} {number(score)} on the {part} part"
        best = facts.run.best_epoch
        if best >= 0:
            sentences.append(f"Weights of epoch {best + 1} of {len(facts.run.epochs)}.")
        sentences += _start(facts.run)
    if train is not None and part != "train":
        gap = train - score if higher_is_better(facts.metric) else score - train
        sentences.append(
            f"On the examples it was trained on: {number(train)} (gap {number(gap, signed=True)})."
        )
    return Headline("same", title, tuple(sentences))
