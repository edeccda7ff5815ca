"""What a search was asked for, and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitwell import store
from fitwell.improve.state import Improvement, read_improvement
from fitwell.record import json_ready
from fitwell.search.rows import Row
from fitwell.search.space import Dimension

STATE = "search.json"


@dataclass(frozen=True)
class Plan:
    """How to search.

    Args:
        space: what to search over.
        trials: at most so many, those of other workers with them; 0: no limit.
        sampler, pruner: see `fitwell.search.asking`.
        storage: address of a PostgreSQL database; empty: a file in the run folder.
        study: name of the study in the storage.
        owner: the run folder's own mark, in hexadecimal digits.
    """

    space: list[Dimension]
    trials: int = 0
    sampler: str = "tpe"
    pruner: str = "wilcoxon"
    storage: str = field(default="", repr=False)  # there may be a password in it
    study: str = "search"
    owner: str = "0"


@dataclass
class Searched(Improvement):
    """A search: its trials, and the proof of the best one, which is that of a remedy.

    Args:
        trials: all that have ended, those of other workers with them.
        best: the one that went to be confirmed, or the start, where none did better; None where none ran
            on all folds.
        space: setting -> range or choices, as text.
        importance: setting -> share of the score's variation that it explains, largest first.
        selected: how much the score that the best trial was selected by flatters it: "score" on the folds
            of the search, "fresh" the same recipe on folds and seeds that selected nothing, and
            "optimism", by how much it was better on the first (positive: flattered); None where nothing
            was confirmed.
        sampler, pruner: by which it was searched.
    """

    kind = "search"
    trials: list[Row] = field(default_factory=list)
    best: Row | None = None
    space: Mapping[str, str] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    selected: Mapping[str, float | None] = field(default_factory=dict)
    sampler: str = ""
    pruner: str = ""

    def to_json(self) -> dict[str, Any]:
        """The document that `search --json` prints."""
        own = {
            "best": None if self.best is None else self.best.to_json(),
            "trials": [row.to_json() for row in self.trials],
            "verdict": self.verdicts[0].to_json() if self.verdicts else None,
            "selected": dict(self.selected),
            "importance": dict(self.importance),
            "space": dict(self.space),
            "sampler": self.sampler,
            "pruner": self.pruner,
        }
        return json_ready(own | super().to_json())


def read_search(folder: Path) -> Searched:
    """A search from its files alone, as far as it is.

    Raises:
        FolderError: a file is damaged.
    """
    path = folder / STATE
    known = store.read_json(path)
    improvement = read_improvement(folder, STATE)
    with store.reading(path):
        best = known.get("best")
        return Searched(
            **vars(improvement),
            trials=[Row.from_json(row) for row in known.get("trials", ())],
            best=None if best is None else Row.from_json(best),
            **{key: known.get(key, {}) for key in ("space", "importance", "selected")},
            **{key: known.get(key, "") for key in ("sampler", "pruner")},
        )
