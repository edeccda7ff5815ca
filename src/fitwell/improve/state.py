"""What an improvement gives, and the file from which an interrupted one goes on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitwell import store
from fitwell.errors import FolderError
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Row, Run, Scores, Verdict, json_ready

STATE = "improve.json"
PART_SCORES = ("validation", "test")


@dataclass
class Improvement:
    """A recipe with its proof.

    Args:
        run: the final model's run; its folder is `folder`.
        recipe, baseline_recipe: the final one and the one it started from; equal if nothing helped.
        diagnosis: of the baseline of each round.
        verdicts: of all rounds, in order.
        baseline_folds, final_folds: K trials of each, under the same partition and seed.
        baseline, final: {"validation": mean over those folds, "test": scores of the model trained
            on everything but the test part}; "test" is empty without a test part.
        test_effect: metric, effect, low, high, p of final against baseline on the test part; None
            where there is nothing to compare.
        sentences: what was decided and why, in order.
        seconds: wall time, interruptions left out.
        test_looks: how often this test part was looked at, on this machine, all runs together.
    """

    run: Run
    recipe: Recipe
    baseline_recipe: Recipe
    diagnosis: list[Diagnosis] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    baseline_folds: list[Run] = field(default_factory=list)
    final_folds: list[Run] = field(default_factory=list)
    baseline: dict[str, Scores] = field(default_factory=dict)
    final: dict[str, Scores] = field(default_factory=dict)
    test_effect: dict[str, Any] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    seconds: float = 0.0
    folder: Path = field(default_factory=Path)
    test_looks: int = 0

    @property
    def report(self) -> Path:
        """Where the HTML report stands, once written."""
        return self.folder / "report.html"

    @property
    def helped(self) -> list[Verdict]:
        """The verdicts that say `helps`."""
        return [v for v in self.verdicts if v.decision == "helps"]

    def to_json(self) -> dict[str, Any]:
        """The document that `improve --json` prints."""
        findings = [f.to_json() for d in self.diagnosis[:1] for f in d.findings]
        return json_ready(
            {
                "run": self.folder.as_posix(),
                "report": self.report.as_posix(),
                "findings": findings,
                "baseline": {part: self.baseline.get(part, {}) for part in PART_SCORES},
                "final": {part: self.final.get(part, {}) for part in PART_SCORES},
                "verdicts": [v.to_json() for v in self.verdicts],
                "test_effect": self.test_effect,
                "test_looks": self.test_looks,
                "changes": {
                    name: list(values)
                    for name, values in self.baseline_recipe.changes(self.recipe).items()
                },
                "sentences": self.sentences,
                "seconds": self.seconds,
                "repeat": self.final_folds[0].repeat if self.final_folds else 0,
            }
        )


@dataclass
class State:
    """`improve.json`: what cannot be read from the trial folders again."""

    folder: Path
    recipe: Recipe
    status: str = "running"
    seconds: float = 0.0
    test_looks: int = 0
    evidence: dict[str, list[Row]] = field(default_factory=dict)  # by round
    facts: dict[str, Any] = field(default_factory=dict)  # the results, for readers of the file

    @property
    def finished(self) -> bool:
        """Whether it ended before; going on with it then only reads it again."""
        return self.status == "done"

    def spend(self, seconds: float) -> None:
        """Note the wall time so far; reading a finished improvement again costs it nothing."""
        if not self.finished:
            self.seconds = seconds
            self.save()

    def save(self) -> None:
        store.write_json(
            self.folder / STATE,
            {
                "format": 1,
                "status": self.status,
                "seconds": self.seconds,
                "test_looks": self.test_looks,
                "baseline_recipe": dict(self.recipe),
                "evidence": self.evidence,
                **self.facts,
            },
        )


def open_state(folder: Path, recipe: Recipe) -> State:
    """The state of the improvement in `folder`, or a new one there.

    Raises:
        FolderError: the folder holds an improvement of another recipe, or something else.
    """
    path = folder / STATE
    if path.is_file():
        known = store.read_json(path)
        with store.reading(path):
            before = Recipe(known["baseline_recipe"])
        if before != recipe:
            changed = ", ".join(before.changes(recipe))
            raise FolderError(
                f"{folder} holds an improvement that started from another recipe (it differs in "
                f"{changed}). Choose another folder with --out.",
                where=str(folder),
            )
        with store.reading(path):
            return State(
                folder,
                recipe,
                known["status"],
                known["seconds"],
                known["test_looks"],
                known["evidence"],
            )
    if (folder / "run.json").exists():
        raise FolderError(
            f"{folder} holds a run already. Choose another folder with --out.", where=str(folder)
        )
    folder.mkdir(parents=True, exist_ok=True)
    store.write_json(folder / "format", store.FORMAT)
    store.write_text(folder / "recipe.toml", recipe.to_toml())
    state = State(folder, recipe)
    state.save()
    return state
