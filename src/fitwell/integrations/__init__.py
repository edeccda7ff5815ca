"""Adapters of `fitwell.watch` to training loops of other libraries, one module a library.

Each needs the extra of its name: `pip install "fitwell[lightning]"`, `pip install "fitwell[transformers]"`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitwell.errors import SettingError
from fitwell.record import Diagnosis
from fitwell.watching import Watch

# Beginnings of a validation score's name in other libraries, and short names of scores.
_VALIDATION = ("val_", "valid_", "validation_", "eval_", "val/", "valid/", "validation/", "eval/")
# What Hugging Face's Trainer logs beside them.
_NO_SCORES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
_SHORT = {"acc": "accuracy", "bal_acc": "balanced_accuracy"}


def validation_scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The scores of the validation part among those that a library logged, by their usual names.

    >>> validation_scores({"val_loss": 0.5, "val_acc": 0.9, "train_loss": 0.4, "eval_runtime": 3.0})
    {'loss': 0.5, 'accuracy': 0.9}
    """
    found = {}
    for name, value in metrics.items():
        start = next((s for s in _VALIDATION if name.startswith(s)), None)
        if start is None or name[len(start) :] in _NO_SCORES:
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        found[_SHORT.get(name[len(start) :], name[len(start) :])] = number
    return found


class Watching:
    """What the callbacks have in common: the watch of the training that they were given to.

    Args:
        out: a new folder to write the record to.
    """

    watch: Watch | None = None

    def __init__(self, *, out: str | Path | None = None) -> None:
        self.out = out

    def diagnose(self, **options: bool) -> Diagnosis:
        """The findings, printed too; see `fitwell.Watch.diagnose`."""
        return self._begun().diagnose(**options)

    def report(self, path: str | Path) -> Path:
        """Write the page; see `fitwell.Watch.report`."""
        return self._begun().report(path)

    def _epoch(self, scores: Mapping[str, float]) -> None:
        """An epoch has ended, or a part of one with a validation of its own; nothing where no step was made
        since the last."""
        if self.watch is not None and self.watch.updates_of_epoch:
            self.watch.epoch(validation=scores)

    def _begun(self) -> Watch:
        if self.watch is None:
            raise SettingError(
                "Nothing was watched yet: give the callback to a Trainer and start its training first.",
                setting="callbacks",
            )
        return self.watch
