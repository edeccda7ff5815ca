"""Every setting by its dotted name: which exist, what they may hold, what they mean. No torch.

The facts stand in the signatures of models, losses, optimizers ...; `settings.json` is generated from
them (`python -m fitwell.catalog --write`) and committed, so that the command line can refuse a misspelt
setting without importing torch. Layers and activations have settings too, which are no part of a
recipe: they are written behind the name, as in `conv2d(6, kernel=5)`.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fitwell.errors import SettingError, did_you_mean

NAMED_SECTIONS = ("model", "loss", "optim", "schedule")
PLAIN_SECTIONS = ("augment", "data", "train", "score")
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
def _document() -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    text = files("fitwell").joinpath("settings.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def known() -> dict[str, dict[str, dict[str, Schema]]]:
    """section -> entry ("" where a section has no names) -> setting -> JSON schema."""
    return _document()["settings"]


def summaries() -> dict[str, dict[str, dict[str, Any]]]:
    """kind -> name -> textbook entry (summary, formula, use, weakness, source)."""
    return _document()["catalogue"]


def signatures() -> dict[str, dict[str, dict[str, Schema]]]:
    """kind (layers, activations) -> name -> setting -> JSON schema."""
    return _document()["signatures"]


def arguments(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a layer or activation: those given, checked, over its defaults.

    Raises:
        SettingError: no such setting, or a value that is wrong.

    >>> arguments("layers", "avgpool2d", {"kernel": "[2, 3]"})
    {'kernel': [2, 3], 'stride': 0, 'padding': 0, 'ceil_mode': False}
    """
    return with_defaults(name, signatures()[kind][name], given)


def with_defaults(
    owner: str, schemas: Mapping[str, Schema], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The values given, checked against the schemas, over the schemas' defaults.

    Raises:
        SettingError: a setting that is not among them, or a value that is wrong.
    """
    for key in given:
        if key not in schemas:
            raise _no_such(key, owner, schemas)
    values = {key: schema["default"] for key, schema in schemas.items()}
    return values | {key: check_value(key, v, schemas[key]) for key, v in given.items()}


def typed(name: str, value: Any) -> str:
    """A setting with its value, as a person types it; the name alone where there is no value.

    >>> typed("bias", True), typed("kernel", [2, 3]), typed("model.name", "")
    ('bias = true', 'kernel = [2, 3]', 'model.name')
    """
    if value in (None, ""):
        return name
    return f"{name} = {str(value).lower() if isinstance(value, bool) else value}"


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
    section, _, key = name.rpartition(".")  # a layer's settings have no section
    if name in _WHY_ELSEWHERE:
        why = f": {_WHY_ELSEWHERE[name]}"
    else:
        has = [entry for entry, settings in known().get(section, {}).items() if key in settings]
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
        about = {k: schema[k] for k in ("description", "default") if k in schema}
        errors = []
        # A text that is no list is not taken for a list of one: it would hide a misspelt name.
        text_of_list = isinstance(value, str) and (value.startswith("[") or "," in value)
        is_list = isinstance(value, list | tuple) or text_of_list
        options = [o for o in schema["anyOf"] if (o.get("type") == "array") == is_list]
        options = options or schema["anyOf"]
        for option in options:
            try:
                return check_value(name, value, {**about, **option})
            except SettingError as error:
                errors.append(error)
        if is_list:
            raise errors[-1]
        # A word that is none of the words there are, a number that is out of range.
        worded = isinstance(value, str) and not is_number(value)
        fitting = [e for o, e in zip(options, errors, strict=True) if ("enum" in o) == worded]
        raise (fitting or errors)[0]
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
            raise _must_be(name, value, rule.format(schema[key]), schema)
    return converted


_BOUNDS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("exclusiveMinimum", lambda v, b: v > b, "more than {:g}"),
    ("minimum", lambda v, b: v >= b, "at least {:g}"),
    ("exclusiveMaximum", lambda v, b: v < b, "less than {:g}"),
    ("maximum", lambda v, b: v <= b, "at most {:g}"),
    ("multipleOf", lambda v, b: v % b == 0, "a multiple of {:g}"),
    ("minItems", lambda v, b: len(v) >= b, "a list of at least {}"),
    ("maxItems", lambda v, b: len(v) <= b, "a list of at most {}"),
)


def is_number(text: str) -> bool:
    """Whether a text is one number.

    >>> is_number("1e-3"), is_number("relu")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def _must_be(name: str, value: Any, rule: str, schema: Schema) -> SettingError:
    """The value, the rule that it breaks, what the setting means and its default."""
    meaning, default = schema.get("description", "").rstrip("."), schema.get("default")
    said = [
        f"{name} = {value}: must be {rule}.",
        f"It means: {meaning}." if meaning else "",
        f"The default is {default}." if default is not None else "",
    ]
    return SettingError(" ".join(filter(None, said)), setting=name)


def _convert(name: str, value: Any, schema: Schema) -> Any:
    kind = schema.get("type", "string")
    wrong = _must_be(name, value, _TYPE_NAMES.get(kind, kind), schema)
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
            raise _must_be(name, value, "a finite number", schema)
        if kind == "integer":
            if number != int(number):
                raise wrong
            return int(number)
        return number
    if kind == "array":
        items = listed(value) if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise wrong
        about = {k: schema[k] for k in ("description", "default") if k in schema}
        return [check_value(name, item, {**about, **schema.get("items", {})}) for item in items]
    if not isinstance(value, str):
        raise wrong
    return value


def choices(schema: Schema) -> list[Any]:
    """The names that a setting may hold, whether it may hold something else too or not."""
    options = schema.get("anyOf", [schema])
    return [name for option in options for name in option.get("enum", ())]


def listed(text: str) -> list[str]:
    """The items of a list as a person types it: brackets and quotes around may be left out.

    >>> listed('[conv2d(6, kernel=[2, 3]), "relu"]')
    ['conv2d(6, kernel=[2, 3])', 'relu']
    """
    text = text.strip()
    text = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    items, depth, quote = [""], 0, ""
    for letter in text:
        if not quote:
            depth += (letter in "([{") - (letter in ")]}")
        if letter == quote:
            quote = ""
        elif letter in "'\"" and not quote and (depth or not items[-1].strip()):
            quote = letter  # within a word it is an apostrophe
        if letter == "," and depth == 0 and not quote:
            items.append("")
        else:
            items[-1] += letter
    return [_unquoted(item.strip()) for item in items if item.strip()]


def _unquoted(item: str) -> str:
    return item[1:-1] if len(item) > 1 and item[0] == item[-1] and item[0] in "'\"" else item


def defaults(section: str, entry: str = "") -> dict[str, Any]:
    """setting -> default of one entry, without the section's prefix."""
    return {k: s["default"] for k, s in known()[section][entry].items() if "default" in s}
