"""Results as text for a terminal: scores, findings, verdicts, problems of the data. On stdout.

Everything named by a user (class, file, setting) is put in as `Text`, never as markup: a class
called `[red]` is printed as it is.
"""

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fitwell.record import Diagnosis, Run, Scores, Verdict
from fitwell.report import forecasts
from fitwell.report.detection import by_size, row_of
from fitwell.report.facts import Facts, gather
from fitwell.report.headline import ARROW, Headline, headline
from fitwell.report.language import references, samples
from fitwell.report.varying import Varied, varied
from fitwell.report.wording import (
    advised,
    cut,
    duration,
    edits,
    equivalence,
    evidence,
    in_order,
    interval,
    looked,
    metric_word,
    nothing_found,
    number,
    plural,
    setting,
    short,
    title,
)

WIDTH = 80
WRITTEN = 240  # characters of a model's text
TONES = {"better": "bold green", "same": "bold", "open": "bold yellow", "failed": "bold red"}
DECISIONS = {
    "helps": "bold green",
    "hurts": "red",
    "no evidence": "",
    "screened out": "dim",
    "stopped early": "dim",
    "unconfirmed": "yellow",
}
CONFIDENCES = {"high": "bold", "medium": "", "low": "dim"}
SEVERITIES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def console() -> Console:
    """Standard output, 80 columns wide where it is no narrower terminal."""
    wide = Console(file=sys.stdout, highlight=False)
    wide.width = min(wide.width, WIDTH)
    return wide


def improvement(result: Any) -> RenderableType:
    """The headline, findings, the table of verdicts, the changes and where the report is."""
    facts = gather(result)
    parts: list[RenderableType] = [headline_text(headline(facts)), Text()]
    for diagnosis in facts.rounds[:1]:
        parts += [findings(diagnosis, full=False), Text()]
    if facts.verdicts:
        parts += [verdicts(facts.verdicts), Text()]
    if facts.controls:
        parts += [verdicts(facts.controls, "Controls, not chosen to help"), Text()]
    return Group(*parts, *ending(facts))


def ending(facts: Facts) -> list[RenderableType]:
    """What changed, what it brought, what it cost, and where the report is."""
    parts: list[RenderableType] = [changes(facts.changes), Text()] if facts.changes else []
    parts.append(scores({"before": facts.baseline, "after": facts.final}))
    parts += [_wrapped(sentence) for sentence in forecasts.said(facts)]
    parts.append(Text(f"{looked(facts.run.test_looks)} {duration(facts.seconds)}.", "dim"))
    if facts.folder is not None and (facts.folder / "report.html").exists():
        parts.append(Text(f"Report: {facts.folder / 'report.html'}"))
    return parts


def run(result: Run) -> RenderableType:
    """A single run, or a cross-validation: headline, scores, where it stands."""
    facts = gather(result)
    parts: list[RenderableType] = [headline_text(headline(facts)), Text()]
    if facts.kind == "cv":
        parts.append(folds(facts.final_folds, facts.metric))
        for one in varied(result):
            parts += [Text(), levels(one), Text()]
            parts += [Text(one.said), Text()] if one.said else []
    elif facts.final:
        parts.append(scores({"": facts.final}))
    parts += [*by_class(facts), *beside(facts), *wrote(facts)]
    parts += [_wrapped(sentence) for sentence in forecasts.said(facts)]
    parts.append(Text(f"{looked(result.test_looks)} {duration(facts.seconds)}.", "dim"))
    if result.folder is not None:
        parts.append(Text(f"Run: {result.folder}"))
    return Group(*parts)


def beside(facts: Facts) -> list[RenderableType]:
    """What simple models score on the same held-out part, where that was measured."""
    found = references([facts.run, *facts.final_folds], facts.metric)
    if not found:
        return []
    names = ", ".join(f"{name} {number(score)}" for name, score in found)
    return [Text(f"Simple models, {metric_word(facts.metric)} held out: {names}."), Text()]


def by_class(facts: Facts) -> list[RenderableType]:
    """What a detector scores on each class, and what it loses most by."""
    row = row_of(facts)
    return boxes(row, "class or size, held out") if row else []


def boxes(row: Mapping[str, Any], called: str) -> list[RenderableType]:
    """A row a class and size of a row of evidence "boxes", and what each kind of mistake costs."""
    table = plain_table()
    table.add_column(called)
    for name in ("boxes", "map50", "map"):
        table.add_column(metric_word(name), justify="right")
    for one in row["classes"]:
        values = (number(one[name]) for name in ("map50", "map"))
        table.add_row(printable(one["name"]), f"{one['boxes']:,}", *values)
    for one in by_size(row):
        values = (number(one[name]) for name in ("map50", "map"))
        table.add_row(Text(one["name"], "dim"), f"{one['boxes']:,}", *values)
    lost = sorted(row["lost"].items(), key=lambda pair: -pair[1])
    said = ", ".join(f"{kind} {gain:.3f}" for kind, gain in lost)
    return [Text(), table, Text(f"mAP50 lost to mistakes: {said}."), Text()]


