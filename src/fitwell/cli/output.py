"""Results on stdout: for a person, or as one JSON document. Progress goes to stderr."""

import json
import sys
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fitwell.cli.options import Given
from fitwell.errors import DataError, TrainingError
from fitwell.settings import typed


@contextmanager
def progress(given: Given) -> Iterator[Any]:
    """The progress display on stderr; warnings become one line each."""
    from fitwell.report.progress import display

    with notes(), display(quiet=given.quiet, lines=given.verbose) as show:
        yield show


@contextmanager
def notes() -> Iterator[None]:
    """Warnings on stderr, one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda text, *_, **__: print(f"Note: {text}", file=sys.stderr)
        yield


def document(value: Any) -> None:
    """One JSON document on stdout; what is not a finite number is null."""
    from fitwell.record import json_ready

    print(json.dumps(json_ready(value), indent=1, ensure_ascii=False))


def _print(renderable: Any) -> None:
    from fitwell.report.terminal import console

    console().print(renderable)


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
            _print(ranges(result.ranges))
        _print(problems(result.problems))
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
    what = spec.examples
    if spec.num_examples == 1 and spec.kind != "series":  # which is its own singular
        what = what.replace("s ", " ", 1)
    if spec.kind == "boxes":
        names = ", ".join(spec.classes[:10]) + (" ..." if len(spec.classes) > 10 else "")
        boxes = f"{sum(spec.class_counts):,} boxes of {_counted(spec.classes)}"
        return f"{spec.num_examples:,} images with {boxes}: {names}"
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


def fit_document(run: Any) -> dict[str, Any]:
    scores = {part: dict(run.scores.get(part, {})) for part in ("train", "validation", "test")}
    return {
        "run": run.folder.as_posix() if run.folder else None,
        "seconds": run.seconds,
        "scores": scores,
        "test_looks": run.test_looks,
        "status": run.status,
    }


def fitted(run: Any, given: Given) -> None:
    if given.json:
        failed = _failure(run).to_json() if run.status == "failed" else {}
        document(fit_document(run) | failed)
    else:
        from fitwell.report import terminal

        _print(terminal.run(run))
    _refuse_failed(run)


def cv_document(run: Any) -> dict[str, Any]:
    from fitwell.trials.crossval import summary

    folder = run.folder.as_posix() if run.folder else None
    document = {"run": folder, **summary(run.trials), "seconds": run.seconds}
    varied = [row for row in run.evidence if row["experiment"] == "vary"]
    twice = [row for row in run.evidence if row["experiment"] == "twice"]
    if varied:
        document["varied"] = [without(row, "experiment") for row in varied]
    if twice:
        document["twice"] = without(twice[0], "experiment")
    return document


def without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def cross_validated(run: Any, given: Given) -> None:
    if given.json:
        failed = _failure(run).to_json() if run.status == "failed" else {}
        document(cv_document(run) | failed)
    else:
        from fitwell.report import terminal

        _print(terminal.run(run))
    _refuse_failed(run)


def _failure(run: Any) -> TrainingError:
    place = f" What was recorded is in {run.folder}." if run.folder else ""
    return TrainingError(f"{run.failure}{place}", where=str(run.folder or ""))


def _refuse_failed(run: Any) -> None:
    if run.status == "failed":
        error = _failure(run)
        error.printed = True  # type: ignore[attr-defined]
        print(error.message, file=sys.stderr)
        raise error


def diagnosed(diagnosis: Any, given: Given) -> None:
    if given.json:
        document(diagnosis.to_json())
    else:
        from fitwell.report.terminal import findings

        _print(findings(diagnosis))


def compared(verdict: Any, given: Given) -> None:
    if given.json:
        document({"verdict": verdict.to_json()})
    else:
        from fitwell.report import terminal

        _print(terminal.verdict(verdict))


def improved(result: Any, given: Given) -> None:
    result = getattr(result, "result", result)
    if given.json:
        document(result.to_json())
    else:
        from fitwell.report import terminal

        _print(terminal.improvement(result))


def lr_found(found: Any, given: Given) -> None:
    if given.json:
        document(found.to_json())
        return
    if found.lr is not None:
        print(f"optim.lr={found.lr:.2g}, and what lies from {found.low:.2g} to {found.high:.2g}")
    print(textwrap.fill(found.sentence, 80))
    print(f"\n{'seed':>6}{'falls fastest':>16}{'breaks':>10}{'asks for':>11}")
    for seed in found.seeds:
        cells = (_rate(seed[name]) for name in ("steepest_lr", "divergence_lr", "lr"))
        print("{:>6}{:>16}{:>10}{:>11}".format(seed["seed"], *cells))
    if found.picture is not None:
        print(f"\nPicture: {found.picture}")


def _rate(value: float | None) -> str:
    return "never" if value is None else f"{value:.2g}"


def searched(result: Any, given: Given) -> None:
    result = getattr(result, "result", result)
    if given.json:
        document(result.to_json())
    else:
        from fitwell.report import search_text

        _print(search_text.searched(result))


def resumed(result: Any, given: Given) -> None:
    """Print as the verb that was resumed does."""
    if getattr(result, "kind", "") == "search":
        searched(result, given)
    elif hasattr(result, "verdicts"):
        improved(result, given)
    elif result.trials:
        cross_validated(result, given)
    else:
        fitted(result, given)


def evaluated(result: Mapping[str, Any], given: Given) -> None:
    if given.json:
        document(result)
    else:
        from fitwell.report import terminal
        from fitwell.report.wording import looked

        _print(terminal.scores({"": {"score": result["scores"]}}))
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
    print(f"{result['file']}: {result['model']}, {_bytes(result['bytes'])}")
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


def listed(rows: list[dict[str, Any]], given: Given) -> None:
    """Plain text, not rich: `list` is part of what must start at once."""
    if given.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not rows:
        print("None yet.")
        return
    import textwrap

    width = min(30, max(len(row["name"]) for row in rows))
    for row in rows:
        default = row.get("default")
        said = row["summary"] + (f" (default {default})" if default not in (None, "") else "")
        lines = textwrap.wrap(said, 77 - width) or [""]
        head = f"{row['name']:<{width}}  "
        print((head if len(row["name"]) <= width else f"{head}\n{'':<{width}}  ") + lines[0])
        for line in lines[1:]:
            print(f"{'':<{width}}  {line}")


def cached(result: Mapping[str, Any], given: Given) -> None:
    """A line a kind: entries come and go by themselves, and only --json names each."""
    if given.json:
        document(result)
        return
    if result["removed"]:
        print(f"Removed {_bytes(sum(row['bytes'] for row in result['removed']))}.")
    print(f"{result['folder']} holds {_bytes(result['bytes'])}.")
    for kind in dict.fromkeys(row["kind"] for row in result["entries"]):
        rows = [row for row in result["entries"] if row["kind"] == kind]
        size, used = _bytes(sum(row["bytes"] for row in rows)), rows[-1]["used"]
        print(
            f"  {kind:<10} {size:>10}  {len(rows):>5,}  last used {used[:16].replace('T', ' ')} UTC"
        )
    most = _bytes(result["limit"])
    print(f"What is decoded and unpacked stays below {most} (FITWELL_CACHE_LIMIT).")


def _bytes(number: int) -> str:
    """
    >>> _bytes(999), _bytes(1_234_567), _bytes(20_000_000_000)
    ('999 bytes', '1.2 MB', '20.0 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"


def explained(entry: Mapping[str, Any], given: Given) -> None:
    if given.json:
        print(json.dumps(entry, indent=1, ensure_ascii=False))
        return
    import textwrap

    print(textwrap.fill(f"{entry['name']}: {entry.get('summary', '')}", 80, subsequent_indent="  "))
    labels = ("formula", "use", "weakness", "symptom", "mechanism", "threshold", "source")
    for label in labels:
        if entry.get(label):
            text = f"{label.capitalize()}: {entry[label]}"
            print(textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="    "))
    if entry["settings"]:
        print("  Settings:")
        for name, schema in entry["settings"].items():
            value = entry.get("values", {}).get(name, schema.get("default"))
            text = f"{typed(name, value)}: {schema.get('description', '')}"
            print(textwrap.fill(text, 80, initial_indent="    ", subsequent_indent="      "))
    if entry.get("also"):
        print(f"  Also: {', '.join(entry['also'])}")
    from fitwell.textbook import sketch

    lines = sketch(entry)
    print("\n" * bool(lines), end="")
    for line in lines:
        print(f"  {line}".rstrip())


