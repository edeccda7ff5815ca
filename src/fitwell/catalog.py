"""The tables gathered: what exists, with settings and textbook entries.

`python -m fitwell.catalog --write` writes `settings.json` from the signatures and docstrings; a test
asserts that the committed file equals them.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fitwell.augment import AUGMENTATIONS, augment_settings
from fitwell.data.options import data_settings
from fitwell.data.sources import SOURCES
from fitwell.metrics import METRICS, score_settings
from fitwell.models import MODELS
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.inits import INITS
from fitwell.nn.layers import LAYERS
from fitwell.nn.losses import LOSSES
from fitwell.optim import OPTIMIZERS
from fitwell.options import model_settings, train_settings
from fitwell.schedules import SCHEDULES
from fitwell.settings import Schema

Table = Mapping[str, Any]
KINDS: dict[str, Table] = {
    "sources": SOURCES,
    "models": MODELS,
    "layers": LAYERS,
    "activations": ACTIVATIONS,
    "inits": INITS,
    "losses": LOSSES,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
    "metrics": METRICS,
    "augmentations": AUGMENTATIONS,
}
SECTIONS: dict[str, Table] = {
    "model": MODELS,
    "loss": LOSSES,
    "optim": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": {"": augment_settings},
    "data": {"": data_settings},
    "train": {"": train_settings},
    "score": {"": score_settings},
}
# What is written with its settings behind its name, and is no section of a recipe.
WRITTEN: dict[str, Table] = {"layers": LAYERS, "activations": ACTIVATIONS}
_PARTS = ("Formula", "Use", "Weakness", "Symptom", "Mechanism", "Threshold", "Source")


def schemas_of(function: Callable[..., Any]) -> dict[str, Schema]:
    """setting -> JSON schema with default and description, from keyword-only arguments."""
    from pydantic import TypeAdapter

    schemas = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        schema = TypeAdapter(parameter.annotation).json_schema()
        schema.pop("title", None)
        if parameter.default is not parameter.empty:
            schema["default"] = parameter.default
        schemas[name] = schema
    return schemas


def settings_of(section: str, item: Callable[..., Any]) -> dict[str, Schema]:
    """The settings of an entry of a section; models have some in common beside their own."""
    own = schemas_of(item)
    return {**own, **schemas_of(model_settings)} if section == "model" else own


def entry_of(item: Any) -> dict[str, str]:
    """The textbook entry of a table's item: its docstring, cut at its named parts."""
    text = inspect.cleandoc(getattr(item, "__doc__", None) or "")
    entry = {"summary": text.split("\n", 1)[0].rstrip(".")}
    ends = "|".join((*_PARTS, "Args", "Raises", "Returns", ">>>", "References"))
    for part in _PARTS:
        found = re.search(rf"^{part}: (.*?)(?=^(?:{ends})|^\s*$|\Z)", text, re.S | re.M)
        entry[part.lower()] = " ".join(found.group(1).split()) if found else ""
    return entry


def gather(above: Mapping[str, Table] | None = None) -> dict[str, Any]:
    """Everything in the tables, as it goes to `settings.json`.

    Args:
        above: further tables (findings, remedies) of layers above this one.
    """
    kinds = {**KINDS, **(above or {})}
    return {
        "settings": {
            section: {name: settings_of(section, item) for name, item in table.items()}
            for section, table in SECTIONS.items()
        },
        "signatures": {
            kind: {name: schemas_of(item) for name, item in table.items()}
            for kind, table in WRITTEN.items()
        },
        "catalogue": {
            kind: {name: entry_of(item) for name, item in table.items()}
            for kind, table in kinds.items()
        },
    }


def settings_text(above: Mapping[str, Table] | None = None) -> str:
    return json.dumps(gather(above), indent=1, ensure_ascii=False, sort_keys=False) + "\n"


if __name__ == "__main__":
    from importlib import import_module

    # The tables of layers above are named, not imported: this file is below them.
    tables = {
        "findings": import_module("fitwell.findings").RULES,
        "remedies": import_module("fitwell.remedies").REMEDIES,
    }
    text = settings_text(tables)
    path = Path(__file__).with_name("settings.json")
    if "--write" in sys.argv:
        path.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