def wrote(facts: Facts) -> list[RenderableType]:
    """What the model wrote last, where it writes."""
    found = samples(facts.run)
    if not found:
        return []
    epochs, text = found[-1]
    said = f"What it writes after {plural(epochs, 'epoch')}:"
    shown = printable(text[:WRITTEN] + "…" * (len(text) > WRITTEN))
    return [Text(said), Padding(Text(shown, "dim"), (0, 0, 0, 2), expand=False), Text()]


def headline_text(said: Headline) -> RenderableType:
    return Group(Text(said.title, TONES[said.tone]), *[Text(s) for s in said.sentences])


def scores(arms: Mapping[str, Mapping[str, Scores]]) -> RenderableType:
    """A row a metric, a column an arm and part: `{"before": {"validation": {...}}, ...}`."""
    table = plain_table()
    table.add_column("score")
    columns = [(arm, part) for arm, parts in arms.items() for part in parts]
    columns.sort(key=lambda c: [p for parts in arms.values() for p in parts].index(c[1]))
    for arm, part in columns:
        table.add_column(f"{part}\n{arm}".strip(), justify="right")
    names = dict.fromkeys(n for parts in arms.values() for s in parts.values() for n in s)
    for name in sorted(names, key=lambda name: name == "loss"):
        values = [number(arms[arm][part].get(name)) for arm, part in columns]
        table.add_row(metric_word(name), *values)
    return table if columns else Text("No scores.", "dim")


def folds(runs: Sequence[Run], metric: str) -> RenderableType:
    """A row a fold: its held-out scores, and `metric` on the examples it was trained on."""
    table = plain_table()
    table.collapse_padding = True
    present = [n for r in runs for n in r.scores.get("held_out", {})]
    names = sorted(dict.fromkeys(present), key=lambda name: name != metric)
    repeated = len({run.repeat for run in runs}) > 1
    if repeated:
        table.add_column("repeat", justify="right")
    table.add_column("fold", justify="right")
    for name in names:
        table.add_column(metric_word(name), justify="right")
    table.add_column(f"{metric_word(metric)}, train", justify="right")
    table.add_column("time", justify="right", style="dim", no_wrap=True)
    for number_, one in enumerate(runs):
        held_out, train = one.scores.get("held_out", {}), one.scores.get("train", {})
        table.add_row(
            *([str(one.repeat)] if repeated else []),
            str(one.fold if one.fold is not None else number_),
            *[number(held_out.get(n)) for n in names],
            number(train.get(metric)),
            duration(one.seconds),
        )
    return table


def levels(one: Varied) -> RenderableType:
    """A row a value of what was varied: train and held-out score, and the spread over the folds."""
    table = plain_table()
    table.add_column(one.title, justify="right")
    for part in ("train", "validation"):
        table.add_column(f"{part}\n{metric_word(one.metric)}", justify="right")
    table.add_column("sd", justify="right", style="dim")
    for level in one.levels:
        cells = [number(v) for v in (level.train, level.validation, level.spread)]
        table.add_row(setting(level.value), *cells)
    failed = [level for level in one.levels if level.failure]
    return Group(table, *(Text(f"{setting(v.value)}: {v.failure}", "red") for v in failed))


