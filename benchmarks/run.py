"""`make bench`: every benchmark that is not finished goes on, then the page is written anew.

`python benchmarks/run.py NAME ...` runs some of them. Each saves a row as it is measured, so it can
be stopped at any time and goes on where it was.
"""

import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common

NAMES = ("startup", "step", "cv", "accuracy", "parity", "sick")
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
        machine, versions = result["machine"]["machine"], result["machine"]["versions"]
        lines += [
            "",
            f"## {result['benchmark']}",
            "",
            f"`{result['command']}`, {len(result['rows'])} rows; {machine['processor']}, "
            f"{machine['cores']} cores, torch {versions['torch']}.",
            "",
            "| case | figure | median | mean | std | least | most | n |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for case, figures in result["summary"].items():
            for name, value in figures.items():
                if isinstance(value, dict):
                    keys = ("median", "mean", "std", "min", "max")
                    cells = [*(f"{value[k]:.4g}" for k in keys), str(value["n"])]
                else:
                    cells = [f"{value}", "", "", "", "", ""]
                lines.append(f"| {case} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    for name in sys.argv[1:] or NAMES:
        print(f"== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
