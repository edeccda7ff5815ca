"""Results on stdout: for a person, or as one JSON document. Progress goes to stderr."""

import json
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fitwell.cli.options import Given
from fitwell.errors import TrainingError


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


def printed(renderable: Any) -> None:
    from fitwell.report.terminal import console

    console().print(renderable)


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

        printed(terminal.run(run))
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

        printed(terminal.run(run))
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

        printed(findings(diagnosis))


def compared(verdict: Any, given: Given) -> None:
    if given.json:
        document({"verdict": verdict.to_json()})
    else:
        from fitwell.report import terminal

        printed(terminal.verdict(verdict))


def improved(result: Any, given: Given) -> None:
    result = getattr(result, "result", result)
    if given.json:
        document(result.to_json())
    else:
        from fitwell.report import terminal

        printed(terminal.improvement(result))


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

        printed(search_text.searched(result))


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


def amount(number: int) -> str:
    """
    >>> amount(999), amount(1_234_567), amount(20_000_000_000)
    ('999 bytes', '1.2 MB', '20.0 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
