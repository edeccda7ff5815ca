"""The verbs: parse, call, print. Each imports what it needs when it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fitwell.cli.options import (
    RANGE,
    SAYING,
    SEARCHING,
    SETTING,
    TRAINING,
    TRIALS,
    WRITING,
    Given,
    UsageError,
    exactly,
)
from fitwell.search.space import space_of
from fitwell.settings import validate


def check(given: Given, words: list[str]) -> None:
    """What the data is and everything wrong with it."""
    (source,) = exactly(words, "SOURCE")
    from fitwell.api.checking import check as work
    from fitwell.cli import output_data

    if (given.out or given.asked) and not given.fix:
        raise UsageError(
            "check writes a file with --fix only: `fitwell check SOURCE --fix --out FILE`."
        )
    fixing: dict[str, Any] = {"fix": given.fix, "out": given.out, **given.asked}
    output_data.checked(work(source, settings=given.settings, **fixing), given)


def fit(given: Given, words: list[str]) -> None:
    """Train one model; write a run folder."""
    (source,) = exactly(words, "SOURCE")
    from fitwell.cli import output

    with output.progress(given) as progress:
        from fitwell.api.training import fit as work

        run = work(source, **_training(given), progress=progress)
    output.fitted(run, given)


def cv(given: Given, words: list[str]) -> None:
    """K-fold: mean, spread, predictions; curves over sizes or a setting."""
    (source,) = exactly(words, "SOURCE")
    from fitwell.cli import output

    with output.progress(given) as progress:
        from fitwell.api.training import cv as work

        asked: dict[str, Any] = {"sizes": given.sizes, "vary": given.vary, **given.asked}
        run = work(source, **asked, **_training(given), progress=progress)
    output.cross_validated(run, given)


def diagnose(given: Given, words: list[str]) -> None:
    """Findings with evidence; "nothing wrong" is an answer."""
    from fitwell.api.judging import diagnose as work
    from fitwell.cli import output

    output.diagnosed(work(*words, measure=given.measure), given)


def compare(given: Given, words: list[str]) -> None:
    """Two recipes or runs, paired; verdict on B against A."""
    first, second = exactly(words, "A B")
    from fitwell.cli import output

    with output.progress(given) as progress:
        from fitwell.api.comparing import compare as work

        verdict = work(first, second, settings=given.settings, **given.asked, progress=progress)
    output.compared(verdict, given)


def improve(given: Given, words: list[str]) -> None:
    """The main job: findings, remedies, trials, verdicts, a better model."""
    (source,) = exactly(words, "SOURCE")
    from fitwell.cli import output

    with output.progress(given) as progress:
        from fitwell.api.training import improve as work

        asked: dict[str, Any] = {**_training(given), **given.asked, "controls": given.controls}
        result = work(source, budget=given.budget, **asked, progress=progress)
    output.improved(result, given)


def lr_find(given: Given, words: list[str]) -> None:
    """A learning rate, by a range test of several seeds, with a verdict."""
    (source,) = exactly(words, "SOURCE")
    from fitwell.cli import output

    with output.progress(given) as progress:
        from fitwell.api.ranging import lr_find as work

        asked: dict[str, Any] = {**given.asked, "settings": given.settings, "out": given.out}
        found = work(source, **asked, progress=progress)
    output.lr_found(found, given)


def search(given: Given, words: list[str]) -> None:
    """Hyper-parameter search: the best settings, proved; a better model."""
    (source,) = exactly(words, "SOURCE")
    space_of(given.space, given.settings)  # before anything heavy is imported
    from fitwell.cli import output

    with output.progress(given) as progress:
        from fitwell.api.searching import search as work

        asked: dict[str, Any] = {**_training(given), **given.asked, "space": given.space}
        result = work(source, budget=given.budget, **asked, progress=progress)
    output.searched(result, given)


def evaluate(given: Given, words: list[str]) -> None:
    """Score a run's model on its test part, or on another source."""
    if len(words) not in (1, 2):
        exactly(words, "RUN SOURCE")
    from fitwell.api.using import evaluate as work
    from fitwell.cli import output_use

    source = words[1] if len(words) == 2 else None
    output_use.evaluated(work(words[0], source, settings=given.settings), given)


def predict(given: Given, words: list[str]) -> None:
    """What a run's model says of new inputs, or writes behind a prompt."""
    if given.prompt is not None or set(given.asked) - {"ahead"}:
        return _written(given, words)
    if len(words) < 2:
        raise UsageError(
            "predict takes a run folder and at least one file: fitwell predict RUN FILE. A model of "
            'language takes a prompt: fitwell predict RUN --prompt "...".'
        )
    from fitwell.api.using import predict as work
    from fitwell.cli import output, output_use

    with output.notes():
        rows = work(words[0], words[1:], out=given.out, **given.asked)
    output_use.predicted(rows, given)


def _written(given: Given, words: list[str]) -> None:
    """The text behind a prompt, as it is drawn."""
    (run,) = exactly(words, "RUN")
    if "ahead" in given.asked:
        raise UsageError("--ahead is for forecasts, and a text is asked for. Set --length instead.")
    from fitwell.api.using import generate
    from fitwell.cli import output, output_use

    prompt = given.prompt or ""
    asked: dict[str, Any] = {**given.asked, "seed": given.settings.get("train.seed", 0)}
    with output.notes(), output_use.writing(prompt, given) as stream:
        text = generate(run, prompt, **asked, stream=stream)
    if given.json:
        output.document([{"input": prompt, "prediction": text, "probability": None}])


