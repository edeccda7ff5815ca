"""Every setting by its dotted name: which exist, what they may hold, what they mean. No torch.

The facts stand in the signatures of models, losses, optimizers ...; `settings.json` is generated from
them (`python -m fitwell.catalog --write`) and committed, so that the command line can refuse a misspelt
setting without importing torch.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fitwell.errors import SettingError, did_you_mean

NAMED_SECTIONS = ("model", "loss", "optim", "schedule")
PLAIN_SECTIONS = ("data", "train", "score")
ALIASES = {
    "model": "model.name",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "lr": "optim.lr",
    "seed": "train.seed",
    "device": "train.device",
}

# Why a setting is in one place only, where that is worth a sentence.
_WHY_ELSEWHERE = {
    "optim.l1": (
        "it cannot give weights of exactly 0, which need a proximal step, and sgd alone takes one. "
        "Set optim.name=sgd."
    ),
}

_TYPE_NAMES = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a name",
    "boolean": "true or false",
    "array": "a list",
}

Schema = dict[str, Any]


@cache
def known() -> dict[str, dict[str, dict[str, Schema]]]:
    """section -> entry ("" where a section has no names) -> setting -> JSON schema."""
    text = files("fitwell").joinpath("settings.json").read_text(encoding="utf-8")
    return json.loads(text)["settings"]  # type: ignore[no-any-return]


@cache
def summaries() -> dict[str, dict[str, dict[str, Any]]]:
    """kind -> name -> textbook entry (summary, formula, use, weakness, source)."""
    text = files("fitwell").joinpath("settings.json").read_text(encoding="utf-8")
    return json.loads(text)["catalogue"]  # type: ignore[no-any-return]


def dotted(name: str) -> str:
    """The full dotted name of a setting: `lr` and `--batch-size` are short for one.

    >>> dotted("batch-size")
    'train.batch_size'
    """
    plain = name.replace("-", "_")
    return ALIASES.get(plain, plain)


def schemas_for(section: str, entry: str) -> dict[str, Schema]:
    """The settings of one entry, or of every entry of the section where `entry` is open."""
    entries = known()[section]
    if entry in entries:
        return entries[entry]
    merged: dict[str, Schema] = {}
    for schemas in entries.values():
        for name, schema in schemas.items():
            merged[name] = schema if name not in merged else {"anyOf": [merged[name], schema]}
    return merged


def validate(
    settings: Mapping[str, Any], custom: Mapping[str, Mapping[str, Schema]] | None = None
) -> dict[str, Any]:
    """The settings with aliases resolved and texts turned into values.

    Args:
        settings: dotted (or alias) name -> value, texts allowed for any type.
        custom: settings of a user's own model, by section.

    Raises:
        SettingError: an unknown name, a wrong type, or a value out of range.
    """
    given = {dotted(name): value for name, value in settings.items()}
    return {name: _checked(name, value, given, custom or {}) for name, value in given.items()}


def _checked(
    name: str,
    value: Any,
    given: Mapping[str, Any],
    custom: Mapping[str, Mapping[str, Schema]],
) -> Any:
    if name == "source":
        return str(value)
    section, _, key = name.partition(".")
    sections = (*NAMED_SECTIONS, *PLAIN_SECTIONS)
    if section not in sections or not key:
        raise SettingError(
            f"{name}: there is no such setting.{did_you_mean(name, all_names())} "
            "`fitwell list settings` shows them all.",
            setting=name,
        )
    if key == "name" and section in NAMED_SECTIONS:
        return _entry_name(section, str(value))
    entry = str(given.get(f"{section}.name", "")) if section in NAMED_SECTIONS else ""
    schemas = custom.get(section) or schemas_for(section, entry)
    if ":" in entry and section not in custom:
        return value  # a user's own builder: checked once its signature is known (resolve)
    if key not in schemas:
        raise _no_such(name, entry or section, schemas)
    return check_value(name, value, schemas[key])


def _no_such(name: str, owner: str, schemas: Mapping[str, Schema]) -> SettingError:
    section, _, key = name.partition(".")
    if name in _WHY_ELSEWHERE:
        why = f": {_WHY_ELSEWHERE[name]}"
    else:
        has = [entry for entry, settings in known()[section].items() if key in settings]
        other = f" {', '.join(has)} {'has' if len(has) == 1 else 'have'} it." if has else ""
        why = f".{other or did_you_mean(key, schemas)}"
    return SettingError(
        f"{name}: {owner} has no such setting{why} It has: {', '.join(schemas) or 'none'}.",
        setting=name,
    )


def _entry_name(section: str, value: str) -> str:
    names = known()[section]
    if section == "model" and ":" in value:
        return value
    if value not in names:
        raise SettingError(
            f"{section}.name = {value}: there is no such {section}."
            f"{did_you_mean(value, names)} Choose one of: {', '.join(names)}.",
            setting=f"{section}.name",
        )
    return value


def all_names() -> list[str]:
    """Every dotted name, sorted."""
    names = {f"{s}.{k}" for s, entries in known().items() for e in entries.values() for k in e}
    return sorted({*names, "source", *(f"{s}.name" for s in NAMED_SECTIONS)})


def check_value(name: str, value: Any, schema: Schema) -> Any:
    """`value` as the schema's type, checked against its range.

    >>> check_value("optim.lr", "0.1", {"type": "number", "exclusiveMinimum": 0})
    0.1
    """
    if "anyOf" in schema:
        errors = []
        # A text that is no list is not taken for a list of one: it would hide a misspelt name.
        text_of_list = isinstance(value, str) and (value.startswith("[") or "," in value)
        is_list = isinstance(value, list | tuple) or text_of_list
        options = [o for o in schema["anyOf"] if (o.get("type") == "array") == is_list]
        for option in options or schema["anyOf"]:
            try:
                return check_value(name, value, option)
            except SettingError as error:
                errors.append(error)
        raise errors[0]
    converted = _convert(name, value, schema)
    if "enum" in schema and converted not in schema["enum"]:
        options = [str(o) for o in schema["enum"]]
        raise SettingError(
            f"{name} = {value}: not one of its values.{did_you_mean(str(value), options)} "
            f"Choose one of: {', '.join(filter(None, options))}.",
            setting=name,
        )
    for key, holds, rule in _BOUNDS:
        if key in schema and not holds(converted, schema[key]):
            raise SettingError(
                f"{name} = {value}: must be {rule} {schema[key]:g}. {_range(schema)}",
                setting=name,
            )
    return converted


_BOUNDS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("exclusiveMinimum", lambda v, b: v > b, "more than"),
    ("minimum", lambda v, b: v >= b, "at least"),
    ("exclusiveMaximum", lambda v, b: v < b, "less than"),
    ("maximum", lambda v, b: v <= b, "at most"),
)


def _range(schema: Schema) -> str:
    default = f"The default is {schema['default']}." if schema.get("default") is not None else ""
    return f"{schema.get('description', '').rstrip('.')}. {default}".strip(". ") + "."


def _convert(name: str, value: Any, schema: Schema) -> Any:
    kind = schema.get("type", "string")
    wrong = SettingError(
        f"{name} = {value}: must be {_TYPE_NAMES.get(kind, kind)}. {_range(schema)}", setting=name
    )
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise wrong
        return words[str(value).lower()]
    if kind in ("number", "integer"):
        if isinstance(value, bool):
            raise wrong
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise wrong from None
        if not math.isfinite(number):
            raise SettingError(
                f"{name} = {value}: must be a finite number. {_range(schema)}", setting=name
            )
        if kind == "integer":
            if number != int(number):
                raise wrong
            return int(number)
        return number
    if kind == "array":
        items = value
        if isinstance(value, str):
            items = [part.strip() for part in value.strip("[] ").split(",") if part.strip()]
        if not isinstance(items, list | tuple):
            raise wrong
        return [check_value(name, item, schema.get("items", {})) for item in items]
    if not isinstance(value, str):
        raise wrong
    return value


def choices(schema: Schema) -> list[Any]:
    """The names that a setting may hold, whether it may hold something else too or not."""
    options = schema.get("anyOf", [schema])
    return [name for option in options for name in option.get("enum", ())]


def defaults(section: str, entry: str = "") -> dict[str, Any]:
    """setting -> default of one entry, without the section's prefix."""
    return {k: s["default"] for k, s in known()[section][entry].items() if "default" in s}
