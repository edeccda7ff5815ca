"""What is searched over: settings with ranges or choices, as a person writes them. No torch, no Optuna."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fitwell.errors import SettingError
from fitwell.settings import NAMED_SECTIONS, Schema, dotted, listed, schemas_for, validate

LEVELS = 5  # of a range on a grid
DIGITS = 4
EXAMPLE = "KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C, such as optim.lr=1e-4..1e-1:log"
# Settings of the data that change what a network is given, and not what it is judged by.
_OF_INPUTS = ("validation", "normalise", "scaling", "look_back")
_OF_THE_MACHINE = ("threads", "device", "max_seconds", "precision")

Custom = Mapping[str, Mapping[str, Schema]]


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched over: a range, or choices.

    Args:
        name: dotted.
        low, high: ends of the range, both included; None of choices.
        log: whether equal ratios count alike, not equal differences.
        whole: whole numbers alone.
        step: the values are `low` and multiples of it more; 0: any.
        choices: the values, where it is no range.
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    step: float = 0.0
    choices: tuple[Any, ...] = ()

    @property
    def text(self) -> str:
        """As a person writes it.

        >>> Dimension("optim.lr", 1e-4, 0.1, log=True).text, Dimension("a", choices=("x", True)).text
        ('0.0001..0.1:log', 'x,true')
        """
        if self.choices:
            return ",".join(_typed(choice) for choice in self.choices)
        return f"{self.low:.12g}..{self.high:.12g}{':log' if self.log else ''}"

    @property
    def labels(self) -> list[Any]:
        """The choices as Optuna keeps them: what is no single value as JSON text."""
        return [_label(choice) for choice in self.choices]

    def label(self, value: Any) -> Any:
        """What Optuna keeps of a value of the setting."""
        return _label(value) if self.choices else value

    def value(self, label: Any) -> Any:
        """The setting's value of what Optuna sampled: of a number its first digits, since no more matter.

        >>> Dimension("optim.lr", 1e-4, 0.1, log=True).value(0.0123456789)
        0.01235
        """
        if self.choices:
            return self.choices[self.labels.index(label)]
        if self.whole or self.step or self.low is None or self.high is None:
            return label
        return min(max(float(f"{label:.{DIGITS}g}"), self.low), self.high)

    def contains(self, value: Any) -> bool:
        """Whether a value of the setting lies in the space."""
        if self.choices:
            return _label(value) in self.labels
        if isinstance(value, list | str | bool) or value is None:
            return False
        assert self.low is not None and self.high is not None
        on_step = not self.step or math.isclose((value - self.low) / self.step % 1, 0, abs_tol=1e-9)
        return self.low <= value <= self.high and on_step

    def levels(self) -> list[Any]:
        """The values of a grid: all choices, of a range at most `LEVELS`, evenly apart.

        >>> [f"{v:g}" for v in Dimension("optim.lr", 1e-4, 1.0, log=True).levels()]
        ['0.0001', '0.001', '0.01', '0.1', '1']
        >>> Dimension("model.depth", 1, 4, whole=True).levels()
        [1, 2, 3, 4]
        """
        if self.choices:
            return self.labels
        assert self.low is not None and self.high is not None
        shares = [i / (LEVELS - 1) for i in range(LEVELS)]
        if self.log:
            values = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            values = [self.low + (self.high - self.low) * share for share in shares]
        if self.step:
            values = [self.low + round((v - self.low) / self.step) * self.step for v in values]
        values = [min(max(v, self.low), self.high) for v in values]  # rounding may pass the ends
        return list(dict.fromkeys(round(v) if self.whole else v for v in values))

    def distribution(self) -> Any:
        """The same for Optuna."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(self.labels)
        kind: Any = distributions.IntDistribution if self.whole else distributions.FloatDistribution
        step = {"step": self.step} if self.step else {}
        return kind(self.low, self.high, log=self.log, **step)

    def suggest(self, trial: Any) -> None:
        """Have one of its values sampled for a trial of Optuna."""
        step = {"step": self.step} if self.step else {}
        if self.choices:
            trial.suggest_categorical(self.name, self.labels)
        elif self.whole:
            trial.suggest_int(self.name, self.low, self.high, log=self.log, **step)
        else:
            trial.suggest_float(self.name, self.low, self.high, log=self.log, **step)


def space_of(
    asked: Mapping[str, Any], settings: Mapping[str, Any], custom: Custom | None = None
) -> list[Dimension]:
    """The dimensions of what was asked for, checked against what each setting may hold.

    Args:
        asked: setting -> `LOW..HIGH`, `LOW..HIGH:log`, `A,B,C`, or a list of choices.
        settings: the recipe as far as it is known: the names in it say which settings there are.
        custom: settings of a user's own model, by section.

    Raises:
        SettingError: no such setting, a range that is empty or runs backwards, or a value that the
            setting may not hold.
    """
    given = {dotted(name): value for name, value in asked.items()}
    return [_dimension(name, value, given, settings, custom or {}) for name, value in given.items()]


def asked_for(pairs: Sequence[str]) -> dict[str, str]:
    """setting -> range or choices of `KEY=...` words.

    Raises:
        SettingError: a word without "=", or a setting that is named twice.
    """
    asked: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        name = dotted(key.strip())
        if not (equals and name and text.strip()):
            raise _refused(pair, f"write {EXAMPLE}")
        if name in asked:
            raise _refused(pair, f"{name} is named twice; name it once", name)
        asked[name] = text.strip()
    return asked


