"""`make bench`: every benchmark that is not finished goes on, then the page is written anew.

`python -m benchmarks.run NAME ...` runs some of them. Each saves a row as it is measured, so it can
be stopped at any time and goes on where it was.
"""

import importlib
import json
import sys
from typing import Any

from benchmarks import common

NAMES = (
    "startup",
    "check",
    "step",
    "probes",
    "cv",
    "accuracy",
    "parity",
    "resnet",
    "augment",
    "store",
    "tables",
    "series",
    "reviews",
    "language",
    "forecast",
    "spoken",
    "finetune",
    "detection",
    "detection_step",
    "families",
    "healthy",
    "sick",
    "trust",
    "lr_find",
    "trials",
    "racing",
    "null",
    "remedies",
    "faults",
    "false_alarms",
)
PAGE = common.ROOT / "docs" / "benchmarks.md"


def page() -> str:
    """The results as one page: nothing in it but what the JSON files hold."""
    lines = [
        "# Measured",
        "",
        "Written by `make bench` from `benchmarks/results/*.json`; every figure is one of theirs.",
    ]
    for path in sorted(common.RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        facts = result["machine"]
        processors = " and ".join(sorted({row["processor"] for row in result["rows"]}))
        lines += [
            "",
            f"## {path.stem}",
            "",
            f"`{result['command']}`, {len(result['rows'])} rows; {processors}, "
            f"{facts['machine']['cores']} cores, torch {facts['versions']['torch']}.",
            "",
            "| case | figure | asked | median | mean | std | least | most | n |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        limits = result.get("limits", {})
        for case, figures in result["summary"].items():
            for name, value in figures.items():
                asked = limits.get(case, {}).get(name, "")
                if isinstance(value, dict):
                    keys = ("median", "mean", "std", "min", "max")
                    cells = [*(number(value[k]) for k in keys), str(value["n"])]
                else:
                    said = number(value) if isinstance(value, float) else f"{value}"
                    cells = [said, *[""] * 5]
                lines.append(f"| {case} | {name} | {asked} | " + " | ".join(cells) + " |")
        if "columns" in result:
            lines += ["", *table(result["columns"], result["rows"])]
    return "\n".join(lines) + "\n"


def table(columns: list[str], rows: list[dict[str, Any]]) -> list[str]:
    """The rows themselves, where each of them is a result."""
    lines = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for row in rows:
        cells = [row[c] if isinstance(row[c], str) else number(row[c]) for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def main() -> None:
    for name in sys.argv[1:] or NAMES:
        print(f"== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
