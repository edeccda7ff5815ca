"""Series in `.ts` files to `Data`: which files belong together, what their headers say. No torch.

`X_TRAIN.ts` beside `X_TEST.ts` are the source's own split.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.labelled import Labelled
from fitwell.data.names import PARTS
from fitwell.data.panel_arrays import padded
from fitwell.data.panels import series_data
from fitwell.data.ts import Panel, is_ts, load_ts, task_of, value_of
from fitwell.data.types import BadData, Data, Problem, refuse, some
from fitwell.spec import Spec

_PART = re.compile(r"(?P<name>.+)[_-](?P<part>train|test|val|validation)", re.I)


def ts_files(path: Path) -> list[tuple[Path, str]]:
    """The files to read, each with the part that its name says, "" for none.

    Of a folder these are all, which must be of one name; of a file it and those beside it that are its
    other parts.

    Raises:
        BadData: a folder holds series of several names.
    """
    below = path if path.is_dir() else path.resolve().parent
    named: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for each in sorted(filter(is_ts, below.iterdir())):
        name, part = _name_and_part(each)
        named[name].append((each, part))
    if path.is_file():
        name, part = _name_and_part(path)
        together = [(each, own) for each, own in named[name] if own]
        return together if part and len(together) > 1 else [(path, "")]
    if len(named) > 1:
        raise refuse(
            "several_sources",
            f"{path} holds series of {len(named)} names: {some(sorted(named))}.",
            "Name one of the files, or give each a folder of its own.",
            [str(each) for found in named.values() for each, _ in found],
        )
    (found,) = named.values()
    return found if len({part for _, part in found}) > 1 else [(each, "") for each, _ in found]


def _name_and_part(path: Path) -> tuple[str, str]:
    match = _PART.fullmatch(path.stem)
    return (
        (match["name"].lower(), PARTS[match["part"].lower()]) if match else (path.stem.lower(), "")
    )


def read_ts(
    path: Path, options: dict[str, Any], *, name: str = "", like: Spec | None = None
) -> Data:
    """`Data` of a `.ts` file or a folder of them.

    Args:
        like: the spec of a model that exists: of a file no other part is read then.

    Raises:
        BadData: no such file, time stamps in it, nothing to predict, or no series that can be read.
    """
    files = [(path, "")] if like is not None and path.is_file() else ts_files(path)
    panels = [load_ts(file) for file, _ in files]
    several = len(panels) > 1
    problems = [problem for panel in panels for problem in problems_of_panel(panel, several)]
    tasks = {task_of(panel) for panel in panels}
    if "" in tasks or len(tasks) > 1:
        raise refuse(
            "no_target",
            f"{some(panel.where for panel in panels)}: "
            + (
                "no class or number stands behind the series"
                if "" in tasks
                else "one has classes, one numbers"
            )
            + ", so there is nothing to predict.",
            "Say it in the header, @classLabel true A B or @targetLabel true, and give it last in each "
            "line.",
            [panel.where for panel in panels],
        )
    (task,) = tasks
    series = [each for panel in panels for each in panel.series]
    if not series:
        text = f"{some(panel.where for panel in panels)}: no line holds a series."
        first = Problem(
            "no_series", "error", (str(path),), text, "Give a series a line after @data."
        )
        raise BadData([first, *problems])
    refuse_channels(panels)
    labels = [label for panel in panels for label in panel.labels]
    parts = [part for panel, (_, part) in zip(panels, files, strict=True) for _ in panel.series]
    own = {"task": task} if options["task"] == "auto" else {}
    keys = [key for panel in panels for key in panel.keys(several)]
    labelled = Labelled(
        name or _name_and_part(files[0][0])[0],
        _values(labels, keys, task),
        keys,
        target="class" if task == "classification" else "target",
        part=np.array(parts, "<U10") if len(set(parts)) > 1 else None,
        problems=problems,
    )
    where = some(panel.where for panel in panels)
    return series_data(padded(series), labelled, {**options, **own}, where=where, like=like)


def _values(labels: list[str], keys: list[str], task: str) -> np.ndarray:
    """[example] classes as text, or numbers."""
    if task == "classification":
        return np.array(labels, dtype=object)
    numbers, bad = np.full(len(labels), np.nan), []
    for i, (label, key) in enumerate(zip(labels, keys, strict=True)):
        try:
            numbers[i] = value_of(label)
        except ValueError:
            bad.append(f"{label} in {key}")
    if bad:
        raise refuse(
            "target_not_numeric",
            f"{len(bad)} of {len(labels)} values to predict are no numbers ({some(bad)}).",
            "Correct them, or say @classLabel true and their names for classes.",
            bad,
        )
    return numbers


def refuse_channels(panels: list[Panel]) -> None:
    counts = {panel.where: len(panel.series[0]) for panel in panels if panel.series}
    if len(set(counts.values())) > 1:
        said = some(f"{where} has {count} channels" for where, count in counts.items())
        raise refuse("channels_differ", f"{said}.", "Give both the same channels.", counts)


def problems_of_panel(panel: Panel, several: bool) -> list[Problem]:
    """Lines that were left out, and what the header says otherwise."""
    found = []
    if panel.bad:
        said = some(f"line {line} ({why})" for line, why in panel.bad.items())
        text = f"{panel.where}: {len(panel.bad)} lines that cannot be read left out: {said}."
        where = tuple(panel.key(line, several) for line in panel.bad)
        found.append(Problem("unreadable_lines", "warning", where, text, "Correct or remove them."))
    if not panel.series:
        return found
    sizes = {each.shape[1] for each in panel.series}
    equal = panel.says("equalLength")
    stated = panel.header.get("serieslength", "")
    wrong = []
    if panel.says("univariate") and len(panel.series[0]) > 1:
        wrong.append("@univariate true")
    if equal and len(sizes) > 1:
        wrong.append("@equalLength true")
    # Of unequal ones the archive gives the longest of both files.
    if stated.isdigit() and (int(stated) < max(sizes) or (equal and int(stated) != max(sizes))):
        wrong.append(f"@seriesLength {stated}")
    if wrong:
        text = (
            f"{panel.where} says {some(wrong)}, and holds series of {len(panel.series[0])} channels and "
            f"{min(sizes):,} to {max(sizes):,} steps."
        )
        mend = "They are read as they are; see whether the file is whole."
        found.append(Problem("header_differs", "warning", (panel.where,), text, mend))
    found += _undeclared(panel)
    return found


def _undeclared(panel: Panel) -> list[Problem]:
    """Classes that the header does not name, or that no series has."""
    declared = set(panel.header.get("classlabel", "").split()[1:])
    if not declared or not panel.labels:
        return []
    found = []
    there = set(panel.labels)
    if odd := sorted(there - declared):
        text = (
            f"{panel.where}: the header does not name the classes {some(odd)}, which series have."
        )
        mend = "Correct their spelling, or add them to @classLabel."
        found.append(Problem("undeclared_class", "warning", tuple(odd), text, mend))
    if unused := sorted(declared - there):
        text = f"{panel.where}: no series is of the classes {some(unused)} that the header names."
        mend = "See whether the file is whole."
        found.append(Problem("empty_class", "warning", tuple(unused), text, mend))
    return found
