"""A run's model of language at work: the text that follows a prompt."""

import warnings
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from fitwell.data.tokens import UNIT, Tokens, parts_of
from fitwell.data.types import brief, some
from fitwell.errors import FolderError, SettingError
from fitwell.record import Run
from fitwell.spec import UNKNOWN
from fitwell.train import load_model

LENGTH = 500  # tokens, unless it is said

# What each option may be, as a setting's signature says it.
RULES: dict[str, Any] = {
    "length": Annotated[int, Field(ge=1, le=1_000_000)],
    "temperature": Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)],
    "top_k": Annotated[int, Field(ge=0)],
    "top_p": Annotated[float, Field(gt=0, le=1)],
    "seed": Annotated[int, Field(ge=0, lt=2**31)],
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
    try:
        return TypeAdapter(RULES[name]).validate_python(value)
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        option = name.replace("_", "-")
        raise SettingError(
            f"--{option} = {value}: {why[:1].lower()}{why[1:]}. `fitwell predict --help` says what it is.",
            setting=name,
        ) from None


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