def export(given: Given, words: list[str]) -> None:
    """Write a run's model as ONNX, checked, for use without fitwell."""
    (run,) = exactly(words, "RUN")
    if given.out is None:
        raise UsageError(
            "export writes a file: name it, as in `fitwell export RUN --out model.onnx`."
        )
    from fitwell.api.exporting import export as work
    from fitwell.cli import output, output_use

    with output.notes():
        result = work(run, given.out, **given.asked)
    output_use.exported(result, given)


def resume(given: Given, words: list[str]) -> None:
    """Go on after an interruption; a finished run prints its result."""
    (folder,) = exactly(words, "RUN")
    from fitwell.cli import output

    with output.progress(given) as progress:
        from fitwell.api.resuming import resume as work

        examples = None if given.examples else False  # as it was asked for, unless --no-examples
        asked: dict[str, Any] = {"examples": examples, **given.asked}
        result = work(folder, budget=given.budget, **asked, progress=progress)
    output.resumed(result, given)


def cache(given: Given, words: list[str]) -> None:
    """Size, place and cleaning of decoded data and downloads."""
    if words not in ([], ["clean"], ["clean", "all"]):
        raise UsageError(
            "cache takes nothing, clean or clean all: `fitwell cache clean` takes away what can be made "
            "again on this machine, `clean all` downloads too."
        )
    from fitwell.api.keeping import cache as work
    from fitwell.cli import output_names

    output_names.cached(work("all" if words[1:] else "made" if words else ""), given)


def list_(given: Given, words: list[str]) -> None:
    """The catalogue: sources, models, losses, settings, runs ..."""
    from fitwell.api.naming import KINDS, list_kind

    if len(words) != 1:
        raise UsageError(f"list takes one kind: {', '.join(KINDS)}.")
    from fitwell.cli import output_names

    output_names.listed(list_kind(words[0]), given)


def explain(given: Given, words: list[str]) -> None:
    """The textbook entry: formula, use, weakness, source; curve or shapes."""
    (name,) = exactly(words, "NAME")
    from fitwell.api.naming import explain as explain_name
    from fitwell.cli import output_names

    entry = explain_name(name, given.settings)
    output_names.explained(entry, given)
    if not (given.settings or given.json):  # settings say which one of several kinds is meant
        for other in entry.get("also", ()):
            print()
            output_names.explained({**explain_name(other), "name": other}, given)


def show(given: Given, words: list[str]) -> None:
    """Layers and parameters of a model; pictures of filters, augmentation."""
    (source,) = exactly(words, "SOURCE")
    from fitwell.api.looking import show as work
    from fitwell.cli import output, output_names

    with output.notes():
        asked: dict[str, Any] = {"filters": given.filters, "augment": given.augment}
        result = work(source, settings=given.settings, **asked)
    output_names.shown(result, given)


def _training(given: Given) -> dict[str, Any]:
    return {"settings": given.settings, "out": given.out, "examples": given.examples}


@dataclass(frozen=True)
class Verb:
    """One verb: what it does, its words for the help, the options it takes, and what its
    `key=value` words must be: settings of a recipe, or those of the thing it is asked about; whether
    `torchrun` may start several processes of it."""

    work: Callable[[Given, list[str]], None]
    words: str
    options: tuple[str, ...]
    check: Callable[[dict[str, Any]], dict[str, Any]] = validate
    several: bool = False

    @property
    def summary(self) -> str:
        return (self.work.__doc__ or "").strip()


VERBS: dict[str, Verb] = {
    "check": Verb(check, "SOURCE", ("target", "set", "fix", "format", "out", *SAYING)),
    "fit": Verb(fit, "SOURCE", TRAINING, several=True),
    "cv": Verb(cv, "SOURCE", ("sizes", "vary", *TRIALS, *TRAINING)),
    "diagnose": Verb(diagnose, "RUN...", ("measure", *SAYING)),
    "compare": Verb(compare, "A B", ("set", *TRIALS, *SAYING)),
    "improve": Verb(improve, "SOURCE|RUN", ("budget", "controls", *TRIALS, *TRAINING)),
    "lr-find": Verb(lr_find, "SOURCE", (*SETTING, *RANGE, "out", *SAYING)),
    "search": Verb(search, "SOURCE|RUN", ("space", "budget", *SEARCHING, *TRIALS, *TRAINING)),
    "evaluate": Verb(evaluate, "RUN [SOURCE]", ("set", *SAYING)),
    "predict": Verb(
        predict,
        "RUN INPUT... | RUN --prompt TEXT",
        ("ahead", "out", "prompt", *WRITING, "seed", *SAYING),
    ),
    "export": Verb(export, "RUN --out FILE", ("out", "nms", *SAYING)),
    "resume": Verb(
        resume, "RUN", ("budget", "storage", *TRIALS, "no-examples", *SAYING), several=True
    ),
    "cache": Verb(cache, "[clean [all]]", SAYING),
    "list": Verb(list_, "KIND", SAYING),
    "explain": Verb(explain, "NAME", ("set", *SAYING), dict),
    "show": Verb(show, "SOURCE|RUN|RECIPE", (*SETTING, "filters", "augment", *SAYING)),
}
