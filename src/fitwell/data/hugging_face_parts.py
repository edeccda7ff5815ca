"""The parts and columns of a Hugging Face data set: which are read, and which is the target. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fitwell.data.apart import SETTINGS
from fitwell.data.frames import Table
from fitwell.data.names import PARTS, TARGET_NAMES
from fitwell.data.options import target_and_task
from fitwell.data.target_columns import refuse_as_target
from fitwell.data.types import Problem, many, refuse, some
from fitwell.spec import Spec

STREAMED = (
    "Load it without streaming=True, or take the first rows into memory: "
    "datasets.Dataset.from_list(list(stream.take(10_000)))."
)


@dataclass(frozen=True)
class Part:
    """A Dataset of a DatasetDict.

    Args:
        before: what stands before the names of its rows.
        own: "train", "validation" or "test"; "" is free.
    """

    before: str
    own: str
    rows: Any

    @property
    def keys(self) -> list[str]:
        first = getattr(self.rows, "first_row", 0)
        return [f"{self.before}row {first + i}" for i in range(len(self.rows))]


def parts_of(source: Any, *, every: bool = False) -> tuple[list[Part], list[Problem]]:
    """The Datasets that are read, and notes; `every`: also those that are no part to train on."""
    given = dict(source) if isinstance(source, dict) else {"": source}
    for name, rows in given.items():
        if not hasattr(rows, "__len__"):
            raise refuse(
                "streamed",
                "A streamed data set has no length, so it cannot be split, and shuffled only in pieces.",
                STREAMED,
                name or type(rows).__name__,
            )
    known = {n: PARTS[n.lower()] for n in given if n.lower() in PARTS}
    if len(given) > 1 and not known and not every:
        raise refuse(
            "no_such_part",
            f"None of the parts {some(given, 10)} is called train, validation or test.",
            'Give one of them, as in dataset["' + next(iter(given)) + '"], or rename them.',
            list(given),
        )
    read = list(known) if known and not every else list(given)
    problems = []
    if ignored := [name for name in given if name not in read]:
        text = f"{some(ignored)} beside the parts {some(read)} was not read."
        mend = "Give it by itself to read it."
        problems.append(Problem("part_ignored", "note", tuple(ignored), text, mend))
    parts = []
    for name in read:
        rows = given[name]
        if (getattr(rows, "format", None) or {}).get("type") == "custom":
            text = "The transform set on the data set is not applied: its rows are read as they are stored."
            mend = "Use augment.* for changes while training; write lasting ones with dataset.map."
            problems.append(Problem("transform_ignored", "note", (name or "data set",), text, mend))
        if len(rows):
            parts.append(
                Part(f"{name} " if name else "", known.get(name, ""), rows.with_format(None))
            )
    if not parts:
        raise refuse("empty", "The data set has no rows.", "Give at least one.", read or "data set")
    return parts, problems


def kind_of(feature: Any) -> str:
    """Image, ClassLabel, Value ...; "" where it is a dict or list of features."""
    return str(getattr(feature, "_type", ""))


def images_among(features: Mapping[str, Any]) -> list[str]:
    return [name for name, feature in features.items() if kind_of(feature) == "Image"]


def only_one(images: list[str]) -> str:
    if len(images) > 1:
        raise refuse(
            "several_images",
            f"{len(images)} columns hold images ({some(images, 10)}), and a model reads one.",
            f"Keep one: dataset.remove_columns({images[1:]!r}).",
            images,
        )
    return images[0]


def plain_columns(features: Mapping[str, Any], images: list[str]) -> tuple[list[str], list[str]]:
    """(columns of one number, text, date or class a row; the others but those of images)."""
    plain = [
        name
        for name, feature in features.items()
        if kind_of(feature) == "ClassLabel"
        or (kind_of(feature) == "Value" and "binary" not in str(feature.dtype))
    ]
    return plain, [name for name in features if name not in (*plain, *images)]


def _able(features: Mapping[str, Any], free: list[str], images: bool) -> list[str]:
    """Which of the columns can be meant as the target: those of such a name, else of such a type, else
    beside images any."""
    named = [name for name in free if name.lower() in TARGET_NAMES]
    labels = [name for name in free if kind_of(features[name]) == "ClassLabel"]
    return next((n for n in (named, labels, free if images else []) if n), [])


def target_of(
    features: Mapping[str, Any], options: dict[str, Any], like: Spec | None, images: bool
) -> tuple[str, list[Problem]]:
    """`data.target`, or the one column that can be meant; "": as any table's is guessed.

    Raises:
        BadData: none or several can be meant, or what is named is no column of numbers, text or classes.
    """
    plain, others = plain_columns(features, [])
    if given := target_and_task(options, like)[0]:
        if given in others:
            raise refuse(
                "target_not_plain",
                f"data.target = {given}: it is of type {kind_of(features[given]) or 'list'}, and a "
                "target is a class, a number or text.",
                f"It may be: {some(plain, 10)}. Several labels an example are text such as cat;dog.",
                given,
                setting="data.target",
            )
        return given, []
    apart = {name: options[name] for name in SETTINGS if options[name]}
    if len(alone := _able(features, plain, images)) == 1:
        refuse_as_target(alone, apart)
    free = [name for name in plain if name not in apart.values()]
    able = _able(features, free, images)
    named = [name for name in able if name.lower() in TARGET_NAMES]
    if len(able) == 1:
        if able == named or (able == free and images):
            return able[0], []
        text = f"{able[0]} is taken as the target because it is the only column of type ClassLabel."
        mend = "Name another with data.target."
        return able[0], [Problem("target_guessed", "note", (able[0],), text, mend)]
    if able:
        raise refuse(
            "target_ambiguous",
            f"{some(able, 10)} could each be the target.",
            f"Name it: data.target={able[0]}.",
            able,
            setting="data.target",
        )
    if images:
        raise refuse(
            "no_target",
            "The data set has images and no column that says what they show.",
            "Add a column of classes or numbers.",
            list(features),
        )
    return "", []


def not_read(columns: list[str]) -> Problem:
    text = f"{some(columns)}: no column of numbers, text, classes or dates; left out."
    mend = "Nothing to do; to learn from them, write their numbers into columns."
    return Problem("columns_ignored", "note", tuple(columns), text, mend)


def table_of(part: Part, names: list[str], source: Any) -> Table:
    """Columns of a part; classes by their names, missing where they are -1."""
    import polars as pl

    there = [name for name in names if name in part.rows.column_names]
    frame = part.rows.select_columns(there).to_polars()
    for name in there:
        if kind_of(part.rows.features[name]) == "ClassLabel":
            classes = list(part.rows.features[name].names)
            column = pl.col(name).replace_strict(
                list(range(len(classes))), classes, default=None, return_dtype=pl.String
            )
            frame = frame.with_columns(column)
    first = next(iter(source.values())) if isinstance(source, dict) else source
    info = getattr(first, "info", None)
    name = getattr(info, "dataset_name", None) or getattr(info, "builder_name", None) or "dataset"
    return Table(frame, part.keys, str(name), "the data set")


def with_targets(
    parts: list[Part], tables: list[Table], targets: list[str]
) -> tuple[list[Part], list[Table], list[Problem]]:
    """The parts with targets; published test parts often have none."""
    kept, bare = [], []
    for part, table in zip(parts, tables, strict=True):
        there = all(name in table.frame.columns for name in targets)
        known = there and any(table.frame[n].null_count() < table.frame.height for n in targets)
        (kept if known else bare).append((part, table))
    if not kept:
        text = f"{some(targets)} is missing in every row."
        raise refuse("missing_target", text, "Name another column with data.target.", targets)
    problems = []
    if bare:
        names = [part.before.strip() for part, _ in bare]
        rows = sum(len(part.rows) for part, _ in bare)
        text = f"{some(names)} says no {some(targets)}: {many(rows, 'row')} left out."
        mend = "Nothing to do; predict takes them."
        problems.append(Problem("part_without_target", "warning", tuple(names), text, mend))
    return [p for p, _ in kept], [t for _, t in kept], problems


def joined(tables: list[Table]) -> Table:
    """The parts one below the other.

    Raises:
        BadData: they have other columns.
    """
    import polars as pl

    first = tables[0]
    for table in tables[1:]:
        odd = sorted(set(first.frame.columns) ^ set(table.frame.columns))
        if odd:
            raise refuse(
                "columns_differ",
                f"{table.keys[0]} has other columns than {first.keys[0]}: {some(odd)} in one only.",
                "Give every part the same columns.",
                odd,
            )
    frame = pl.concat([t.frame.select(first.frame.columns) for t in tables], how="vertical_relaxed")
    return Table(frame, [key for t in tables for key in t.keys], first.name, first.where)


def class_names(features: Mapping[str, Any], targets: list[str]) -> list[str]:
    """The names of the target's classes, in their order; none for other targets."""
    feature = features[targets[0]]
    return list(feature.names) if len(targets) == 1 and kind_of(feature) == "ClassLabel" else []
