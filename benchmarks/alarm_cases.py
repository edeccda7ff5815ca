"""The cases of `benchmarks.false_alarms`: data sets and families in two halves, and samples of them."""

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data.types import Data, fingerprint


@dataclass(frozen=True)
class Case:
    """A family on a kind of data.

    Args:
        half: "fit", by which thresholds may be chosen, or "report", on which they are only counted.
        examples: of a sample.
    """

    source: str
    family: str
    half: str
    examples: int
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        return f"{self.source} {self.family}"


# No data set is in both halves; a family that is has data of its own in each. A case must have the power
# to show a remedy that helps: where the folds cannot tell, every recipe would be healthy.
_SHARE = {"score.name": "r2"}
CASES = (
    Case("breast-cancer", "mlp", "fit", 500),
    Case("breast-cancer", "linear", "fit", 500),
    Case("fashion", "lenet", "fit", 1500),
    Case("fashion", "mlp", "fit", 1500),
    Case("airfoil", "mlp", "fit", 1300, _SHARE),
    Case("vowels", "mlp", "fit", 500),
    Case("digits", "mlp", "report", 900),
    Case("digits", "convnet", "report", 900),
    Case("digits", "lenet", "report", 900),
    Case("wine", "mlp", "report", 160),
    Case("german", "linear", "report", 900),
    Case("california", "mlp", "report", 2000, {**_SHARE, "train.epochs": 60}),
)


@functools.cache
def whole(source: str) -> Data:
    """All examples of a source."""
    tabular = common.DATA / "tabular"
    if source == "fashion":
        return fitwell_data.read(str(common.FASHION), {})
    if source == "airfoil":
        return fitwell_data.read(str(tabular / "airfoil_self_noise.dat"), {})
    if source == "california":
        path = tabular / "california_housing.csv"
        return fitwell_data.read(str(path), {"target": "median_house_value"})
    if source == "german":
        return fitwell_data.read(str(tabular / "german.csv"), {"task": "classification"})
    if source == "vowels":
        return fitwell_data.read(str(common.DATA / "timeseries" / "JapaneseVowels.npz"), {})
    return fitwell_data.read(source, {})


def sample(case: Case, seed: int) -> Data:
    """Examples of a source, drawn by the seed."""
    everything = whole(case.source)
    size = min(case.examples, len(everything) * 9 // 10)
    rows = np.random.default_rng([seed, 59]).permutation(len(everything))[:size]
    return taken(everything, np.sort(rows))


def taken(data: Data, rows: np.ndarray) -> Data:
    """Some of the examples as data of their own, with no split but the one to come."""
    inputs, targets = data.inputs[rows], data.targets[rows]
    counts = data.spec.class_counts
    if data.spec.task == "classification":
        counts = tuple(np.bincount(targets, minlength=len(data.spec.classes)).tolist())
    return replace(
        data,
        spec=replace(data.spec, num_examples=len(rows), class_counts=counts),
        inputs=inputs,
        targets=targets,
        keys=data.keys[rows],
        part=np.full(len(rows), "", data.part.dtype),
        problems=(),
        fingerprint=fingerprint(inputs, targets),
        groups=None if data.groups is None else data.groups[rows],
        times=None if data.times is None else data.times[rows],
        aside={},
    )
