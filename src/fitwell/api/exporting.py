"""The verb that writes a run's model for other programs."""

from pathlib import Path
from typing import Any

from fitwell.api.results import opened_run
from fitwell.export import refuse_wrong


def export(run: Any, out: str | Path, *, nms: str = "") -> dict[str, Any]:
    """Write the model of a run as a file of ONNX, which is used without fitwell and without torch.

    The file reads inputs as they come (pixels, columns, samples, values: what scales them is inside) in
    batches of any size, and gives what `predict` says: probabilities of classes or labels, numbers in
    their own units, boxes; of a language the logits of the next token. Its metadata have the rest under
    the key `fitwell`: classes, columns, vocabulary, how pictures are resized. Before the file takes its
    name it is run in onnxruntime on made-up inputs, and compared with the model.

    Args:
        run: a Run, a run folder, or an improvement, of which the final model is taken.
        out: the file, which is not there yet.
        nms: of a detector: non-maximum suppression "inside" the file (as if empty), which then gives
            `found` [batch, box, 6]: class, corners in pixels and score, class -1 behind the last; or
            "outside", so that it gives `boxes` and `scores` of every place.

    Returns:
        `{"file", "bytes", "model", "task", "inputs", "outputs", "before", "nms", "opset", "checked",
        "notes"}`: inputs and outputs are `{"name", "axes", "shape", "type"}`, before says what the caller
        does with an input, checked is `{"examples", "difference"}`, the largest one of probabilities,
        corners in pixels or standardised numbers.

    Raises:
        SettingError: a model that torch cannot export, or whose export says something else by more than
            0.001; `nms` of what is no detector; a library that is missing.
        FolderError: the run has no weights; `out` is there already.
    """
    from fitwell.export import export as export_run

    refuse_wrong(Path(out), nms)
    return export_run(opened_run(run), Path(out), nms=nms)
