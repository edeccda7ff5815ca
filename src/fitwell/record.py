"""What happened: a run and its rows, findings, verdicts, an improvement. No torch, no files.

Rows are plain dictionaries of JSON values, one kind a list, so that old, foreign and hand-written
runs can be diagnosed. The keys below are the contract between training, experiments and findings.

`steps`   step, epoch, loss, lr, grad_norm (before clipping; None where not measured), examples
`epochs`  epoch, seconds, waiting (share of the time waiting for data), lr,
          train: {"loss", metric...}, validation: {"loss", metric...} or None
`probes`  one row a layer at a sampled step or epoch:
          step, epoch, layer (module name), index (depth order from 0), kind ("step" or "epoch")
          kind "step": input_rms, output_rms (root mean square of what goes in and comes out), grad_rms,
          weight_rms, update_ratio (norm(after - before) / norm(before)); at the first step twins
          (share of units whose weights and gradients are those of another unit too)
          kind "epoch", over the fixed training sample in evaluation mode, activation layers only:
          activation (its class name, lower case), dead (share of units inactive on all rows),
          saturated (share of units whose mean derivative is under 5 % of its maximum), rows, head
          (whether no layer with weights follows)
`evidence` experiment, and what that experiment measured: see `fitwell.experiments`, and `fitwell.probes`
          for what a run itself writes at its end (linearity, inputs, outputs, targets; of recurrent
          networks through_time and, see `fitwell.train.through_time`, shuffled_order)
          experiment "gradcam", one row a confident mistake: key, index, class (the one chosen), layer,
          map: [height][width] shares of its largest value
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fitwell.recipe import Recipe
from fitwell.spec import Spec

# Findings and reports study the first of these parts that a run has. The test part comes last: whoever
# studies it and then changes something has no test set any more.
STUDIED = ("held_out", "validation", "test")
SIZES = "sizes"  # the name of the number of examples among what a cross-validation varies
MOST_MISTAKES = 24  # that are shown and explained

Row = dict[str, Any]
Scores = dict[str, float]
Confidence = Literal["high", "medium", "low"]
Decision = Literal["helps", "hurts", "no evidence", "screened out", "stopped early", "unconfirmed"]


@dataclass
class Predictions:
    """Predictions of a part, one row an example, under its stable key.

    A watched loop has those of its kept training examples: "train", as they are at last, and "learning",
    with the mean of the probabilities while it learned.

    Args:
        keys: [example] the example's key.
        index: [example] its row in the data.
        target: [example] class index, or the number itself in its own unit; of several labels or
            numbers [example, target]; of boxes [example, box, 5] class and corners, nan where there are
            fewer.
        prediction: likewise; of boxes [example, box, 6], with their scores.
        probabilities: [example, class or label], or None for regression.
        loss: [example] the loss of the example.
    """

    keys: np.ndarray
    index: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    probabilities: np.ndarray | None
    loss: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """[example] whether the prediction, or one of several, is not the target; of boxes each example,
        since none fits to the pixel."""
        if self.target.ndim == 3:
            return np.ones(len(self.target), bool)
        wrong = self.target != self.prediction
        return wrong.any(1) if wrong.ndim == 2 else wrong

    @property
    def sureness(self) -> np.ndarray:
        """[example] the probability of the class chosen, or the size of the residual; of several targets
        and boxes the loss."""
        if self.target.ndim >= 2:
            return self.loss
        if self.probabilities is None:
            return np.abs(self.prediction.astype(float) - self.target.astype(float))
        return self.probabilities[np.arange(len(self.prediction)), self.prediction.astype(int)]

    def worst(self, limit: int = MOST_MISTAKES) -> np.ndarray:
        """Rows of the most confident mistakes: by probability of the wrong class, by residual, or loss."""
        wrong = np.flatnonzero(self.wrong)
        return wrong[np.argsort(-self.sureness[wrong], kind="stable")][:limit]


@dataclass
class Run:
    """One training of one recipe: what was run, on what, and what happened.

    `trials` holds the folds of a cross-validation (each a Run of its own).
    """

    recipe: Recipe | None = None
    spec: Spec | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    steps: list[Row] = field(default_factory=list)
    epochs: list[Row] = field(default_factory=list)
    probes: list[Row] = field(default_factory=list)
    evidence: list[Row] = field(default_factory=list)
    scores: dict[str, Scores] = field(default_factory=dict)  # train, validation, test or held_out
    predictions: dict[str, Predictions] = field(default_factory=dict)  # by part
    status: str = "new"  # new, running, done, interrupted, failed
    failure: str = ""  # the sentence that says why, with the layer's name
    seconds: float = 0.0
    best_epoch: int = -1
    seed: int = 0
    fold: int | None = None
    repeat: int = 0
    test_looks: int = 0
    folder: Path | None = None
    trials: list["Run"] = field(default_factory=list)

    @property
    def held_out(self) -> Scores:
        """Scores on the part that this run never trained on or selected with, if it has one."""
        parts = ("held_out", "test", "validation")
        return next((self.scores[part] for part in parts if self.scores.get(part)), {})

    @property
    def studied(self) -> Predictions | None:
        """The predictions of the part that mistakes are looked for in, if any."""
        return studied(self.predictions)


def studied(predictions: Mapping[str, Predictions]) -> Predictions | None:
    """Of the part that mistakes are looked for in, if any."""
    return next((predictions[part] for part in STUDIED if part in predictions), None)


@dataclass(frozen=True)
class Remedy:
    """What to do about a finding.

    `settings` is an edit of the recipe, which a trial can prove; where it is empty, `advice` names the
    place in code or data, and is never claimed as proved.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"settings": dict(self.settings)}


