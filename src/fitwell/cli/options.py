"""Options that verbs share, and how they become settings. No torch, no numpy.

argparse and not typer: typer alone costs 0.1 s, and imports pydantic (0.1 s more) for the first option
it converts; `fitwell --help` and a misspelt setting must end in 0.3 s on a busy machine.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from fitwell.errors import FitwellError, SettingError, did_you_mean
from fitwell.search.space import asked_for
from fitwell.settings import dotted, validate

# The familiar flags, and the setting that each is short for.
FLAGS = {
    "model": "model.name",
    "epochs": "train.epochs",
    "batch-size": "train.batch_size",
    "lr": "optim.lr",
    "seed": "train.seed",
    "device": "train.device",
    "target": "data.target",
}

# option -> (letter, metavar or "" for a switch, help). Values stay texts here: settings.json says what
# a value may be, in the same words wherever it came from.
OPTIONS: dict[str, tuple[str, str, str]] = {
    "model": ("", "NAME", "model.name: a model, or package.module:name"),
    "epochs": ("", "N", "train.epochs"),
    "batch-size": ("", "N", "train.batch_size"),
    "lr": ("", "X", "optim.lr"),
    "seed": ("", "N", "train.seed"),
    "device": ("", "NAME", "train.device"),
    "target": ("", "COLUMN", "data.target: the column to predict"),
    "set": ("", "KEY=VALUE", "a setting; also bare key=value"),
    "out": (
        "",
        "DIR",
        "the run folder itself (new or empty); of predict for pictures with boxes; or a FILE: of --fix, of "
        "lr-find's picture, of export",
    ),
    "budget": ("", "LIMIT", "such as 90s, 10m, 1h30m, 60trials, 2000epochs"),
    "controls": ("", "", "prove also what was not chosen to help: null, rate, random remedy"),
    "executor": ("", "NAME", "where trials run: local, or ray (a cluster)"),
    "address": ("", "HOST:PORT", "of the cluster; by default RAY_ADDRESS, else this machine"),
    "space": ("", "KEY=RANGE", "what to search over: KEY=LOW..HIGH[:log] or KEY=A,B,C; repeat it"),
    "trials": ("", "N", "at most so many trials"),
    "sampler": ("", "NAME", "tpe (default), random or grid"),
    "pruner": ("", "NAME", "wilcoxon (default), median or none: ends a trial after some folds"),
    "storage": ("", "URL", "postgresql://USER@HOST/DATABASE, shared by several machines"),
    "study": ("", "NAME", "the study in the storage: calls of one name share it"),
    "no-examples": ("", "", "no pictures or texts of the data in the report"),
    "fix": ("", "", "write a cleaned copy of the files' list, table or boxes (--out FILE)"),
    "format": ("", "NAME", "of a copy with boxes: coco (default), voc or yolo (--out DIR)"),
    "sizes": ("", "", "also train on growing parts: what would twice the data bring?"),
    "vary": ("", "KEY=A..B", "also cross-validate other values: KEY=A,B,C or KEY=A..B"),
    "filters": ("", "", "write pictures of a run's learned filters and feature maps"),
    "augment": ("", "", "write a sheet of examples as augmentation changes them"),
    "low": ("", "X", "the first rate of the test (1e-5)"),
    "high": ("", "X", "the last one (10); it goes on where the loss has not broken"),
    "steps": ("", "N", "from the first rate to the last (300)"),
    "ahead": ("", "N", "steps that are forecast (data.horizon)"),
    "seeds": ("", "N", "how many seeds are tested (3)"),
    "prompt": ("", "TEXT", "of a model of language: write what follows this text"),
    "length": ("", "N", "of the text, in tokens (500)"),
    "temperature": ("", "X", "below 1: likelier tokens; 0: always the likeliest (1)"),
    "top-k": ("", "N", "draw from the N likeliest tokens (0: all)"),
    "top-p": ("", "X", "draw from the likeliest tokens that make up X (1: all)"),
    "nms": ("", "WHERE", "non-maximum suppression of boxes: inside the file (default) or outside"),
    "measure": ("", "", "run the experiments that the findings lack, and keep what they say"),
    "json": ("", "", "one JSON document on stdout"),
    "quiet": ("q", "", "no progress"),
    "verbose": ("v", "", "progress as lines, whole tracebacks"),
}
SEVERAL = ("set", "space")  # options that may be repeated
Check = Callable[[dict[str, Any]], dict[str, Any]]
SAYING = ("json", "quiet", "verbose")
SEARCHING = ("trials", "sampler", "pruner", "storage", "study")
SETTING = (*FLAGS, "set")
TRIALS = ("executor", "address")
RANGE = ("low", "high", "steps", "seeds")
WRITING = ("length", "temperature", "top-k", "top-p")
ASKED = (
    *TRIALS,
    *RANGE,
    *SEARCHING,
    *WRITING,
    "ahead",
    "nms",
    "format",
)  # of some verbs, which take what was given
TRAINING = (*SETTING, "out", "no-examples", *SAYING)


@dataclass
class Given:
    """What the options of a verb said."""

    settings: dict[str, Any] = field(default_factory=dict)
    out: Path | None = None
    budget: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    examples: bool = True
    filters: bool = False
    augment: bool = False
    measure: bool = False
    fix: bool = False
    controls: bool = False
    sizes: bool = False
    vary: str = ""
    prompt: str | None = None
    space: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)  # of ASKED, what was given


class Parser(argparse.ArgumentParser):
    """One that raises a sentence instead of printing usage and ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"{message[:1].upper()}{message[1:]}. `{self.prog} --help` shows its options."
        )


