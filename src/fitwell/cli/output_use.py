"""What a model at work prints: scores, predictions, texts, files."""

import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fitwell.cli.options import Given
from fitwell.cli.output import amount, document, printed


def evaluated(result: Mapping[str, Any], given: Given) -> None:
    if given.json:
        document(result)
    else:
        from fitwell.report import terminal
        from fitwell.report.wording import looked

        printed(terminal.scores({"": {"score": result["scores"]}}))
        if "classes" in result:
            for part in terminal.boxes(result, "class or size"):
                printed(part)
        print(looked(result["test_looks"]))


def predicted(rows: list[dict[str, Any]], given: Given) -> None:
    if given.json:
        document(rows)
        return
    if any("step" in row for row in rows):
        _forecast(rows)
        return
    for row in rows:
        cells = [row["input"], *_said(row["prediction"], row["probability"])]
        print("\t".join(cells))


def exported(result: Mapping[str, Any], given: Given) -> None:
    """What the file reads and gives, a line each, and how far it was from the model."""
    if given.json:
        document(result)
        return
    print(f"{result['file']}: {result['model']}, {amount(result['bytes'])}")
    sides = {"reads": result["inputs"], "gives": result["outputs"]}
    for side, values in sides.items():
        for value in values:
            shape = ", ".join(str(size) for size in value["shape"])
            print(f"  {side}  {value['name']:<14} {value['type']:<8} [{shape}]")
    print(textwrap.fill(f"Before: {result['before']}", 80, subsequent_indent="  "))
    for note in result["notes"]:
        print(textwrap.fill(f"Note: {note}", 80, subsequent_indent="  "))
    checked = result["checked"]
    said = (
        f"Checked: run in onnxruntime on {checked['examples']} made-up inputs, in batches of two sizes, it "
        f"differs from the run's model by at most {checked['difference']:.1g}."
    )
    print(textwrap.fill(said, 80, subsequent_indent="  "))


@contextmanager
def writing(prompt: str, given: Given) -> Iterator[Callable[[str], None] | None]:
    """What prints a text as it is drawn, behind its prompt; nothing with --json."""
    if given.json:
        yield None
        return
    from fitwell.report.terminal import printable

    def say(piece: str) -> None:
        sys.stdout.write(printable(piece))
        sys.stdout.flush()

    begun = False

    def stream(piece: str) -> None:
        nonlocal begun
        say(piece if begun else prompt + piece)
        begun = True

    yield stream
    print()


def _forecast(rows: list[dict[str, Any]]) -> None:
    """CSV, a line a step and target."""
    import csv
    import sys

    table = csv.writer(sys.stdout, lineterminator="\n")
    several = isinstance(rows[0]["prediction"], dict)
    table.writerow(["series", "time", *["target"] * several, "forecast", "low", "high"])
    for row in rows:
        for name in row["prediction"] if several else [""]:
            said = [row[k][name] if several else row[k] for k in ("prediction", "low", "high")]
            numbers = ["" if value is None else f"{value:.6g}" for value in said]
            table.writerow([row["input"], row["time"], *[name] * several, *numbers])


def _said(value: Any, chance: Any) -> list[str]:
    """A prediction as the cells of a line: what, and how probable that is."""
    if isinstance(chance, list):  # of boxes
        found = Counter(box["class"] for box in value)
        return [", ".join(f"{n} {name}" for name, n in found.most_common()) or "no box"]
    if isinstance(value, list):  # of labels
        if not value:
            return ["no label"]
        return [", ".join(value), ", ".join(f"{chance[name]:.3f}" for name in value)]
    if isinstance(value, dict):  # of several targets
        return [f"{name} {number:.6g}" for name, number in value.items()]
    if chance is None:
        return [f"{value:.6g}"]
    return [value, f"{chance:.3f}"]