def recipe_settings(space: Sequence[Dimension], params: Mapping[str, Any]) -> dict[str, Any]:
    """setting -> value of what Optuna sampled, without settings that the chosen entry does not have.

    With `optim.name=sgd,adam` and `optim.momentum=0..0.99`, a trial of Adam has no momentum.
    """
    values = {d.name: d.value(params[d.name]) for d in space}
    kept = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        entry = str(values.get(f"{section}.name", ""))
        if key == "name" or not entry or ":" in entry or key in schemas_for(section, entry):
            kept[name] = value
    return kept


def size(space: Sequence[Dimension]) -> float:
    """How many different points there are."""
    total = 1.0
    for one in space:
        if one.choices:
            total *= len(one.choices)
        elif one.whole or one.step:
            assert one.low is not None and one.high is not None
            total *= (one.high - one.low) // (one.step or 1) + 1
        else:
            return math.inf
    return total


def _dimension(
    name: str,
    asked: Any,
    given: Mapping[str, Any],
    settings: Mapping[str, Any],
    custom: Custom,
) -> Dimension:
    said = f"{name}={asked}"
    section, _, key = name.partition(".")
    _searchable(said, name)
    entries = [""]
    if section in NAMED_SECTIONS and key != "name":
        names = given.get(f"{section}.name")
        entries = (
            _items(names)
            if names is not None
            else [str(settings.get(f"{section}.name", "") or settings.get(section, ""))]
        )

    def checked(value: Any) -> Any:
        """The value as the setting's type: of any of the optimizers, models ... that have it."""
        refused: SettingError | None = None
        for entry in entries:
            owner = {f"{section}.name": entry} if entry else {}
            try:
                return validate({**owner, name: value}, custom if ":" in entry else None)[name]
            except SettingError as error:
                refused = refused or error
        assert refused is not None
        raise refused

    if isinstance(asked, str) and ".." in asked:
        return _range(said, name, asked, checked, partial(_schema, name, entries, custom))
    choices = [checked(item) for item in _items(asked)]
    if len({_label(choice) for choice in choices}) < max(2, len(choices)):
        more = "the same value stands in it twice" if len(choices) > 1 else "it is a single value"
        raise _refused(said, f"{more}. Name at least two different ones; write {EXAMPLE}", name)
    return Dimension(name, choices=tuple(choices))


def _range(
    said: str,
    name: str,
    asked: str,
    checked: Callable[[Any], Any],
    schema_of: Callable[[], Schema],  # once it is known that there is such a setting
) -> Dimension:
    ends, colon, scale = asked.partition(":")
    if colon and scale.strip() != "log":
        raise _refused(said, f":{scale.strip()} is no scale. Write :log, or nothing", name)
    low, high = (checked(end.strip()) for end in ends.split("..", 1))
    if any(isinstance(end, bool | str | list) for end in (low, high)):
        raise _refused(said, "this setting holds no numbers. Name its values: KEY=A,B,C", name)
    if low > high:
        turned = "..".join(end.strip() for end in reversed(ends.split("..", 1)))
        raise _refused(said, f"the range runs backwards. Write {name}={turned}{colon}{scale}", name)
    if low == high:
        raise _refused(said, f"the range holds one value. Set it: {name}={low}", name)
    if colon and low <= 0:
        raise _refused(
            said,
            "a logarithmic range starts above 0. Write a small number, or leave :log out",
            name,
        )
    schema = schema_of()
    if numbers := [v for v in schema.get("enum", ()) if not isinstance(v, str)]:
        return Dimension(name, choices=tuple(sorted(v for v in numbers if low <= v <= high)))
    step = 0.0 if colon else float(schema.get("multipleOf", 0))
    whole = isinstance(low, int) and isinstance(high, int)
    return Dimension(name, low, high, bool(colon), whole, int(step) if whole else step)


def _schema(name: str, entries: Sequence[str], custom: Custom) -> Schema:
    section, _, key = name.partition(".")
    for entry in entries:
        schemas = custom.get(section, {}) if ":" in entry else schemas_for(section, entry)
        if key in schemas:
            return schemas[key]
    return {}


def _searchable(said: str, name: str) -> None:
    """Refuse what changes the data or the judge: its scores could not be compared."""
    section, _, key = name.partition(".")
    if name == "source" or section == "score" or (section == "data" and key not in _OF_INPUTS):
        raise _refused(
            said, f"{name} changes what the trials are judged by. Set it: key=value", name
        )
    if name == "train.seed":
        raise _refused(said, "a seed is no setting to be chosen; the folds show the spread", name)
    if section == "train" and key in _OF_THE_MACHINE:
        raise _refused(said, f"{name} is of the machine, and no part of what is learned", name)


def _items(asked: Any) -> list[Any]:
    """The choices that are named: `a,b`, `[1, 2],[3, 4]`, or a list of them."""
    if isinstance(asked, str):
        return list(listed(f"[{asked}]"))
    return list(asked) if isinstance(asked, list | tuple) else [asked]


def _label(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(_label(value))


def _refused(said: str, rule: str, setting: str = "space") -> SettingError:
    return SettingError(f"space {said}: {rule}.", setting=setting)