def parser_of(verb: str, summary: str, words: str, options: Sequence[str]) -> Parser:
    """The parser of one verb.

    Args:
        words: what its words are, for the help: "SOURCE".
    """
    settings = " [KEY=VALUE ...]" if "set" in options else ""
    parser = Parser(
        prog=f"fitwell {verb}",
        usage=f"fitwell {verb} {words}{settings} [options]",
        description=summary,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    for name in options:
        letter, metavar, text = OPTIONS[name]
        flags = [f"-{letter}"] * bool(letter) + [f"--{name}"]
        if name in SEVERAL:
            parser.add_argument(*flags, metavar=metavar, help=text, action="append", default=[])
        elif metavar:
            empty = None if name == "prompt" else ""  # which may be asked for
            parser.add_argument(*flags, metavar=metavar, help=text, default=empty)
        else:
            parser.add_argument(*flags, help=text, action="store_true")
    return parser


def parse(
    parser: Parser, arguments: Sequence[str], options: Sequence[str], check: Check = validate
) -> tuple["Given", list[str]]:
    """(what the options say, the words that are no settings).

    Args:
        check: what the settings must be: those of a recipe, or any (`dict`).

    Raises:
        UsageError: an option that the verb does not have, or one without its value.
        SettingError: a setting that is wrong.
    """
    found, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        flags = [f"--{name}" for name in options]
        hint = did_you_mean(unknown[0].partition("=")[0], flags)
        raise UsageError(f"{parser.prog} has no option {unknown[0]}.{hint}")
    if "" in found.words:
        raise UsageError(
            f"{parser.prog} was given an empty word, where a name or a path is needed. "
            "Perhaps a variable of the shell is not set."
        )
    values = {name: getattr(found, name.replace("-", "_")) for name in options}
    takes_settings = "set" in options
    pairs = [*values.get("set", []), *(w for w in found.words if takes_settings and is_pair(w))]
    flags_given = {FLAGS[name]: values[name] for name in FLAGS if values.get(name)}
    given = Given(
        settings=settings_of(pairs, flags_given, check),
        out=Path(values["out"]) if values.get("out") else None,
        budget=values.get("budget") or None,
        json=bool(values["json"]),
        quiet=bool(values["quiet"]),
        verbose=bool(values["verbose"]),
        examples=not values.get("no-examples"),
        filters=bool(values.get("filters")),
        augment=bool(values.get("augment")),
        measure=bool(values.get("measure")),
        fix=bool(values.get("fix")),
        controls=bool(values.get("controls")),
        sizes=bool(values.get("sizes")),
        vary=values.get("vary") or "",
        prompt=values.get("prompt"),
        asked={name.replace("-", "_"): values[name] for name in ASKED if values.get(name)},
        space=asked_for(values.get("space") or []),
    )
    return given, [w for w in found.words if not (takes_settings and is_pair(w))]


def is_pair(word: str) -> bool:
    """Whether a bare word is `key=value`: a path that exists is not, whatever its name.

    >>> is_pair("optim.lr=0.1"), is_pair("digits")
    (True, False)
    """
    key, equals, _ = word.partition("=")
    plain = bool(equals) and all(part.isidentifier() for part in key.replace("-", "_").split("."))
    return plain and not Path(word).exists()


def settings_of(
    pairs: Sequence[str], flags: dict[str, str], check: Check = validate
) -> dict[str, Any]:
    """The settings of `key=value` words and flags, checked; a later word wins.

    Raises:
        SettingError: a word without "=", a name or value that is wrong, or one setting given both as
            a flag and as a word, with different values.
    """
    values: dict[str, Any] = dict(flags)
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SettingError(f"--set {pair}: write key=value, such as --set optim.lr=0.1.")
        name = dotted(key.strip()) if check is validate else key.strip()
        if name in flags and flags[name] != value:
            raise SettingError(
                f"{name} is given twice, as {flags[name]} and as {value}. Give it once.",
                setting=name,
            )
        values[name] = value
    return check(values)


def exactly(words: Sequence[str], names: str) -> list[str]:
    """The words, as many as `names` has.

    Raises:
        FitwellError: too few or too many.
    """
    wanted = names.split()
    if len(words) != len(wanted):
        said = " and ".join(wanted)
        more = f", and {' '.join(words)} was given" if words else ""
        raise UsageError(f"This verb takes {said}{more}. Settings are written key=value.")
    return list(words)


class UsageError(FitwellError):
    """The command line itself is wrong."""

    kind = "usage"
    exit_code = 2
