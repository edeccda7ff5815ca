"""Tables of which a column holds texts: which it is, and `Data` of it. No torch."""

from dataclasses import replace
from typing import Any

import numpy as np

from fitwell.data.apart import apart_of, groups_of, times_of
from fitwell.data.columns import as_numbers, aside, clean_text, looks_like_identifier
from fitwell.data.frames import Table, named_column
from fitwell.data.labelled import Labelled
from fitwell.data.listed import columns_ignored
from fitwell.data.options import target_and_task
from fitwell.data.target_columns import part_column, parts_of, target_columns, values_of
from fitwell.data.texts import text_data
from fitwell.data.types import Data, Problem, refuse, some
from fitwell.data.words import words_of
from fitwell.errors import SettingError
from fitwell.spec import Column, Spec

LOOKED_AT = 1000  # rows that say whether a column holds texts
DISTINCT = 0.5  # of them are different: texts, not categories
FEW_WORDS, MANY_WORDS = 2, 8  # median of a name or title, and of a text that says something


def text_column(
    table: Table, options: dict[str, Any], like: Spec | None, *, beside: bool = False
) -> str:
    """The column that is to be learnt from as text; "" where the table is to be learnt from as such.

    Args:
        beside: the targets stand beside the table, not in it.

    Raises:
        BadData: texts and other columns leave open which are meant, or there is no such column.
    """
    if options["text"]:
        named_column(table, options["text"], "text")
        if options["kind"] not in ("auto", "text"):
            raise SettingError(
                f"data.text = {options['text']}: data.kind = {options['kind']} reads no texts. Leave one "
                "of them out.",
                setting="data.text",
            )
        return options["text"]
    wanted = like.kind if like else options["kind"]
    if wanted not in ("auto", "text"):
        return ""
    frame = table.frame
    given, _ = target_and_task(options, like)
    apart = {options["group"], options["time"], *(part.strip() for part in given.split(","))}
    apart.add(part_column(frame))
    rest = [name for name in frame.columns if name not in apart]
    if like:
        return _known_column(table, rest, like)
    words = {name: _median_words(frame[name]) for name in rest}
    texts = [name for name in rest if words[name] >= MANY_WORDS]
    texts = texts or [name for name in rest if words[name] >= FEW_WORDS]
    if not texts and wanted == "auto":
        return ""
    others = [
        name
        for name in rest
        if name not in texts and not looks_like_identifier(frame[name], table.decimal_comma)
    ]
    # One of them is the target, unless that was named.
    lone = len(texts) == 1 and len(others) <= (0 if given or beside else 1)
    if lone or (wanted == "text" and len(texts) == 1):
        return texts[0]
    if wanted == "text":
        raise refuse(
            "no_text_column" if not texts else "text_ambiguous",
            f"{table.where}: data.kind = text, and "
            + (f"{some(texts)} each hold texts." if texts else "no column holds texts."),
            f"Name the column with data.text; it has: {some(frame.columns, 20)}.",
            texts or table.where,
            setting="data.text",
        )
    if not any(words[name] >= MANY_WORDS for name in texts):
        return ""
    instead = f", or data.kind=table to learn from {some(others)}" if others else ""
    raise refuse(
        "ambiguous_kind",
        f"{table.where} holds texts in {some(texts)}"
        + (
            f" beside other columns ({some(others)}), and fitwell learns from either."
            if others
            else ", and fitwell learns from one of them."
        ),
        f"Set data.text={texts[0]} to learn from these texts{instead}.",
        texts,
        setting="data.kind",
    )


