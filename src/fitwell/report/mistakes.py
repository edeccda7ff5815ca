"""Where the model errs: confusion matrix or residuals, and the most confident mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from fitwell.data.dates import as_text
from fitwell.data.preprocess import central
from fitwell.record import MOST_MISTAKES, Predictions, Row
from fitwell.report.figures import BLUE, INK, MUTED, draw
from fitwell.report.pixels import overlay, picture, shown_images, wave_uri
from fitwell.report.series import series_plot
from fitwell.report.wording import number
from fitwell.spec import Spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERED_CLASSES = 15  # larger matrices have no room for their counts
COLUMNS = 8
LETTERS = 400  # of a text
HEARD = 64_000  # samples of a recording: 170 kB in the page
PLOTTED = 3  # targets whose residuals are drawn, of several


@dataclass(frozen=True)
class Example:
    """One example that the model got wrong.

    `picture` is a data URI; `cells` are (column, value) of a table's row. Both are empty where the
    data is not at hand. `looked` is the picture with its Grad-CAM over it, where there is one; `sound` the
    recording, as a data URI.
    """

    key: str
    target: str
    prediction: str
    sure: str
    picture: str = ""
    looked: str = ""
    sound: str = ""
    cells: tuple[tuple[str, str], ...] = ()


def class_names(spec: Spec | None, predictions: Predictions) -> list[str]:
    if spec is not None and spec.classes:
        return list(spec.classes)
    count = int(max(predictions.target.max(), predictions.prediction.max())) + 1
    return [str(i) for i in range(count)]


def several_names(spec: Spec | None, predictions: Predictions) -> list[str]:
    """The names of several labels or targets."""
    if spec is not None and spec.several:
        return list(spec.several)
    return [str(i) for i in range(predictions.target.shape[1])]


def confusion(predictions: Predictions, num_classes: int) -> np.ndarray:
    """[class, class] counts: rows are the true class, columns the predicted one."""
    pairs = predictions.target.astype(int) * num_classes + predictions.prediction.astype(int)
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def confusion_plot(counts: np.ndarray, classes: Sequence[str]) -> str:
    """The share of each true class by predicted class; counts where there is room."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    small = len(classes) <= NUMBERED_CLASSES
    names = [c if len(c) <= 14 else f"{c[:13]}…" for c in classes]

    def paint(axes: "Axes") -> None:
        from matplotlib.colors import LinearSegmentedColormap

        tint = LinearSegmentedColormap.from_list("tint", ["#ffffff", "#d4e2f1", BLUE])
        axes.grid(False)
        axes.pcolormesh(np.sqrt(shares), cmap=tint, vmin=0, vmax=1, edgecolor="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        places = np.arange(len(classes)) + 0.5
        long = max(len(n) for n in names) > 3
        if len(classes) <= 40:
            axes.set_xticks(
                places, names, rotation=45 if long else 0, ha="right" if long else "center"
            )
            axes.set_yticks(places, names)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        for side in axes.spines.values():
            side.set_visible(False)
        if small:
            for (i, j), count in np.ndenumerate(counts):
                if count:
                    dark = shares[i, j] > 0.4
                    axes.text(
                        j + 0.5,
                        i + 0.5,
                        str(count),
                        ha="center",
                        va="center",
                        fontsize=7.5,
                        color="white" if dark else INK,
                    )

    size = min(6.2, 1.9 + 0.36 * len(classes))
    return draw(paint, width=size + 0.3, height=size)


def confused_pairs(
    counts: np.ndarray, classes: Sequence[str], limit: int = 6
) -> list[tuple[str, str, int, int]]:
    """(true, taken for, how often, of how many), the most frequent first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(place), len(classes)) for place in order]
    totals = counts.sum(axis=1)
    return [
        (classes[i], classes[j], int(wrong[i, j]), int(totals[i])) for i, j in pairs if wrong[i, j]
    ]


def label_rows(
    predictions: Predictions, names: Sequence[str]
) -> list[tuple[str, int, float, float, float]]:
    """(label, how many examples have it, precision, recall, F1), the lowest F1 first.

    nan: it was never predicted, or occurs nowhere.
    """
    rows = []
    for i, name in enumerate(names):
        target, called = predictions.target[:, i] == 1, predictions.prediction[:, i] == 1
        hits, true, said = int((target & called).sum()), int(target.sum()), int(called.sum())
        precision, recall, f1 = (
            hits / total if total else float("nan") for total in (said, true, (said + true) / 2)
        )
        rows.append((name, true, precision, recall, f1))
    return sorted(rows, key=lambda row: (np.isnan(row[4]), row[4]))


def residual_plots(predictions: Predictions, names: Sequence[str]) -> list[str]:
    """Prediction against truth, and residual against prediction; of the first of several targets."""
    if predictions.target.ndim == 1:
        pairs = [(predictions.target, predictions.prediction)]
    else:
        pairs = list(zip(predictions.target.T, predictions.prediction.T, strict=True))[:PLOTTED]
    return [
        plot
        for (target, prediction), name in zip(pairs, names, strict=False)
        for plot in _residuals(target.astype(float), prediction.astype(float), name)
    ]


def _residuals(target: np.ndarray, prediction: np.ndarray, unit: str) -> list[str]:
    shown = np.random.default_rng(0).permutation(len(target))[:2000]  # more points hide, not show

    def against(axes: "Axes") -> None:
        low, high = min(target.min(), prediction.min()), max(target.max(), prediction.max())
        axes.plot([low, high], [low, high], color=MUTED, linewidth=0.9)
        _dots(axes, target[shown], prediction[shown])
        axes.set_title("Predicted against true")
        axes.set_xlabel(f"true {unit}")
        axes.set_ylabel("predicted")

    def residual(axes: "Axes") -> None:
        axes.axhline(0, color=MUTED, linewidth=0.9)
        _dots(axes, prediction[shown], (prediction - target)[shown])
        axes.set_title("Residual (predicted - true)")
        axes.set_xlabel(f"predicted {unit}")

    return [draw(against), draw(residual)]


def _dots(axes: "Axes", x: np.ndarray, y: np.ndarray) -> None:
    axes.plot(x, y, "o", color=BLUE, markersize=4.6, alpha=0.5, markeredgewidth=0)


def examples(
    predictions: Predictions,
    spec: Spec | None,
    data: Any,
    limit: int = MOST_MISTAKES,
    explained: Mapping[str, Row] | None = None,
) -> list[Example]:
    """The most confident mistakes with their pictures or rows.

    Args:
        data: the `Data` the predictions' indices speak of, or None.
        explained: key -> evidence row of Grad-CAM.
    """
    classified = predictions.probabilities is not None
    several = predictions.target.ndim == 2
    names = several_names(spec, predictions) if several else []
    if classified and not several:
        names = class_names(spec, predictions)
    sure = predictions.sureness
    explained = explained or {}

    def named(value: Any) -> str:
        if several and classified:
            return ", ".join(n for n, yes in zip(names, value, strict=True) if yes) or "no label"
        if several:
            return ", ".join(f"{n} {number(float(v))}" for n, v in zip(names, value, strict=True))
        return names[int(value)] if classified else number(float(value))

    found = []
    for row in predictions.worst(limit):
        key, index = str(predictions.keys[row]), int(predictions.index[row])
        shown = _show(data, index, key)
        looked = explained.get(key, {}).get("map") if isinstance(shown, str) and shown else None
        found.append(
            Example(
                key=key,
                target=named(predictions.target[row]),
                prediction=named(predictions.prediction[row]),
                sure=_how_sure(float(sure[row]), classified, several),
                picture=shown if isinstance(shown, str) else "",
                looked=_looked(data, index, looked) if looked else "",
                sound=_sound(data, index) if shown and data.spec.kind == "audio" else "",
                cells=shown if isinstance(shown, tuple) else (),
            )
        )
    return found


def _looked(data: Any, index: int, shares: Any) -> str:
    """The picture of an example with its Grad-CAM over it, which covers the part that the model saw; turned
    as the picture is."""
    picture = shown_images(data, [index])[0]
    if data.spec.kind == "audio":
        return overlay(picture, shares[::-1])
    return overlay(central(picture, data.spec.input_shape[1:]), shares)


def _how_sure(sure: float, classified: bool, several: bool) -> str:
    if several:
        return f"loss {number(sure)}"
    return f"{100 * sure:.3g} % sure" if classified else f"off by {number(sure)}"


def _show(data: Any, index: int, key: str) -> str | tuple[tuple[str, str], ...]:
    """The example as a picture or as cells; nothing where the data is not what was trained on."""
    if data is None or index >= len(data.inputs) or str(data.keys[index]) != key:
        return ""
    if data.spec.kind in ("images", "audio"):
        return picture(shown_images(data, [index])[0])
    if data.spec.kind == "series":
        return series_plot(data.inputs[index])
    if data.spec.kind == "text":
        return (("text", shorten(data.inputs[index], LETTERS, placeholder=" ...")),)
    return cells(data.inputs[index], data.spec)


def _sound(data: Any, index: int) -> str:
    """The beginning of a recording, to be listened to."""
    return wave_uri(data.inputs[index].reshape(-1)[:HEARD], data.spec.rate)


def cells(row: np.ndarray, spec: Spec) -> tuple[tuple[str, str], ...]:
    """The first columns of a table's row, categories by name."""
    found = []
    for column, value in list(zip(spec.columns, row, strict=False))[:COLUMNS]:
        if np.isnan(value):
            text = "missing"
        elif column.kind == "category" and 0 <= int(value) < len(column.categories):
            text = column.categories[int(value)]
        elif column.kind == "date":
            text = as_text(float(value))
        else:
            text = number(float(value))
        found.append((column.name, text))
    return tuple(found)