def verdicts(given: Iterable[Verdict], title: str = "Verdicts") -> RenderableType:
    """The proof: a row a verdict, the confirmed ones of a round first, with their intervals."""
    rows = in_order(given)
    table = plain_table()
    table.add_column("remedy", ratio=1, overflow="fold")
    table.add_column("effect", justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    for i, row in enumerate(rows):
        if i == 0 or (row.round, row.stage) != (rows[i - 1].round, rows[i - 1].stage):
            stage = {"screen": "screened", "confirm": "confirmed"}[row.stage]
            table.add_row(Text(f"round {row.round}, {stage}, {row.trials} pairs each", "dim"))
        table.add_row(
            Padding(Text(short(row.remedy)), (0, 0, 0, 2)),
            number(row.effect, signed=True),
            interval(row.low, row.high),
            Text(row.decision, DECISIONS.get(row.decision, "")),
        )
    unit = metric_word(rows[0].metric) if rows else ""
    return Group(Text(f"{title} (effect on {unit}; positive is better)", "bold"), table)


def verdict(row: Verdict) -> RenderableType:
    """One comparison, in a sentence."""
    sure = f", {100 * (1 - (row.level or 0.05)):.4g} % interval {interval(row.low, row.high)}"
    said = Text(f"{row.remedy}: ")
    said.append(row.decision, DECISIONS.get(row.decision, ""))
    said.append(
        f" ({metric_word(row.metric)} {number(row.effect, signed=True)}"
        f"{sure if row.low is not None else ''}, {row.trials} paired trials"
        f"{f'; {edits(row)}' if row.settings else ''})."
    )
    below = [Text(text, "dim") for text in (equivalence(row), row.why) if text]
    return Group(said, *below)


def findings(diagnosis: Diagnosis, *, full: bool = True) -> RenderableType:
    """Each finding with its evidence and what to try; "nothing wrong" is said plainly.

    Args:
        full: with every number of the evidence, the remedies that a trial could prove, and what
            could not be assessed.
    """
    parts: list[RenderableType] = []
    if not diagnosis.findings:
        style = "bold" if diagnosis.nothing_assessed else "bold green"
        parts.append(Text(nothing_found(diagnosis), style))
    else:
        parts.append(Text("Findings (hypotheses until a trial proves a remedy)", "bold"))
    for finding in diagnosis.findings:
        name = Text("• ")
        name.append(title(finding.name), CONFIDENCES[finding.confidence])
        name.append(f"  {finding.name}, {finding.confidence} confidence", "dim")
        known = {k: v for k, v in finding.evidence.items() if v is not None}
        numbers = ", ".join(f"{k} {evidence(v)}" for k, v in known.items())
        below = [_indented(finding.sentence)]
        if numbers and full:
            below.append(_indented(numbers, "dim"))
        for remedy in (r for r in finding.remedies if full or not r.settings):
            below.append(_indented(f"{ARROW} {advised(remedy)}"))
        parts += [name, *below]
    if full and diagnosis.not_assessed:
        parts.append(Text("Not assessed", "bold"))
        for entry in diagnosis.not_assessed:
            parts.append(_indented(f"{entry.name}: {entry.missing}", "dim"))
    return Group(*parts)


def changes(edited: Mapping[str, tuple[Any, Any]]) -> RenderableType:
    """What differs between two recipes."""
    table = plain_table()
    table.add_column("setting")
    table.add_column("before", justify="right", style="dim")
    table.add_column("after", justify="right")
    for name, (before, after) in edited.items():
        table.add_row(Text(name), setting(before), Text(setting(after), "bold"))
    return table


def printable(text: str) -> str:
    """A text without what would steer the terminal: names of files and classes may hold anything.

    >>> print(printable("cat" + chr(27) + "[31m"))
    cat\\x1b[31m
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def problems(found: Iterable[Any], *, places: int = 8) -> RenderableType:
    """Problems of the data, errors first; `where` is cut to `places` names (`--json` has all)."""
    order = {"error": 0, "warning": 1, "note": 2}
    rows = sorted(found, key=lambda p: order[p.severity])
    if not rows:
        return Text("Nothing wrong with the data was found.", "bold green")
    parts: list[RenderableType] = []
    for problem in rows:
        said = _wrapped(f"{problem.severity}: {printable(problem.message)}")
        said.stylize(SEVERITIES[problem.severity], 0, len(problem.severity) + 1)
        where = printable(", ".join(problem.where[:places]))
        more = len(problem.where) - places
        where += f" and {more} more" if more > 0 else ""
        below = [_indented(f"in {where}", "dim")] if where else []
        parts += [said, *below, _indented(f"{ARROW} {problem.mend}")]
    return Group(*parts)


def _wrapped(text: str, style: str = "", indent: str = "") -> Text:
    """Lines without the blanks that rich leaves behind them."""
    width = console().width
    lines = textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return Text(lines, style)


def _indented(text: str, style: str = "") -> Text:
    return _wrapped(text, style, "  ")


def ranges(found: Sequence[Any], *, most: int = 12) -> RenderableType:
    """Smallest, median and largest of each column (`--json` has those that are more than `most`); the last
    one is the target."""
    more = len(found) - most
    shown = [*found[: most - 1], found[-1]] if more > 0 else found
    gaps = any(one.missing for one in shown)
    table = plain_table()
    table.add_column("values of", max_width=30, overflow="fold")
    for head in ("smallest", "median", "largest", "missing")[: 4 if gaps else 3]:
        table.add_column(head, justify="right", no_wrap=True)
    for one in shown:
        values = [_value(v) for v in (one.low, one.middle, one.high)]
        if one.different:
            values = [f"{one.different:,} kinds", "most often", cut(one.usual, 16)]
        missing = [f"{one.missing:,}" if one.missing else ""] if gaps else []
        texts = (Text(" ".join(printable(v).split())) for v in (one.name, *values))
        table.add_row(*texts, *missing)
    return Group(table, Text(f"and {more:,} more (--json names all)", "dim")) if more > 0 else table


def _value(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"


def plain_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
