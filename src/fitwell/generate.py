"""A run's model of language at work: the text that follows a prompt."""

import warnings
from collections.abc import Iterator
from typing import Any

from fitwell.data.tokens import UNIT, Tokens, parts_of
from fitwell.data.types import brief, some
from fitwell.errors import FolderError, SettingError
from fitwell.record import Run
from fitwell.settings import check_value
from fitwell.spec import UNKNOWN
from fitwell.train import load_model

LENGTH = 500  # tokens, unless it is said

# What each option may be, as a setting's schema says it.
RULES: dict[str, dict[str, Any]] = {
    "length": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "description": "tokens to write",
        "default": LENGTH,
    },
    "temperature": {
        "type": "number",
        "minimum": 0,
        "maximum": 100,
        "description": "below 1 likely tokens become likelier; 0 takes the likeliest each time",
        "default": 1,
    },
    "top_k": {
        "type": "integer",
        "minimum": 0,
        "description": "draw from so many of the likeliest tokens; 0: from all",
        "default": 0,
    },
    "top_p": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "draw from the fewest likeliest tokens that have so much of the probability",
        "default": 1,
    },
    "seed": {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**31, "default": 0},
}


def generate(run: Run, prompt: str = "", **asked: Any) -> Iterator[str]:
    """The text that follows a prompt, piece by piece as it is drawn.

    Args:
        run: of a model of language.
        asked: `RULES`: length in tokens, temperature, top_k, top_p, seed.

    Raises:
        FolderError: the run has no weights, or its model writes nothing.
        SettingError: an option that is out of its range, or a prompt with characters that it never saw.
    """
    values = {"length": LENGTH, **{name: checked(name, value) for name, value in asked.items()}}
    if run.spec is None or not run.spec.tokens:
        raise FolderError(
            f"{run.folder or 'This run'} is no model of language, so it goes on with no prompt. Train one "
            "on a file of text: fitwell fit FILE.txt.",
            where=str(run.folder or ""),
        )
    model, prepared = load_model(run)
    assert prepared.tokens is not None
    ids = prompt_ids(prepared.tokens, prompt)
    return _pieces(model, prepared.tokens, ids, run.spec.input_shape[0], values)


def _pieces(
    model: Any, tokens: Tokens, ids: list[int], context: int, values: dict[str, Any]
) -> Iterator[str]:
    from fitwell.train.generating import pieces_of_text, tokens_of

    yield from pieces_of_text(
        tokens, tokens_of(model, ids, context=context, size=tokens.size, **values)
    )


def checked(name: str, value: Any) -> Any:
    """A value of one of the `RULES`, also from text.

    Raises:
        SettingError: it is none.

    >>> checked("top_k", "40")
    40
    """
    return check_value(f"--{name.replace('_', '-')}", value, RULES[name])


def prompt_ids(tokens: Tokens, prompt: str) -> list[int]:
    """The tokens of a prompt; words that are not known are read as the unknown one, which is said.

    Raises:
        SettingError: characters that are not known.
    """
    ids = tokens.ids(prompt).tolist()
    if UNKNOWN not in ids:
        return ids
    parts = parts_of(prompt, tokens.how)
    new = dict.fromkeys(part for part, i in zip(parts, ids, strict=True) if i == UNKNOWN)
    said = some(repr(brief(part)) for part in new)
    text = (
        f"--prompt: the training text never had the {UNIT[tokens.how]}{'s' * (len(new) > 1)} {said}"
    )
    if tokens.how == "character":
        raise SettingError(f"{text}. Write it without.", setting="prompt")
    warnings.warn(f"{text}; read as an unknown one.", stacklevel=3)
    return ids