def _known_column(table: Table, rest: list[str], like: Spec) -> str:
    """The column that a model of texts reads: the one it was trained on, or the only one of texts."""
    frame = table.frame
    trained = like.columns[0].name if like.columns else ""
    if trained in rest:
        return trained
    comma = table.decimal_comma
    strings = [name for name in rest if as_numbers(frame[name], comma)[0] is None]
    texts = [name for name in strings if _median_words(frame[name]) >= MANY_WORDS]
    for found in (texts, strings):
        if len(found) == 1:
            return found[0]
    called = f" of the column {trained}" if trained else ""
    raise refuse(
        "no_text_column" if not strings else "text_ambiguous",
        f"{table.where}: the model reads texts{called}, and "
        + (
            f"{some(texts or strings)} each could hold them." if strings else "no column holds any."
        ),
        f"Give a table with one column of texts; it has: {some(frame.columns, 20)}.",
        texts or strings or table.where,
    )


def cells_of(table: Table, column: str) -> list[str]:
    """[row] the texts of a column as they stand there; "" where one is missing."""
    missing = clean_text(table.frame[column]).is_null().to_list()
    cells = table.frame[column].to_list()
    return ["" if gone else str(cell) for cell, gone in zip(cells, missing, strict=True)]


def read_prose(
    table: Table,
    column: str,
    options: dict[str, Any],
    *,
    like: Spec | None = None,
    part: np.ndarray | None = None,
    beside: tuple[list[str], np.ndarray, list[Problem]] | None = None,
) -> Data:
    """`Data` of the texts of a column; rows without one are left out and listed.

    A column called split, part, set or subset whose values are train, val and test is the source's own
    split.

    Args:
        part: [row] the source's own split, where it says it otherwise.
        beside: names of the targets, their values and notes, where they stand beside the table.

    Raises:
        BadData: no such target or group, a missing target, or no text.
    """
    frame = table.frame
    apart = apart_of(table, options)
    given, task = target_and_task(options, like)
    if like and not options["target"] and any(n not in frame.columns for n in given.split(",")):
        given = ""  # the model was trained on files, whose targets have no column
    split = part_column(frame) if part is None else ""
    used = [column, *([split] if split and split not in (given, *apart.values()) else [])]
    rest = Table(frame.drop(used), table.keys, table.name, table.where, table.decimal_comma)
    if beside is not None:
        targets, values, problems = beside
        ignored = [name for name in rest.frame.columns if name not in apart.values()]
    else:
        targets, problems = target_columns(
            _could_be_target(rest, given), given, apart, inputs=False
        )
        values = values_of(rest, targets, task)
        ignored = [name for name in rest.frame.columns if name not in (*targets, *apart.values())]
    problems += columns_ignored(ignored, "texts", "set data.kind=table")
    if split in used:
        part = parts_of(frame[split], table.keys)
    labelled = Labelled(
        table.name,
        values,
        table.keys,
        target=",".join(targets),
        targets=targets if len(targets) > 1 else (),
        part=part,
        groups=groups_of(table, apart),
        times=times_of(table, apart, options["dates"]),
        problems=problems,
    )
    columns = (Column(column, "text"),)
    data = text_data(cells_of(table, column), labelled, options, columns=columns, like=like)
    kept = np.isin(table.keys, data.keys)
    hidden = {name: aside(frame[name], table.decimal_comma) for name in ignored}
    return replace(
        data, aside={n: values[kept] for n, values in hidden.items() if values is not None}
    )


def _could_be_target(table: Table, given: str) -> Table:
    """The table without columns that number its rows, where another one is left to be guessed."""
    frame = table.frame
    if given:
        return table
    kept = [n for n in frame.columns if not looks_like_identifier(frame[n], table.decimal_comma)]
    return replace(table, frame=frame.select(kept)) if kept else table


def _median_words(series: Any) -> float:
    """How many words a cell of the column has, of a column of different texts; 0 of any other."""
    import polars as pl

    if series.dtype != pl.String:
        return 0
    found = clean_text(series.head(LOOKED_AT)).drop_nulls()
    if not len(found) or found.n_unique() <= DISTINCT * len(found):
        return 0
    counts = [sum(word[0].isalpha() for word in words_of(text)) for text in found.to_list()]
    return float(np.median(counts))
