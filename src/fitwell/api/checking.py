"""The verb that looks at data before anything is trained. No torch: it is what people wait for first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitwell.api.start import given
from fitwell.data import Data, Problem
from fitwell.data.cleaning import Cleaned, clean, place_of
from fitwell.data.options import fill
from fitwell.data.ranges import Range, ranges
from fitwell.data.types import many
from fitwell.spec import Spec


@dataclass(frozen=True)
class Checked:
    """What a source is, and everything wrong with it.

    Args:
        data: None where it cannot be read.
        split: how a `fit` would part it: "reason", and examples in "train", "validation" and "test";
            empty where it cannot be parted.
        fixed: the cleaned copy that was asked for.
        ranges: what the values of the data are, by column or by what is measured.
    """

    data: Data | None
    problems: tuple[Problem, ...]
    fixed: Cleaned | None = None
    split: Mapping[str, Any] = field(default_factory=dict)
    ranges: tuple[Range, ...] = ()

    @property
    def spec(self) -> Spec | None:
        return self.data.spec if self.data is not None else None

    @property
    def usable(self) -> bool:
        """Whether nothing stands in the way of training."""
        return self.data is not None and all(p.severity != "error" for p in self.problems)

    def __repr__(self) -> str:
        """What a notebook shows: a line for the data, and a line a problem."""
        what = "unreadable data" if self.data is None else _named(self.data)
        lines = [f"{p.severity}: {p.message}" for p in self.problems]
        return "\n".join([f"{what}: {many(len(lines), 'problem')}", *lines])

    def to_json(self) -> dict[str, Any]:
        spec = self.spec
        document: dict[str, Any] = {
            "kind": spec.kind if spec else None,
            "spec": spec.to_json() if spec else None,
            "problems": [p.to_json() for p in self.problems],
            "split": dict(self.split),
            "ranges": [one.to_json() for one in self.ranges],
        }
        if self.fixed is not None:
            left_out = {why: list(names) for why, names in self.fixed.left_out.items()}
            path = self.fixed.path.as_posix()
            document["fixed"] = {"path": path, "kept": self.fixed.kept, "left_out": left_out}
        return document


def _named(data: Data) -> str:
    return f"{data.name}, {data.spec.kind}, {many(len(data), 'example')}"


def check(
    source: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    fix: bool = False,
    out: str | Path | None = None,
    format: str = "",
) -> Checked:
    """What the data is and everything wrong with it, each bad file or row with its mend.

    Args:
        fix: also write a copy of the list of files, of the table, or of the boxes, without what should not
            be trained on; the source itself is never written to.
        out: the file of the copy; by default `<source>-clean.csv` (`.json` of boxes) in the current folder.
        format: of a copy with boxes: "coco" (a file), "voc" or "yolo" (a folder with the pictures).

    Raises:
        SettingError: a setting is wrong; never for bad data, but where `fix` can keep none of it.
    """
    from fitwell.data import check as check_data

    values = given("", settings)
    seed = values.get("train.seed", 0)
    options = {k[5:]: v for k, v in values.items() if k.startswith("data.")} | {"seed": seed}
    place = place_of(source, fill(options), Path(out) if out else None, format) if fix else None
    data, problems = check_data(source, options)
    fixed = clean(source, place, data, problems, fill(options), format) if place else None
    split, more = _parted(data, options, seed)
    found = tuple(ranges(data)) if data is not None else ()
    return Checked(data, (*more, *problems), fixed, split, found)


def _parted(
    data: Data | None, options: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], list[Problem]]:
    """(how a `fit` would part the data, why it cannot)."""
    from fitwell.data import split
    from fitwell.data.parting import NoSplit

    if data is None:
        return {}, []
    try:
        rows = split.fit_rows(data, options, seed)
    except NoSplit as error:
        where = (error.setting,)
        return {}, [Problem("cannot_be_parted", "error", where, error.what, error.mend)]
    parted = {
        "reason": split.reason(data, options),
        "train": len(rows.train),
        "validation": len(rows.validation),
        "test": len(rows.held_out),
    }
    return parted, []
