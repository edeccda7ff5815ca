"""What to run: a frozen set of settings under dotted names, and its TOML file. No torch.

A recipe holds values only; `fitwell.settings` knows which names exist and what they may hold,
`fitwell.resolve` fills in what the user left open.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import tomli_w

from fitwell.errors import SettingError

SECTIONS = ("model", "loss", "optim", "schedule", "augment", "data", "train", "score")

# A switch, number, text or list of these; which one, `fitwell.settings` knows by the name.
Value: TypeAlias = Any


class Recipe(Mapping[str, Value]):
    """Settings by dotted name, immutable, hashable by content.

    >>> recipe = Recipe({"source": "digits", "optim.lr": 0.1})
    >>> better = recipe.edit({"optim.lr": 0.03})
    >>> recipe.changes(better)
    {'optim.lr': (0.1, 0.03)}
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        values = dict(settings or {})
        for name, value in values.items():
            _refuse_nonfinite(name, value)
        order = {section: i for i, section in enumerate(("source", *SECTIONS))}
        names = sorted(values, key=lambda n: order.get(n.split(".")[0], len(order)))
        self._values: dict[str, Value] = {name: values[name] for name in names}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self.to_toml())

    def __repr__(self) -> str:
        return f"Recipe({self._values!r})"

    def edit(self, settings: Mapping[str, Any]) -> "Recipe":
        """A copy with `settings` changed or added."""
        return Recipe({**self._values, **settings})

    def section(self, name: str) -> dict[str, Value]:
        """The settings below `name.`, without the prefix."""
        prefix = name + "."
        return {k[len(prefix) :]: v for k, v in self._values.items() if k.startswith(prefix)}

    def changes(self, other: "Recipe") -> dict[str, tuple[Value | None, Value | None]]:
        """Each setting that differs, as (here, there)."""
        names = [*self, *(n for n in other if n not in self)]
        return {n: (self.get(n), other.get(n)) for n in names if self.get(n) != other.get(n)}

    def to_toml(self) -> str:
        """The recipe as TOML text: `source`, then a table a section, one key a line."""
        document: dict[str, Any] = {}
        for name, value in self._values.items():
            *sections, key = name.split(".")
            table = document
            for section in sections:
                table = table.setdefault(section, {})
            table[key] = value
        return tomli_w.dumps(document)

    @classmethod
    def from_toml(cls, text: str, *, where: str = "recipe.toml") -> "Recipe":
        """Read what `to_toml` wrote, or a person.

        Raises:
            SettingError: the text is not TOML, or a value is not a number, text, switch or list.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingError(f"{where} is not a TOML file: {error}.", where=where) from None
        return cls(dict(_flatten(document)))

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        return cls.from_toml(path.read_text(encoding="utf-8"), where=str(path))


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _refuse_nonfinite(name: str, value: object) -> None:
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(v, float) and not math.isfinite(v) for v in items):
        raise SettingError(
            f"{name} = {value}: a setting must be a finite number. Give a number, or leave it out "
            "for the default.",
            setting=name,
        )
