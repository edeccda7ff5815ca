"""What `check` prints: the data, and what is wrong with it."""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fitwell.cli.options import Given
from fitwell.cli.output import document, printed
from fitwell.errors import DataError


def checked(result: Any, given: Given) -> None:
    errors = [p for p in result.problems if p.severity == "error"]
    failure = None
    if not result.usable:
        count = f"{len(errors)} things make" if len(errors) > 1 else "One thing makes"
        first = f" {errors[0].message} {errors[0].mend}" if errors else ""
        where = ", ".join(errors[0].where[:5]) if errors else ""
        failure = DataError(f"{count} the data unusable.{first}", where=where)
        failure.printed = True  # type: ignore[attr-defined]
    if given.json:
        document(result.to_json() | (failure.to_json() if failure else {}))
    else:
        from fitwell.report.terminal import printable, problems, ranges

        if result.data is not None:
            print(textwrap.fill(printable(described(result.spec)), 80))
            if counts := _class_counts(result.spec):
                print(textwrap.fill(printable(counts), 80))
        if result.split:
            print(_parted(result.split))
        if result.ranges:
            printed(ranges(result.ranges))
        printed(problems(result.problems))
        if result.fixed is not None:
            print(textwrap.fill(_fixed(result.fixed, result.problems), 80))
    if failure is not None:
        print(
            failure.message if given.json else failure.message.split(". ")[0] + ".", file=sys.stderr
        )
        raise failure


def _parted(split: Mapping[str, Any]) -> str:
    """How the examples are parted, and why so."""
    parts = ", ".join(f"{part} {split[part]:,}" for part in ("train", "validation", "test"))
    return textwrap.fill(f"Split: {parts}. {split['reason']}", 80)


def _fixed(fixed: Any, problems: Sequence[Any]) -> str:
    """Where the cleaned copy is, how much was left out of it, and what it does not mend."""
    from fitwell.data.cleaning import not_mended

    left_out = [
        f"{len(names)} for {why.replace('_', ' ')}" for why, names in fixed.left_out.items()
    ]
    still = [name.replace("_", " ") for name in not_mended(problems, fixed.left_out)]
    nothing = "nothing was left out" if still else "nothing had to be left out"
    said = f"left out: {', '.join(left_out)}" if left_out else nothing
    more = f" Not mended by it: {', '.join(still)}." if still else ""
    return f"Cleaned copy of {fixed.kept:,} examples: {fixed.path}; {said}.{more}"


def described(spec: Any) -> str:
    """One line: what the data is."""
    from fitwell.data.types import many

    what = spec.examples
    if spec.num_examples == 1 and spec.kind != "series":  # which is its own singular
        what = what.replace("s ", " ", 1)
    if spec.kind == "boxes":
        names = ", ".join(spec.classes[:10]) + (" ..." if len(spec.classes) > 10 else "")
        boxes = f"{many(sum(spec.class_counts), 'box', 'boxes')} of {_counted(spec.classes)}"
        return f"{many(spec.num_examples, 'image')} with {boxes}: {names}"
    if spec.task == "language":
        return f"{spec.num_examples:,} {what}, to predict the {spec.target}"
    if spec.task == "forecasting":
        channels, look_back = spec.input_shape
        steps = spec.num_examples + look_back + spec.horizon - 1
        every = f", every {spec.every}" if spec.every else ""
        what = (
            f"One series of {channels:,} column{'s' * (channels != 1)} and {steps:,} steps{every}"
        )
        what += f": {spec.num_examples:,} windows, from {look_back:,} steps the next {spec.horizon:,} are"
        targets = spec.targets or (spec.target,)
        of = f" of {', '.join(targets)}" if len(targets) < channels else ""
        return textwrap.fill(f"{what} forecast{of}", 80)
    if spec.classes:
        names = ", ".join(spec.classes[:10]) + (" ..." if len(spec.classes) > 10 else "")
        kinds = _counted(spec.classes, *(("label", "labels") if spec.task == "multilabel" else ()))
        return f"{spec.num_examples:,} {what}, {kinds}: {names}"
    if spec.targets:
        return f"{spec.num_examples:,} {what}, to predict the numbers {', '.join(spec.targets)}"
    return f"{spec.num_examples:,} {what}, to predict the number {spec.target}"


def _class_counts(spec: Any, most: int = 20) -> str:
    """How many examples each class has; of many classes the ones that have most and fewest."""
    what = "Boxes" if spec.kind == "boxes" else "Examples"
    pairs = [f"{name} {n:,}" for name, n in zip(spec.classes, spec.class_counts, strict=False)]
    if not pairs:
        return ""
    if len(pairs) <= most:
        return f"{what} of each class: {', '.join(pairs)}"
    order = sorted(range(len(pairs)), key=lambda i: -spec.class_counts[i])
    return f"{what} of a class: from {pairs[order[-1]]} to {pairs[order[0]]}"


def _counted(names: Sequence[str], one: str = "class", several: str = "classes") -> str:
    return f"{len(names)} {one if len(names) == 1 else several}"
