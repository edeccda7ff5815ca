"""What a detector finds: scores by class and size, curves, what it loses by, and the worst mistakes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fitwell.box_scores import SIZES
from fitwell.record import Predictions, Row
from fitwell.report.box_mistakes import worst
from fitwell.report.facts import Facts
from fitwell.report.figures import BLUE, GREEN, GREY, ORANGE, RED, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = 8  # classes whose curves are drawn, those with most boxes
_COLOURS = (BLUE, ORANGE, GREEN, RED, "#6d4fa3", "#0f8a8a", "#8a5a2b", GREY)


def section(
    facts: Facts, data: Any, predictions: Predictions | None, where: str, examples: bool
) -> dict[str, Any]:
    """What the page shows of a detector; empty for other models."""
    if facts.spec is None or facts.spec.task != "detection" or predictions is None:
        return {}
    row = row_of(facts)
    shown, lost = examples and data is not None, row.get("lost", {})
    return {
        "where": where,
        "total": len(predictions.target),
        "classes": row.get("classes", []),
        "sizes": by_size(row),
        "lost": sorted(lost.items(), key=lambda pair: -pair[1]),
        "curves": _curves(row) if row else "",
        "at_hand": data is not None,
        "mistakes": worst(predictions, data, facts.spec.classes, lost) if shown else [],
    }


def by_size(row: Mapping[str, Any]) -> list[Row]:
    """The scores of the sizes that occur, with the areas that each stands for.

    >>> [one["name"] for one in by_size({"sizes": [{"name": "medium", "boxes": 3}]})]
    ['medium, 32² to 96² pixels']
    """
    sizes = [one for one in row.get("sizes", []) if one["boxes"]]
    return [{**one, "name": f"{one['name']}, {_area(one['name'])}"} for one in sizes]


def _area(size: str) -> str:
    low, high = (round(end**0.5) for end in SIZES[size])
    if not low:
        return f"below {high}² pixels"
    return f"{low}² pixels and more" if high > 10_000 else f"{low}² to {high}² pixels"


def row_of(facts: Facts) -> Row:
    """The evidence row "boxes" of the predictions that are shown: of all folds together, or of the run."""
    rows = [row for row in facts.run.evidence if row.get("experiment") == "boxes"]
    folds = [run.evidence for run in facts.final_folds] if not rows else []
    rows += [row for each in folds for row in each if row.get("experiment") == "boxes"]
    return rows[-1] if rows else {}


def _curves(row: Row) -> str:
    """Precision over recall of each class, at an overlap of a half."""
    known = [one for one in row["classes"] if one["curve"]]
    drawn = sorted(known, key=lambda one: -one["boxes"])[:CURVES]
    if not drawn:
        return ""

    def paint(axes: "Axes") -> None:
        for one, colour in zip(drawn, _COLOURS, strict=False):
            recalls = np.linspace(0, 1, len(one["curve"]))
            axes.plot(recalls, one["curve"], color=colour, label=one["name"])
        axes.set_title("Precision over recall, boxes that overlap by a half")
        axes.set_xlabel("recall")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="lower left")

    return draw(paint, width=5.2, height=3.2)