def _pictured(picture: Mapping[str, Any]) -> str:
    """What a sheet shows: `filters of conv1, conv2:`, `augmented by augment.hflip=0.5:`."""
    import textwrap

    if "settings" in picture:
        changes = (typed(name, value) for name, value in picture["settings"].items())
        words = f"augmented by {' '.join(change.replace(' ', '') for change in changes)}:"
    else:
        words = f"{picture['name'].replace('_', ' ')} of {', '.join(picture['layers'])}:"
    return textwrap.fill(words, 80)


def shown(result: Mapping[str, Any], given: Given) -> None:
    if given.json:
        document(result)
        return
    if "pictures" in result:
        for picture in result["pictures"]:
            print(_pictured(picture))
            print(f"  {picture['path']}")
        return
    from fitwell.report import structure

    shape = "x".join(str(n) for n in result["input_shape"])
    print(f"{result['model']} for inputs of {shape}:")
    print(
        f"{result['parameters']:,} parameters, {result['multiply_adds']:,} multiply-adds an example"
    )
    print()
    print(structure.parameters(result["table"]))
    print()
    print(structure.layers(result["layers"]))
    print(f"Signal and gradient: variance at the start, on {result['measured_on']}.")
    if "features" in result:
        _features(result)


def _features(result: Mapping[str, Any]) -> None:
    found, total = result["features"], result["table"][0]["shape"][1]
    print(f"\n{len(found)} of {total} features have a weight (of standardised columns):")
    for feature in found:
        weight = feature["weight"]
        said = weight if isinstance(weight, list) else [weight]
        print(f"{feature['name']:<24}" + " ".join(f"{w:>10.4g}" for w in said))
