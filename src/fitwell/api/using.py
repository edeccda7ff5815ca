"""The verbs that use a model: evaluate, predict, generate."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.api.results import opened_run
from fitwell.api.start import given
from fitwell.data import Data
from fitwell.errors import SettingError


def evaluate(
    run: Any, source: Any = None, *, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`{"scores", "test_looks"}` of a run's model on its test part, or on all of another source.

    Of a detector also `classes` (a row each of `name`, `boxes`, `map50`, `map`, `curve`, `said`, `found`),
    `sizes` and `lost` (what map50 would gain if all mistakes of a kind were mended).
    """
    from fitwell.predict import evaluate as evaluate_run

    opened = opened_run(run)
    values = given("", settings)
    options = {k[5:]: v for k, v in values.items() if k.startswith("data.")}
    data = getattr(run, "data", None)
    if source is None and data is not None and opened.recipe and not opened.recipe["source"]:
        from fitwell.data import split

        rows = split.fit_rows(data, opened.recipe.section("data"), opened.seed).held_out
        source = _part_of(data, rows)
    return evaluate_run(opened, source, options)


def _part_of(data: Data, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(X, y) of some rows as they came in."""
    classes = np.asarray(data.spec.classes)
    targets = data.targets[rows]
    return data.inputs[rows], classes[targets] if data.spec.task == "classification" else targets


def predict(
    run: Any, inputs: Any, *, ahead: int | str = 0, out: str | Path | None = None
) -> list[dict[str, Any]]:
    """`[{"input", "prediction", "probability"}]` of files, arrays or a DataFrame.

    Args:
        ahead: of a forecast, so many steps; 0: `data.horizon`.
        out: of a detector: a new folder for the pictures with the boxes drawn into them, and
            `predictions.json`.

    Raises:
        SettingError: `ahead` is no number of steps; `out`, and the model finds no boxes.
        FolderError: `out` holds something already.
    """
    from fitwell.predict import predict as predict_inputs

    if not str(ahead).isdigit():
        raise SettingError(
            f"ahead = {ahead}: must be a whole number of steps; 0 is data.horizon.", setting="ahead"
        )
    opened = opened_run(run)
    if out is None:
        return predict_inputs(opened, inputs, ahead=int(ahead))
    from fitwell.pictures.found import draw_found, refuse_full

    spec = opened.spec
    if spec is None or spec.task != "detection":
        raise SettingError(
            "--out: pictures are written of boxes that were found, and this model finds none. Leave it "
            "out; --json prints all that it says.",
            setting="out",
        )
    refuse_full(Path(out))
    rows = predict_inputs(opened, inputs)
    draw_found(rows, spec.classes, Path(out))
    return rows


def generate(
    run: Any,
    prompt: str = "",
    *,
    length: int = 500,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stream: Callable[[str], Any] | None = None,
) -> str:
    """The text that a model of language writes behind a prompt.

    Args:
        run: a Run or run folder of one text.
        prompt: how it begins; empty: as a text does.
        length: tokens to write.
        temperature: below 1 likely tokens become likelier, 0 takes the likeliest each time.
        top_k: draw from so many of the likeliest tokens; 0: from all.
        top_p: draw from the fewest likeliest tokens that have so much of the probability.
        seed: the same text for the same seed.
        stream: called with each piece of the text as it is drawn.

    Raises:
        FolderError: the run has no weights, or is of no language.
        SettingError: an option out of its range, or a prompt of characters that the model never saw.

    Source: see `fitwell.train.generating.next_token`
    """
    from fitwell.generate import generate as pieces_of

    options = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    said = []
    for piece in pieces_of(opened_run(run), prompt, **options, seed=seed):
        said.append(piece)
        if stream is not None:
            stream(piece)
    return "".join(said)
