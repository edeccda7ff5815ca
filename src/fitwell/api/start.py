"""What a verb was given (source, run, recipe, settings) -> data and complete recipe."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitwell import record, store
from fitwell.data import Data, read
from fitwell.data.options import READING
from fitwell.errors import FolderError, SettingError
from fitwell.options import as_read
from fitwell.policies import without_old
from fitwell.recipe import Recipe
from fitwell.settings import validate

Model = str | Any


@dataclass(frozen=True)
class Start:
    """Where a verb starts from.

    Args:
        settings: what was given, nothing filled in.
        recipe: complete.
    """

    data: Data
    settings: dict[str, Any]
    recipe: Recipe

    @property
    def seed(self) -> int:
        return int(self.recipe["train.seed"])  # type: ignore[arg-type]

    @property
    def options(self) -> dict[str, Any]:
        return self.recipe.section("data")


def given(model: Model = "", settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings, validated, with the model's name among them. No torch.

    Raises:
        SettingError: a name or value that is wrong.
    """
    values = dict(settings or {})
    if model:
        values["model.name"] = model if isinstance(model, str) else _import_path(model)
    checked = validate(values)
    for path in _own_code(checked):
        store.trust_model(path)  # what a run from elsewhere names is not
    return checked


def _own_code(settings: Mapping[str, Any]) -> list[str]:
    """Import paths among the settings: of a model, or of layers."""
    name = settings.get("model.name", "")
    layers = " ".join(map(str, settings.get("model.layers", ())))
    return [*([name] if ":" in name else []), *re.findall(r"[\w.]+:\w+", layers)]


def begin(source: Any, model: Model = "", settings: Mapping[str, Any] | None = None) -> Start:
    """Read the source and complete the recipe; nothing is written.

    Args:
        source: a source; a Run or run folder, whose recipe is taken over; a Recipe or its file.

    Raises:
        SettingError: a setting is wrong, or does not suit the data.
        DataError: the source cannot be used.
    """
    from fitwell.resolve import complete  # imports torch, which `check` does without

    data, values = opened(source, model, settings)
    return Start(data, values, complete(values, data.spec))


def opened(
    source: Any, model: Model = "", settings: Mapping[str, Any] | None = None
) -> tuple[Data, dict[str, Any]]:
    """The data, and the settings that are given or of the recipe, nothing filled in; as `begin`."""
    values = given(model, settings)
    data = getattr(source, "data", None) if isinstance(source, record.Run) else None
    recipe = recipe_of(source)
    if recipe is not None:
        values = over(recipe, values)
        source = values.get("source", "")
        if not source and data is None:
            raise FolderError(
                "The recipe names no source (its data was in memory): give the data itself, and the "
                "recipe's settings as `settings=dict(recipe)`."
            )
    named = isinstance(source, str | Path)
    if recipe is None and values.get("source", "") not in ("", str(source) if named else ""):
        raise SettingError(
            f"source = {values['source']}: the data is {source if named else 'given'} already. Name "
            "it once.",
            setting="source",
        )
    values["source"] = str(source) if named else ""
    options = {k[5:]: v for k, v in values.items() if k.startswith("data.")}
    changed = _read_otherwise(options, recipe)
    if data is not None and changed and not source:
        raise SettingError(
            f"data.{changed[0]}: the data is in memory, and was read without it. Give the data itself "
            "once more, with this setting.",
            setting=f"data.{changed[0]}",
        )
    if data is None or changed:
        data = read(
            str(source) if named else source, {**options, "seed": values.get("train.seed", 0)}
        )
    return data, values


def _read_otherwise(options: Mapping[str, Any], recipe: Recipe | None) -> list[str]:
    """The options that change what is read (and not only how it is split), and differ."""
    before = recipe.section("data") if recipe is not None else {}
    return [k for k in READING if k in options and options[k] != before.get(k)]


def recipe_of(source: Any) -> Recipe | None:
    """The recipe of a Run, run folder, recipe or recipe file; None for anything else.

    Raises:
        FolderError: a run without a recipe.
    """
    if isinstance(source, Recipe):
        return source
    if isinstance(source, record.Run):
        return recipe_of_run(source)
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if (path / "format").is_file():
            return recipe_of_run(store.open_run(path, trials=False))
        if path.suffix == ".toml" and path.is_file():
            recipe = Recipe(validate(dict(Recipe.load(path))))
            known = (path.parent / "format").is_file()
            spec = store.open_run(path.parent, trials=False).spec if known else None
            return Recipe(as_read(recipe, spec))
    return None


def recipe_of_run(run: record.Run) -> Recipe:
    """The recipe of a run, with what its data was read as where that may be told otherwise by now."""
    if run.recipe is None:
        raise FolderError("This run has no recipe.", where=str(run.folder or ""))
    return Recipe(as_read(run.recipe, run.spec))


def over(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's settings with `values` over them.

    Where a name changes (another model, optimizer, policy of augmentation), the settings of the old
    one are left behind.
    """
    kept = without_old(recipe, values)
    for section in ("model", "loss", "optim", "schedule"):
        name = f"{section}.name"
        if name in values and values[name] != recipe.get(name):
            kept = {k: v for k, v in kept.items() if not k.startswith(f"{section}.")}
    return {**kept, **values}


def _import_path(model: Any) -> str:
    if not callable(model) or not hasattr(model, "__qualname__"):
        raise SettingError(
            "model.name: give a name, an import path package.module:name, or a class or function "
            f"that builds the model, not {type(model).__name__}.",
            setting="model.name",
        )
    return f"{model.__module__}:{model.__qualname__}"


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
