"""The verbs of the catalogue: what there is by name, and its textbook entry. No torch but for curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitwell.errors import SettingError, did_you_mean
from fitwell.settings import (
    NAMED_SECTIONS,
    all_names,
    known,
    signatures,
    summaries,
    with_defaults,
)

KINDS = (
    "sources models layers activations inits losses optimizers schedules augmentations metrics "
    "findings remedies executors runs settings"
).split()
EXECUTORS = {
    "local": {
        "summary": "processes on this machine, each with its share of the threads",
        "use": "folds and trials, several at a time",
        "weakness": "no more cores and memory than one machine has",
    },
    "ray": {
        "summary": "tasks of a Ray cluster, --address HOST:PORT; the trials of a lost node run again",
        "use": "many trials on several machines; a trial is one task and takes train.threads cores",
        "weakness": "an extra (fitwell[ray]), on every node; machines unlike each other differ in the "
        "last digits",
    },
}
_INPUT = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1},
    "minItems": 1,
    "description": "shape of one example that comes in, such as [1,28,28]",
    "default": None,
}
_SECTION_OF = {"models": "model", "losses": "loss", "optimizers": "optim", "schedules": "schedule"}


def list_kind(kind: str) -> list[dict[str, Any]]:
    """`[{"name", "summary"}]` of one kind of things.

    Raises:
        SettingError: no such kind.

    >>> [row["name"] for row in list_kind("executors")]
    ['local', 'ray']
    """
    if kind not in KINDS:
        raise SettingError(
            f"list {kind}: there is no such kind.{did_you_mean(kind, KINDS)} "
            f"Choose one of: {', '.join(KINDS)}.",
            setting="kind",
        )
    if kind == "runs":
        return _runs(Path("runs"))
    if kind == "settings":
        return [_setting(name) for name in all_names()]
    entries = _entries().get(kind, {})
    return [{"name": name, "summary": entry["summary"]} for name, entry in entries.items()]


def catalog() -> dict[str, list[dict[str, Any]]]:
    """Everything that `list` knows, by kind; runs and settings left out."""
    return {kind: list_kind(kind) for kind in KINDS if kind not in ("runs", "settings")}


def _runs(folder: Path) -> list[dict[str, Any]]:
    from fitwell import store

    rows = []
    for path in sorted(folder.glob("*/format")) if folder.is_dir() else []:
        try:
            run, name = store.glance(path.parent)
        except Exception as error:
            rows.append({"name": str(path.parent), "summary": f"cannot be opened: {error}"})
            continue
        scores = run.scores.get("test") or run.scores.get("validation") or {}
        said = f", {name} {scores[name]:.4g}" if name in scores else ""
        rows.append({"name": path.parent.as_posix(), "summary": f"{run.status}{said}"})
    return rows


def _setting(name: str) -> dict[str, Any]:
    section, _, key = name.partition(".")
    if name == "source":
        return {"name": name, "summary": "where the data comes from: a path, or a name"}
    if key == "name" and section in NAMED_SECTIONS:
        return {"name": name, "summary": f"one of: {', '.join(known()[section])}"}
    schema = next(s[key] for s in known()[section].values() if key in s)
    return {
        "name": name,
        "summary": schema.get("description", ""),
        "default": schema.get("default"),
    }


# Other names that textbooks have for an entry or a setting.
SYNONYMS = {
    "lasso": "l1",
    "elastic_net": "l1",
    "ridge": "weight_decay",
    "l2": "weight_decay",
    "early_stopping": "train.patience",
    "stochastic_depth": "drop_path",
    "gradient_clipping": "clip_norm",
    "swish": "silu",
    "batch_normalisation": "batchnorm2d",
    "layer_normalisation": "layernorm",
    "group_normalisation": "groupnorm",
    "convolution": "conv2d",
    "max_pooling": "maxpool2d",
    "average_pooling": "avgpool2d",
    "kaiming": "he",
    "glorot": "xavier_uniform",
    "softmax": "cross_entropy",
    "log_loss": "cross_entropy",
    "logistic_regression": "models.linear",
}


def explain(name: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The textbook entry: `{"name", "formula", "use", "weakness", "source", "settings"}`.

    Layers also have `input`, `output`, `parameters` and `multiply_adds` for one example, computed
    without running anything; activations, losses, schedules and inits a `curve`. `values` are all
    settings that these belong to.

    Args:
        name: of anything in the catalogue, or of a setting (`dropout`, `optim.lr`). Where several
            kinds have the name, the kind may stand before it (`layers.linear`).
        settings: of a layer, also the shape `input`; of an activation, a loss or a schedule.

    Raises:
        SettingError: nothing has this name, or it has no such setting.

    >>> explain("relu")["name"]
    'relu'
    >>> lenet = {"input": [1, 28, 28], "kernel": 5, "padding": 2, "stride": 2}
    >>> entry = explain("conv2d", lenet)
    >>> entry["output"], entry["parameters"], entry["multiply_adds"]
    ([1, 14, 14], 26, 4900)
    """
    given = dict(settings or {})
    plain = name.replace("-", "_")
    found = _called(name)
    if not found:
        if schemas := _settings_called(plain):
            _refuse_settings(name, given)
            return _explained_setting(plain, schemas)
        if plain in SYNONYMS:
            return explain(SYNONYMS[plain], given)
        every = [n for entries in _entries().values() for n in entries]
        every += [n.partition(".")[2] for n in all_names()] + all_names()
        raise SettingError(
            f"explain {name}: nothing has this name.{did_you_mean(plain, every)} "
            "`fitwell list KIND` shows what there is.",
            setting="name",
        )
    # `linear` is a model, a layer and a schedule: the first that has the settings that are given.
    takes = [(kind, entry) for kind, entry in found if given.keys() <= _takes(kind, entry).keys()]
    kind, entry = (takes or found)[0]
    schemas = known().get(_SECTION_OF.get(kind, ""), {}).get(entry, {})
    schemas = schemas or signatures().get(kind, {}).get(entry, {})
    return {
        "name": entry,
        "kind": kind,
        **dict.fromkeys(("formula", "use", "weakness", "source"), ""),
        **_entries()[kind][entry],
        "settings": {**schemas, **_settings_called(entry)},
        "also": [f"{other}.{same}" for other, same in found if other != kind],
        **_worked(kind, entry, given),
    }


