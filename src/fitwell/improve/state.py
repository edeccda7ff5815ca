"""What an improvement gives, and the file from which an interrupted one goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitwell import store
from fitwell.errors import FolderError
from fitwell.improve.controls import FINDING as CONTROL
from fitwell.improve.evidence import OF_DATA
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Row, Run, Scores, Verdict, json_ready
from fitwell.trials.budget import Budget

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
    controls: list[Verdict] = field(default_factory=list)
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
                "controls": [v.to_json() for v in self.controls],
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
    """`improve.json`: what cannot be read from the trial folders again; of a search it has another name."""

    folder: Path
    recipe: Recipe
    status: str = "running"
    seconds: float = 0.0
    overhead: float = 1.0  # see Budget
    test_looks: int = 0
    evidence: dict[str, list[Row]] = field(default_factory=dict)  # by round
    facts: dict[str, Any] = field(default_factory=dict)  # the results, for readers of the file
    file: str = STATE

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.status == "done"

    def reopen(self) -> None:
        """Go on with what had ended; another final model will be another look at the test part."""
        self.status, self.test_looks = "running", 0
        self.save()

    def spend(self, budget: Budget) -> None:
        """Note the wall time so far, and how far trials take longer than they say."""
        if not self.finished:
            self.seconds, self.overhead = budget.seconds, budget.overhead
            self.save()

    def save(self) -> None:
        store.write_json(
            self.folder / self.file,
            {
                "format": 1,
                "status": self.status,
                "seconds": self.seconds,
                "overhead": self.overhead,
                "test_looks": self.test_looks,
                "baseline_recipe": dict(self.recipe),
                "evidence": self.evidence,
                **self.facts,
            },
        )


def open_state(folder: Path, recipe: Recipe, file: str = STATE) -> State:
    """The state of the improvement in `folder`, or a new one there.

    Args:
        file: where it stands in the folder.

    Raises:
        FolderError: the folder holds an improvement of another recipe, or something else.
    """
    path = folder / file
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
                known["overhead"],
                known["test_looks"],
                known["evidence"],
                file=file,
            )
    if (folder / "run.json").exists():
        raise FolderError(
            f"{folder} holds a run already. Choose another folder with --out.", where=str(folder)
        )
    folder.mkdir(parents=True, exist_ok=True)
    store.write_json(folder / "format", store.FORMAT)
    store.write_text(folder / "recipe.toml", recipe.to_toml())
    state = State(folder, recipe, file=file)
    state.save()
    return state


def rows_of_round(evidence: Mapping[str, Sequence[Row]], number: int) -> list[Row]:
    """What experiments say of a round's baseline.

    What is of the data (`OF_DATA`) serves every round, a range test is of its recipe.
    """
    shared = [r for r in evidence.get("1", ()) if r["experiment"] in OF_DATA]
    own = [r for r in evidence.get(str(number), ()) if r["experiment"] not in OF_DATA]
    return [*shared, *own]


def add_evidence(result: Improvement, evidence: Mapping[str, Sequence[Row]]) -> None:
    """Give the folds before and after what experiments say of them, so that they can be diagnosed."""
    adopted = len({v.round for v in result.helped})
    arms = [(result.final_folds, 1 + adopted)]
    if result.final_folds is not result.baseline_folds:
        arms.append((result.baseline_folds, 1))
    for folds, number in arms:
        if folds:
            folds[0].evidence += rows_of_round(evidence, number)


def read_improvement(folder: Path, file: str = STATE) -> Improvement:
    """An improvement as far as it is, from its files alone: no data is read, nothing is trained.

    Args:
        file: where its state stands in the folder.

    Raises:
        FolderError: a file is damaged.
    """
    path = folder / file
    run, known = store.open_run(folder, trials=False), store.read_json(path)
    findings = store.read_json(folder / "findings.json")
    with store.reading(path):
        before, repeat = Recipe(known["baseline_recipe"]), known.get("repeat", 0)
        # Controls may have the recipe of the baseline, or of the final model, on the same folds.
        places = sorted(
            place
            for place in folder.glob(f"trials/*-r{repeat}-f*/run.json")
            if not place.parent.name.startswith(CONTROL)
        )
        trials = [store.open_run(place.parent, trials=False) for place in places]
        trials.sort(key=lambda trial: trial.fold or 0)
        final = [trial for trial in trials if trial.recipe == run.recipe]
        result = Improvement(
            run=run,
            recipe=run.recipe or before,
            baseline_recipe=before,
            diagnosis=[Diagnosis.from_json(row) for row in findings.get("rounds", ())],
            verdicts=[Verdict.from_json(row) for row in known.get("verdicts", ())],
            controls=[Verdict.from_json(row) for row in known.get("controls", ())],
            baseline_folds=[trial for trial in trials if trial.recipe == before]
            if run.recipe != before
            else final,
            final_folds=final,
            baseline=known.get("baseline", {}),
            final=known.get("final", {}),
            test_effect=known.get("test_effect", {}),
            sentences=known.get("sentences", []),
            seconds=known["seconds"],
            folder=folder,
            test_looks=known["test_looks"],
        )
        add_evidence(result, known["evidence"])
    run.trials = list(final)
    return result
