"""The verb that shows a model: layers, parameters, cost; pictures of filters and augmentation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitwell.errors import SettingError
from fitwell.settings import defaults


def show(
    source: Any,
    *,
    model: Any = "",
    settings: Mapping[str, Any] | None = None,
    filters: bool = False,
    augment: bool = False,
) -> dict[str, Any]:
    """What the model is made of: `{"layers", "parameters", "multiply_adds", "table"}`.

    Of a trained linear model of a table also `features`: those that have a weight. Each layer also has
    the `variance` of its output and of the gradient that comes back to it, with the weights as training
    starts: on examples of the source, or on standard normal numbers where a run's data is not read
    again.

    Args:
        source: a run or run folder, a recipe or its file, or a source, whose default model (or
            `model`) is shown.
        filters: also write pictures of what a run's convolutions learned into its folder, and list
            them: `"pictures": [{"name", "path", "layers"}]`.
        augment: also write a sheet of augmented examples into the run's folder, or below `runs/`, and
            list what changes them: `"pictures": [{"name", "path", "settings"}]`.

    Raises:
        SettingError: filters of what is no run, or of a model without convolutions; augmentation of
            what is no image.
        FolderError: filters of a run without weights.
    """
    import torch

    from fitwell import record, store
    from fitwell.api.start import Start, begin, given, opened
    from fitwell.resolve import complete
    from fitwell.show import surviving_features
    from fitwell.train import load_model

    values = given(model, settings)
    run: record.Run | None = None
    start: Start | None = None
    if isinstance(source, record.Run):
        run = source
    elif isinstance(source, str | Path) and (Path(source) / "format").is_file():
        run = store.open_run(Path(source), trials=False)
    folder = run.folder if run is not None else None
    if filters and (run is None or values):
        raise SettingError(
            "filters: they are learned, so they belong to a run as it was trained. Name a run folder, "
            "and no setting: `fitwell show RUN --filters`.",
            setting="filters",
        )
    if run is not None and run.recipe is not None and run.spec is not None and not values:
        recipe, spec = run.recipe, run.spec  # the data need not be there any more
        examples = None
        measured_on = "random words" if spec.kind == "text" else "standard normal numbers"
        if recipe.get("model.pretrained"):
            measured_on += ", before the pretrained weights were loaded"
    else:
        data, known = opened(source, "", values)
        start = Start(data, known, complete(known, data.spec))
        run, recipe, spec = None, start.recipe, start.data.spec
        examples = _examples(start.data, recipe)
        measured_on = f"{len(examples)} examples of the data"
    own = ":" not in str(recipe["model.name"])  # a user's `init` is their own business
    init = recipe.get("model.init", "") if own else ""
    with torch.random.fork_rng():
        torch.manual_seed(int(recipe.get("train.seed", 0)))  # the weights that `fit` starts with
        shown = _shown(recipe, spec, init, examples, run)
    linear = recipe["model.name"] == "linear" and spec.kind == "table"
    if linear and run is not None and run.folder and (run.folder / "best.safetensors").is_file():
        shown["features"] = surviving_features(load_model(run)[0], spec)
    shown = {
        "model": recipe["model.name"],
        "input_shape": list(spec.input_shape),
        **shown,
        "measured_on": measured_on,
        "recipe": dict(recipe),
    }
    found: list[dict[str, Any]] = []
    if filters and run is not None:
        from fitwell.pictures import write_pictures

        found += write_pictures(run, getattr(run, "data", None))
    if augment:
        found += _augmented((start or begin(source)).data, recipe, folder)
    return {**shown, "pictures": found} if filters or augment else shown


def _augmented(data: Any, recipe: Any, folder: Path | None) -> list[dict[str, Any]]:
    """The sheet of augmented examples, in a run's folder or below `runs/`."""
    from fitwell.pictures import write_augmented

    place = folder / "pictures" / "augmented.png" if folder else None
    return write_augmented(place or Path("runs") / f"{data.name}-augmented.png", data, recipe)


def _shown(recipe: Any, spec: Any, init: Any, examples: Any, run: Any) -> dict[str, Any]:
    """What `show_model` gives of the model as its training starts: pretrained, partly frozen.

    The weights that a run was started from need not be there any more, and are not fetched again: it
    keeps their names, and its model is shown as drawn.
    """
    from fitwell.show import show_model
    from fitwell.train.job import build_model, freezing_of, start_from

    model = build_model(recipe, spec)
    taken: list[str] = []
    if run is not None:
        taken = [n for row in run.evidence for n in row.get("loaded", ())]
    elif fitted := start_from(model, recipe, spec):
        taken = list(fitted.loaded)
    freezing_of(model, {**defaults("train"), **recipe.section("train")})
    shown = show_model(model, spec, init, examples)
    for row in shown["table"]:
        if row["name"] in taken:
            row["init"] = "pretrained"
    return shown


def _examples(data: Any, recipe: Any) -> Any:
    """A few examples from all over the data, as the model gets them: [example, *input] float32."""
    import numpy as np
    import torch

    from fitwell.data import preprocess
    from fitwell.show import num_examples

    count = min(num_examples(data.spec), len(data.inputs))
    rows = np.linspace(0, len(data.inputs) - 1, count).astype(int)
    every = np.arange(len(data.inputs))
    fitted = preprocess.fit(data, every, scaling=recipe["data.scaling"])
    return torch.from_numpy(fitted.inputs(data.inputs[rows]))
