"""A run's model as a file of ONNX, which needs neither fitwell nor torch to be used.

    inputs as they come -> what the model sees -> model -> what `predict` says

All of this is in the file, compared with what `predict` computes before the file takes its name; what a
program has to do before and after is in the file's metadata, under the key `fitwell`, as JSON.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from fitwell import store
from fitwell.errors import FolderError, SettingError
from fitwell.record import Run

NMS = ("inside", "outside")
BATCHES = (1, 5)  # sizes that are tried; it is traced with another one
_TRACED, _SEED = 2, 0
_LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def export(run: Run, out: Path, *, nms: str = "") -> dict[str, Any]:
    """Write the model of a run to `out`, and say what it reads and gives; see `fw.export`.

    Args:
        out, nms: as `refuse_wrong` lets them through.

    Raises:
        SettingError: a model that torch cannot export, or whose export says something else; an `nms` of
            what is no detector.
        FolderError: the run has no weights.
    """
    if run.spec is None or run.recipe is None:
        where = str(run.folder or "")
        raise FolderError("This run has no recipe and spec, so no model.", where=where)
    nms = _chosen(nms, run)
    import numpy as np

    from fitwell.export.checking import compared
    from fitwell.export.facts import facts_of
    from fitwell.export.inputs import entry_of
    from fitwell.export.network import Exported, traced
    from fitwell.export.outputs import HIDDEN, exit_of
    from fitwell.train import load_model

    model, prepared = load_model(run)
    name = str(run.recipe["model.name"])
    entry, way_out = entry_of(run.spec, prepared), exit_of(run.spec, prepared, nms)
    rng = np.random.default_rng(_SEED)
    network = Exported(entry.module, model, way_out.module).eval()
    fed, _ = entry.draw(_TRACED, rng)
    with _quiet():
        program = traced(network, fed, name, entry.name, way_out.names)
    hidden = HIDDEN if nms == "inside" else ()
    axes = {n: a for n, a in way_out.names.items() if n not in hidden} | {entry.name: entry.axes}
    facts = facts_of(run.spec, prepared, name, nms, program.model.graph, axes, _notes(run))
    program.model.metadata_props["fitwell"] = facts.to_json()
    samples = [entry.draw(count, rng) for count in BATCHES]
    with store.replacing(out) as file:
        difference = compared(program, file, model, entry, way_out, samples, name)
    return {
        "file": out.as_posix(),
        "bytes": out.stat().st_size,
        "model": name,
        "task": run.spec.task,
        "inputs": facts.inputs,
        "outputs": facts.outputs,
        "before": facts.before,
        "nms": nms or None,
        "opset": program.model.opset_imports[""],
        "checked": {"examples": sum(BATCHES), "difference": difference},
        "notes": facts.notes,
    }


def refuse_wrong(out: Path, nms: str) -> None:
    """Refuse what can be told before a run is opened, and torch imported.

    Raises:
        SettingError: a library that writes, reads or runs ONNX is not installed; `nms` is not one of `NMS`
            or empty.
        FolderError: `out` is there already.
    """
    from importlib.util import find_spec

    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise SettingError(
            f"export writes ONNX with {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            'not installed: pip install "fitwell[export]".',
            setting="out",
        )
    if nms and nms not in NMS:
        raise SettingError(
            f"nms = {nms}: non-maximum suppression is inside the file or outside of it. Choose inside or "
            "outside.",
            setting="nms",
        )
    if out.exists():
        raise FolderError(
            f"--out {out} is there already, and nothing is written over. Move it away, or name another "
            "file.",
            where=str(out),
        )


def _chosen(nms: str, run: Run) -> str:
    """Where boxes are suppressed: inside unless it is said; "" where there are none."""
    assert run.spec is not None
    if run.spec.task != "detection":
        if nms:
            raise SettingError(
                f"nms = {nms}: is for a detector, whose boxes overlap, and this model reads "
                f"{run.spec.examples}. Leave it out.",
                setting="nms",
            )
        return ""
    return nms or NMS[0]


def _notes(run: Run) -> list[str]:
    """What the file does not do that the run does."""
    from fitwell.augment import views_of

    assert run.recipe is not None
    notes = []
    views = views_of(run.recipe)
    if views != "none":
        notes.append(
            f"The run predicts the mean of several views of an image (augment.tta = {views}); the file "
            "looks once."
        )
    if run.recipe.get("train.state") == "carried":
        notes.append("The file begins each text anew, and carries no state from call to call.")
    precision = str(run.environment.get("precision", "float32"))
    if precision != "float32":
        notes.append(f"The run computes in {precision}, the file in float32.")
    return notes


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch prints and logs on the way: what matters is said in a sentence."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        nowhere = io.StringIO()
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
