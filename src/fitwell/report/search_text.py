"""A search as text for a terminal: its best trials, what matters, and the proof."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from fitwell.report.facts import gather
from fitwell.report.headline import headline
from fitwell.report.searching import best_rows, said
from fitwell.report.terminal import ending, headline_text, plain_table, verdict
from fitwell.report.wording import (
    metric_word,
    number,
    setting,
)

SHOWN = 5  # trials
BAR = 30  # columns
WIDEST = 4  # settings that have a column; the most important ones


def searched(result: Any) -> RenderableType:
    """The headline, the best trials, importance, the verdict, the changes and where the report is."""
    facts = gather(result)
    parts: list[RenderableType] = [headline_text(headline(facts)), Text()]
    parts += [trials(result), Text()]
    if result.importance:
        parts += [importance(result), Text()]
    for row in result.verdicts:
        parts += [verdict(row), Text()]
    parts += [Text(said(result)), Text()]
    return Group(*parts, *ending(facts))


def trials(result: Any) -> RenderableType:
    """The best few, a row each; the start among them where it is one of the best."""
    metric = str(result.recipe["score.name"])
    rows = best_rows(result)
    names = [*result.importance, *(n for n in result.space if n not in result.importance)]
    table = plain_table()
    table.add_column("trial", justify="right")
    table.add_column(metric_word(metric), justify="right")
    for name in names[:WIDEST]:
        table.add_column(name.rpartition(".")[2], justify="right", overflow="fold")
    for row in rows[:SHOWN]:
        mine = result.best is not None and row.number == result.best.number
        table.add_row(
            "start" if row.start else str(row.number),
            Text(number(row.score), "bold" if mine else ""),
            *[Text(_value(row.settings.get(name))) for name in names[:WIDEST]],
        )
    left = len(result.trials) - len(rows[:SHOWN])
    more = [Text(f"and {left:,} more (--json has all of them)", "dim")] if left else []
    title = Text(f"Best trials ({metric_word(metric)} on the folds of the search)", "bold")
    return Group(title, table, *more)


def importance(result: Any) -> RenderableType:
    """A row a setting, with a bar."""
    table = plain_table()
    table.show_header = False
    largest = max(result.importance.values())
    for name, share in result.importance.items():
        bar = "━" * round(BAR * share / largest)
        table.add_row(name, Text(f"{100 * share:.0f} %", justify="right"), Text(bar, "blue"))
    title = Text("Importance (share of the score's variation, fANOVA)", "bold")
    return Group(title, table)


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else setting(value)