@dataclass(frozen=True)
class Finding:
    """A named hypothesis about what is wrong.

    Args:
        name: its name in `fitwell list findings`.
        confidence: one run alone caps it at medium.
        evidence: the numbers that speak for it, by name.
        sentence: the same in one plain sentence, with the numbers.
        settings: the dotted settings (or layers) it points at.
    """

    name: str
    confidence: Confidence
    evidence: Mapping[str, Any]
    sentence: str
    settings: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "confidence": self.confidence,
            "evidence": dict(self.evidence),
            "sentence": self.sentence,
            "settings": list(self.settings),
            "remedies": [r.to_json() for r in self.remedies],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Finding":
        settings, remedies = tuple(data["settings"]), tuple(Remedy(**r) for r in data["remedies"])
        known: dict[str, Any] = {**data, "settings": settings, "remedies": remedies}
        return cls(**known)


@dataclass(frozen=True)
class NotAssessed:
    """A finding that could not be judged, and what evidence is missing."""

    name: str
    missing: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "missing": self.missing}


@dataclass(frozen=True)
class Verdict:
    """A paired comparison of a variant with the baseline.

    `effect` is variant - baseline in the metric's own unit, signed so that positive is better;
    `low`, `high` its interval at the level that decided (None at the screen, where nothing is decided).
    `equivalence` says how probable each of worse, equal and better is, where an effect within plus or minus
    its `region` counts as equal.
    """

    remedy: str
    stage: Literal["screen", "confirm"]
    metric: str
    effect: float
    low: float | None
    high: float | None
    p: float | None
    trials: int
    decision: Decision
    settings: Mapping[str, Any] = field(default_factory=dict)
    finding: str = ""
    round: int = 1
    level: float | None = None
    differences: Sequence[float | None] = ()
    why: str = ""
    equivalence: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return json_ready(asdict(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Verdict":
        effect = math.nan if data["effect"] is None else data["effect"]
        known: dict[str, Any] = dict(data)
        known |= {"effect": effect, "differences": tuple(data["differences"])}
        return cls(**known)


@dataclass
class Diagnosis:
    """Findings in order of likely effect, and what could not be assessed."""

    findings: list[Finding] = field(default_factory=list)
    not_assessed: list[NotAssessed] = field(default_factory=list)
    rules: int = 0  # how many there were

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def nothing_assessed(self) -> bool:
        """Whether every rule lacked its rows: then no findings say nothing."""
        return 0 < self.rules == len(self.not_assessed)

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [f.to_json() for f in self.findings],
            "not_assessed": [n.to_json() for n in self.not_assessed],
            "rules": self.rules,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Diagnosis":
        return cls(
            [Finding.from_json(finding) for finding in data["findings"]],
            [NotAssessed(**row) for row in data["not_assessed"]],
            data["rules"],
        )


def json_ready(value: Any) -> Any:
    """The same in JSON's own types: null for what is not a finite number, text for a path.

    >>> json_ready({"effect": float("nan"), "differences": (np.float32(0.5), None)})
    {'effect': None, 'differences': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return json_ready(value.tolist())
    if isinstance(value, list | tuple):
        return [json_ready(v) for v in value]
    if isinstance(value, Path):
        return value.as_posix()
    return None if isinstance(value, float) and not math.isfinite(value) else value
