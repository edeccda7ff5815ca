"""What a program needs to know of an exported file: JSON in its metadata. No torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fitwell.data.letterbox import PAD
from fitwell.data.preprocess import Preprocess
from fitwell.data.tokens import UNIT
from fitwell.spec import NO_WORD, RESERVED, UNKNOWN, Spec

FORMAT = 1


@dataclass(frozen=True)
class Facts:
    """What the file is, reads and gives.

    Args:
        inputs, outputs: `{"name", "axes", "shape", "type"}` of each; the batch has no number.
        before: what the caller does before, in a sentence.
        notes: what the run does and the file does not.
        more: what only the metadata have: how inputs are made, names of classes and targets.
    """

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    before: str
    notes: list[str]
    more: dict[str, Any]

    def to_json(self) -> str:
        own = {"inputs": self.inputs, "outputs": self.outputs, "before": self.before}
        return json.dumps({"format": FORMAT, **self.more, **own, "notes": self.notes})


def facts_of(
    spec: Spec,
    prepared: Preprocess,
    model: str,
    nms: str,
    graph: Any,
    axes: Mapping[str, tuple[str, ...]],
    notes: list[str],
) -> Facts:
    """The facts of an exported network.

    Args:
        model: its name.
        nms: where boxes are suppressed; empty where there are none.
        graph: of the network in ONNX.
        axes: names of the axes behind the batch, of each input and of the outputs that stay.
    """
    more: dict[str, Any] = {"model": model, "task": spec.task, "kind": spec.kind}
    if spec.classes:
        more["classes"] = list(spec.classes)
    elif spec.task != "language":
        more["targets"] = list(spec.targets or (spec.target,))
    if nms:
        more["nms"] = {"where": nms, **thresholds()}
    before, own = _before(spec, prepared)
    return Facts(
        inputs=[_value(value, axes) for value in graph.inputs],
        outputs=[_value(value, axes) for value in graph.outputs if value.name in axes],
        before=before,
        notes=notes,
        more=more | own,
    )


def thresholds() -> dict[str, Any]:
    """How boxes are suppressed, for who does it outside."""
    from fitwell.tasks import detection as of

    return {"score": of.LEAST, "overlap": of.SAME, "candidates": of.CANDIDATES, "most": of.MOST}


def _value(value: Any, axes: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Name, axes, shape and type of an input or output; a size that is not fixed has a name."""
    shape = [size if isinstance(size, int) else str(size.value) for size in value.shape]
    names = ["batch", *axes[value.name]]
    return {"name": value.name, "axes": names, "shape": shape, "type": str(value.dtype.numpy())}


def _before(spec: Spec, prepared: Preprocess) -> tuple[str, dict[str, Any]]:
    """(what the caller does before, what he needs to know for it)."""
    if prepared.words is not None or prepared.tokens is not None:
        return _of_text(spec, prepared)
    if prepared.kind == "images":
        return _of_pictures(spec, prepared)
    if prepared.kind == "table":
        columns = [
            {"name": column.name, "kind": column.kind, "categories": list(column.categories)}
            for column in prepared.columns
        ]
        return (
            "Columns in their order: numbers as they are, a category as its place in the list of its "
            "column, a date as days since 2000-01-01; NaN where missing.",
            {"columns": columns},
        )
    if prepared.sound is not None:
        sound = prepared.sound
        return (
            f"Samples from -1 to 1 of one channel at {sound.rate:,} Hz, cut or filled with zeros to "
            f"{sound.samples:,}.",
            {"rate": sound.rate, "samples": sound.samples},
        )
    channels = [column.name for column in spec.columns]
    if spec.horizon:
        steps = f"The last {spec.input_shape[1]:,} steps"
        return f"{steps} of the columns, as they are; NaN where missing.", {"columns": channels}
    return "Values as they are; NaN where missing and behind the end of a shorter series.", {}


def _of_pictures(spec: Spec, prepared: Preprocess) -> tuple[str, dict[str, Any]]:
    height, width = spec.kept_size
    places = {
        "letterbox": f"as large as it fits into {height}x{width}, in the middle of grey ({PAD} of 255)",
        "squash": f"resized to {height}x{width}",
        "crop": f"resized until it covers {height}x{width} and cut to its centre",
    }
    colours = {1: "grey", 3: "red, green, blue"}.get(spec.input_shape[0], "as trained on")
    unit = {255.0: "from 0 to 255", 1.0: "from 0 to 1"}.get(prepared.unit or 0.0, "as they are")
    return (
        f"The picture, {places[spec.resize]}; pixels {unit}, channels ({colours}) first.",
        {"resize": spec.resize, "fill": PAD, "brightest": prepared.unit, "channels": colours},
    )


def _of_text(spec: Spec, prepared: Preprocess) -> tuple[str, dict[str, Any]]:
    numbers = {"nothing": NO_WORD, "unknown": UNKNOWN, "first": RESERVED}
    (length,) = spec.input_shape
    if prepared.words is not None:
        return (
            f"The first {length:,} words and signs, in lower case, as their place in the vocabulary + "
            f"{RESERVED}; {UNKNOWN} for an unknown one, {NO_WORD} behind the end.",
            {"vocabulary": list(prepared.words.vocabulary), "numbers": numbers},
        )
    assert prepared.tokens is not None
    how = prepared.tokens
    return (
        f"A 0, then {UNIT[how.how]}s as their place in the vocabulary + {RESERVED}, {UNKNOWN} for an "
        f"unknown one, {NO_WORD} behind the last: {length:,} in all. The logits at each say what follows "
        "it.",
        {
            "tokens": how.how,
            "vocabulary": list(how.vocabulary),
            "pairs": how.pairs,
            "numbers": numbers,
        },
    )