def _entries() -> dict[str, dict[str, dict[str, Any]]]:
    """kind -> name -> textbook entry, of everything that has one."""
    return {**summaries(), "executors": EXECUTORS}


def _called(name: str) -> list[tuple[str, str]]:
    """(kind, name) of every entry with this name, `kind.name` being one of them."""
    kind, dot, bare = name.rpartition(".")
    plain = bare.replace("-", "_")
    return [
        (one, own)
        for one, entries in _entries().items()
        for own in dict.fromkeys((bare, plain))
        if own in entries
        and (one == kind if dot else not (one == "remedies" and _settings_called(plain)))
    ]


def _takes(kind: str, name: str) -> dict[str, Any]:
    """The settings that an entry can be explained with: those that change its curve or its shapes."""
    if kind in ("losses", "schedules"):
        return known()[_SECTION_OF[kind]][name]
    return signatures().get(kind, {}).get(name, {}) | (
        {"input": _INPUT} if kind == "layers" else {}
    )


def _refuse_settings(name: str, given: Mapping[str, Any]) -> None:
    for key in given:
        raise SettingError(
            f"explain {name} {key}={given[key]}: {name} is explained without settings. Layers, "
            "activations, losses and schedules take theirs.",
            setting=key,
        )


def _worked(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's shapes and work, or a curve: what its settings lead to."""
    schemas = _takes(kind, name)
    if not schemas:
        _refuse_settings(name, given)
    values = with_defaults(name, schemas, given)
    if kind == "layers":
        from fitwell.nn.arithmetic import cost, example

        shape = tuple(values.pop("input") or example(name))
        gives = cost(name, shape, values)
        return {
            "values": values,
            "input": list(shape),
            "output": list(gives.output),
            "parameters": gives.parameters,
            "multiply_adds": gives.multiply_adds,
        }
    if kind in ("activations", "losses", "schedules", "inits"):
        from fitwell.textbook.curves import curve

        drawn = curve(kind, name, values)
        return {"values": values, **({"curve": drawn} if drawn else {})}
    return {}


def _settings_called(name: str) -> dict[str, Any]:
    """dotted name -> schema of the settings called so, in full (`optim.lr`) or in short (`lr`)."""
    if name == "source":  # no section holds it
        return {name: {"type": "string", "description": _setting(name)["summary"]}}
    schemas = {}
    for dotted in all_names():
        section, _, key = dotted.partition(".")
        entries = known().get(section, {})
        if name in (dotted, key):
            found = [entry[key] for entry in entries.values() if key in entry]
            if found:
                schemas[dotted] = found[0]
            if key == "name":
                options = ", ".join(entries)
                schemas[dotted] = {"type": "string", "description": f"one of: {options}"}
    return schemas


def _explained_setting(name: str, schemas: dict[str, Any]) -> dict[str, Any]:
    used_by = [
        entry or section
        for section, _, key in (dotted.partition(".") for dotted in schemas)
        for entry, settings in known().get(section, {}).items()
        if key in settings
    ]
    # Of several with this name, the one that is a technique by itself.
    first = max(schemas.values(), key=lambda schema: "formula" in schema, default={})
    setting_of = f"a setting of {', '.join(dict.fromkeys(used_by)) or 'every recipe'}"
    return {
        "name": name,
        "kind": "settings",
        "summary": first.get("description", ""),
        **{part: first.get(part, "") for part in ("formula", "weakness", "source")},
        "use": "; ".join(filter(None, [first.get("use"), setting_of])),
        "settings": schemas,
    }
