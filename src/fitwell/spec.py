"""What the data is: task, shapes, classes, columns. A model is built from it, a rule reads it. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["images", "table", "text", "boxes", "audio", "series"]
# What data of each kind holds, for a sentence.
PLURAL: dict[str, str] = {
    "images": "images",
    "table": "a table",
    "text": "texts",
    "boxes": "pictures with boxes",
    "audio": "recordings",
    "series": "series",
}
TaskName = Literal[
    "classification", "multilabel", "regression", "detection", "forecasting", "language"
]
Resize = Literal["crop", "squash", "letterbox"]


# Numbers that stand for no word (behind the end of a text) and for one that is not known; words follow.
NO_WORD, UNKNOWN, RESERVED = 0, 1, 2
CYCLES = ("year", "week", "day")  # in which dates come again


@dataclass(frozen=True)
class Column:
    """One column of a table: numeric, categorical, of dates, or of texts that are learnt from.

    Args:
        categories: the known values; of dates their spellings.
        fine: numbers or dates of which float32 would make different ones equal; kept as float64.
    """

    name: str
    kind: Literal["numeric", "category", "date", "text"] = "numeric"
    categories: tuple[str, ...] = ()
    fine: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Column":
        """A column of a spec or preprocessing that was saved, by any version."""
        return cls(data["name"], data["kind"], tuple(data["categories"]), data.get("fine", False))

    @property
    def features(self) -> tuple[str, ...]:
        """The inputs that it becomes: one a number, one a category, of a date its place in time, and in
        the year, the week and the day.

        >>> Column("age").features, Column("colour", "category", ("blue", "red")).features
        (('age',), ('colour=blue', 'colour=red'))
        """
        if self.kind == "category":
            return tuple(f"{self.name}={value}" for value in self.categories)
        if self.kind == "date":
            waves = (
                f"{self.name} {wave} of {cycle}" for cycle in CYCLES for wave in ("sine", "cosine")
            )
            return (self.name, *waves)
        return (self.name,)


@dataclass(frozen=True)
class Spec:
    """What a data set is, after reading and before training.

    Args:
        kind: what one example is.
        task: what is predicted.
        input_shape: shape of one example as the model sees it: (channel, height, width) for images and
            for pictures with boxes, (feature,) for tables, with the features of every column; (word,)
            for texts, (token,) for the chunks of one that is a source by itself; (1, mel, frame) for
            recordings; (channel, time) for series, with the steps of the longest. Behind the end of a
            shorter one the model sees 0 in every channel, and never at its last step (see
            `fitwell.data.steps`).
        classes: names of the classes, or of the labels of which an example may have several, in
            index order; empty for regression.
        target: name of the target column or of what is predicted; of several, with commas.
        targets: names of the numbers that are predicted, where they are several.
        columns: the input columns of a table, of texts the one they stand in, or the channels of one
            long series; empty for files.
        num_examples: examples in the source, all parts together.
        class_counts: examples of each class or label, in the order of `classes`; for boxes how many are
            annotated of each, before those without area or twice in a picture are left out.
        head: units of the model's head where its loss wants another number than one a class, or
            one for a number.
        vocabulary: numbers that stand for words of texts: 0 for none, 1 for an unknown one.
        stored: (height, width) of images as they are kept, where the model sees a part of them.
        rate, samples: of recordings, as they were cut or padded: samples a second, and of each.
        measured: images are measurements of a range of their own, so black and white are not known.
        resize: how images were brought to the shape: others that the model is to read are, too.
        tokens: what a text that is a source by itself is told apart into: "character", "word" or "bpe".
        every: how far apart the steps of one long series are: "hour", "15 minutes"; "" if irregular.
        horizon: of forecasting, how many steps behind those that are read are forecast, of each target;
            outputs go step by step, the targets of a step beside each other.
        season: steps after which the series is taken to repeat itself; 1: it does not.
        at_once: steps that the model itself forecasts, where that is not the whole horizon: it goes on from
            its own forecasts.
        since: steps before the first window that the parts were made of, where the model reads more or
            fewer than these; 0: as many as it reads.
    """

    kind: Kind
    task: TaskName
    input_shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    target: str = "target"
    columns: tuple[Column, ...] = ()
    num_examples: int = 0
    class_counts: tuple[int, ...] = field(default=())
    head: int = 0
    resize: Resize = "crop"
    measured: bool = False
    targets: tuple[str, ...] = ()
    vocabulary: int = 0
    stored: tuple[int, ...] = ()
    rate: int = 0
    samples: int = 0
    every: str = ""
    tokens: str = ""
    horizon: int = 0
    season: int = 1
    at_once: int = 0
    since: int = 0

    @property
    def examples(self) -> str:
        """What the examples are, for a sentence.

        >>> Spec("images", "regression", (3, 32, 32)).examples, Spec("text", "regression", (90,)).examples
        ('images of 3x32x32', 'texts of at most 90 words')
        >>> Spec("series", "regression", (12, 29)).examples
        'series of 12 channels and at most 29 steps'
        """
        if self.kind == "table":
            several = "s" * (len(self.columns) != 1)
            return f"rows of {len(self.columns)} column{several}"
        if self.kind == "boxes":
            return f"pictures with {sum(self.class_counts):,} boxes"
        if self.task == "language":
            unit = "token" if self.tokens == "bpe" else self.tokens
            return f"chunks of {self.input_shape[0]:,} {unit}s of one text"
        if self.kind == "text":
            return f"texts of at most {self.input_shape[0]:,} words"
        if self.kind == "audio":
            seen = "x".join(str(n) for n in self.input_shape[1:])
            length = self.samples / self.rate
            return f"recordings of {length:.3g} s at {self.rate:,} Hz, as spectrograms of {seen}"
        if self.task == "forecasting":
            channels, steps = self.input_shape
            return (
                f"windows of {channels:,} column{'s' * (channels != 1)} and {steps:,} steps, of which the "
                f"next {self.horizon:,} are forecast"
            )
        if self.kind == "series":
            channels, steps = self.input_shape
            return (
                f"series of {channels:,} channel{'s' * (channels != 1)} and at most {steps:,} steps"
            )
        return f"images of {'x'.join(str(n) for n in self.input_shape)}"

    @property
    def is_whole(self) -> bool:
        """Whether the examples are cut out of one series or text: they are alike without being copies.

        >>> Spec("series", "forecasting", (7, 90)).is_whole, Spec("series", "regression", (7, 9)).is_whole
        (True, False)
        """
        return self.task in ("forecasting", "language")

    @property
    def kept_size(self) -> tuple[int, int]:
        """(height, width) that images are brought to when they are read.

        >>> Spec("images", "regression", (3, 224, 224), stored=(256, 256)).kept_size
        (256, 256)
        """
        height, width = self.stored or self.input_shape[1:]
        return height, width

    @property
    def num_outputs(self) -> int:
        """Units of the head: one a class, label or number, of each step of a forecast, of language one a
        token, unless `head` says how many.

        >>> Spec("series", "forecasting", (7, 336), targets=("load", "heat"), horizon=96).num_outputs
        192
        """
        if self.task == "language":
            return self.vocabulary
        numbers = max(1, self.horizon) * max(1, len(self.targets))
        return self.head or len(self.classes) or numbers

    @property
    def several(self) -> tuple[str, ...]:
        """Names of several labels or numbers, in the order in which they are predicted; empty for one.

        >>> Spec("table", "regression", (2,), targets=("height", "price")).several
        ('height', 'price')
        """
        if self.task == "multilabel":
            return self.classes
        if self.task == "forecasting":
            names = self.targets or (self.target,)
            steps = [f"{name} +{step}" for step in range(1, self.horizon + 1) for name in names]
            return tuple(steps) if len(steps) > 1 else ()
        return self.targets

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Spec":
        known = dict(data)
        known["columns"] = tuple(Column.from_json(c) for c in data.get("columns", ()))
        for name in ("input_shape", "classes", "class_counts", "targets", "stored"):
            known[name] = tuple(data.get(name, ()))
        return cls(**known)
