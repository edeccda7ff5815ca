"""The verdict protocol and the whole flow, on trials with planted effects instead of trainings."""

import io
import json
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instead import Instead
from rich.console import Console

from fitwell import findings, store
from fitwell.data import read
from fitwell.data.types import Data
from fitwell.errors import FolderError, Interrupted
from fitwell.improve import flow, improve, opening
from fitwell.improve import variants as variants_module
from fitwell.improve.final import epochs_found
from fitwell.improve.state import read_improvement
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Finding, Predictions, Remedy, Run, Verdict
from fitwell.report import terminal
from fitwell.resolve import complete
from fitwell.trials.budget import Budget, Limit
from fitwell.trials.reusing import End, OnDone, OnStart
from fitwell.trials.scoring import paired_test
from fitwell.trials.trial import Task
from fitwell.trials.verdicts import unequal

Effect = Callable[[Task], float]


class Planted(Instead):
    """An executor whose trials score what was planted, plus noise that both arms share in part."""

    def __init__(self, folder: Path, effect: Effect, *, noise: float = 0.004) -> None:
        super().__init__(folder)
        self.effect, self.noise = effect, noise
        self.curve: list[float] = []  # validation scores by epoch

    def made(self, task: Task) -> Run:
        shared = np.random.default_rng([task.seed, task.repeat, task.fold]).normal(0, 0.02)
        name = [ord(c) for c in task.variant]
        own = np.random.default_rng([task.seed, task.repeat, task.fold, *name]).normal()
        score = 0.8 + self.effect(task) + shared + self.noise * own
        if not np.isfinite(score):
            run = Run(status="failed", failure="The loss is nan at step 3.", seconds=self.seconds)
            run.steps = [{"step": 0}]
            return run
        scores = {"accuracy": float(score)}
        run = Run(status="done", seconds=self.seconds, best_epoch=0)
        run.environment["precision"] = "bfloat16"
        run.steps = [{"step": 0}]
        run.epochs = [{"epoch": 0, "waiting": 0.0}]
        if self.curve:
            rows = [{"validation": {"accuracy": value}} for value in self.curve]
            run.epochs = [{"epoch": i, "waiting": 0.0, **row} for i, row in enumerate(rows)]
        run.scores = {"train": scores}
        if task.kind != "final":
            run.scores["held_out"] = scores
        elif task.recipe["data.test"]:
            run.scores["test"] = scores
            right = np.arange(100) < 100 * score
            target = np.zeros(100, int)
            rows = np.arange(100)
            run.predictions["test"] = Predictions(
                rows.astype(str), rows, target, np.where(right, 0, 1), None, np.zeros(100)
            )
            self.place(task).mkdir(parents=True, exist_ok=True)
            (self.place(task) / "best.safetensors").write_bytes(b"weights")
        return run


@pytest.fixture(scope="module")
def data() -> Data:
    return read("wine", {})


@pytest.fixture
def recipe(data: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    return complete({"source": "wine", "train.epochs": 1, "score.name": "accuracy"}, data.spec)


Improve = Callable[..., Any]


@pytest.fixture
def improving(
    data: Data, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Improve:
    """improve() with planted effects and given remedies a round."""

    def call(
        effect: Effect,
        remedies: Sequence[Remedy] | Callable[[Recipe], Sequence[Remedy]],
        *,
        executor: Planted | None = None,
        **options: Any,
    ) -> tuple[Any, Planted]:
        finding = Finding("planted", "high", {}, "Planted by the test.")
        monkeypatch.setattr(findings, "diagnose", lambda runs: Diagnosis([finding]), raising=False)
        monkeypatch.setattr(flow, "gather", lambda *a, **k: [])

        def proposals(diagnosis: Diagnosis, current: Recipe, spec: Any) -> list[Any]:
            given = remedies(current) if callable(remedies) else remedies
            return [(remedy, "planted") for remedy in given]

        monkeypatch.setattr(flow, "proposals", proposals)
        executor = executor or Planted(tmp_path / "out", effect)
        options = {"recipe": recipe, **options}
        result = improve(data, out=tmp_path / "out", executor=executor, **options)
        return result, executor

    return call


def lr(value: float) -> Remedy:
    return Remedy(f"lr {value}", {"optim.lr": value})


def width(value: int) -> Remedy:
    return Remedy(f"width {value}", {"model.width": value})


def decisions(verdicts: Sequence[Verdict], number: int = 1) -> dict[str, tuple[str, str]]:
    return {v.remedy: (v.stage, v.decision) for v in verdicts if v.round == number}


def test_what_helps_is_confirmed_and_adopted(improving: Improve, tmp_path: Path) -> None:
    def effect(task: Task) -> float:
        return {0.3: 0.05, 0.7: -0.02}.get(float(task.recipe["optim.lr"]), 0.0)

    result, _ = improving(effect, [lr(0.3), lr(0.7), width(33)])
    assert decisions(result.verdicts)["lr 0.3"] == ("confirm", "helps")
    assert decisions(result.verdicts)["lr 0.7"] == ("screen", "stopped early")
    behind = next(v for v in result.verdicts if v.remedy == "lr 0.7")
    assert 2 <= behind.trials < 5 and "of 5 folds: too far behind" in behind.why
    helped = next(v for v in result.verdicts if v.decision == "helps")
    assert helped.trials == 15 and helped.low > 0 and abs(helped.effect - 0.05) < 0.01
    assert helped.equivalence["better"] > 0.99
    assert result.recipe["optim.lr"] == 0.3
    assert result.run.folder == tmp_path / "out"
    assert (tmp_path / "out" / "best.safetensors").exists()
    assert result.final["validation"]["accuracy"] - result.baseline["validation"][
        "accuracy"
    ] == pytest.approx(0.05, abs=0.01)
    assert result.test_effect["effect"] > 0
    assert store.open_run(tmp_path / "out").recipe == result.recipe


def test_pairs_share_seeds_and_confirm_is_fresh(improving: Improve) -> None:
    result, executor = improving(lambda t: 0.05 * (t.recipe["optim.lr"] == 0.3), [lr(0.3)])
    pairs: dict[str, set[tuple[int, int, int]]] = {}
    for task in executor.ran:
        if task.kind == "fold":
            pairs.setdefault(task.variant, set()).add((task.repeat, task.fold, task.seed))
    assert pairs["baseline"] == pairs["lr 0.3"]
    seeds = {repeat: seed for repeat, _, seed in pairs["baseline"]}
    assert len(seeds) == 4 and len(set(seeds.values())) == 4  # screen, and three fresh repeats
    confirmed = next(v for v in result.verdicts if v.decision == "helps")
    assert len(confirmed.differences) == 15  # the screen's five pairs are not among them


def test_no_positive_mean_means_no_confirm_stage(improving: Improve) -> None:
    result, executor = improving(lambda t: -0.001 * (t.variant != "baseline"), [lr(0.3), lr(0.7)])
    assert set(decisions(result.verdicts).values()) == {("screen", "screened out")}
    assert {t.repeat for t in executor.ran} == {0}
    assert result.recipe == result.baseline_recipe
    assert any("nothing helps" in s for s in result.sentences)


def test_what_is_worth_too_little_is_not_followed_to_the_end(improving: Improve) -> None:
    def effect(task: Task) -> float:
        lucky = {0.3: 0.02, 0.4: 0.03}.get(float(task.recipe["optim.lr"]), 0.0)  # type: ignore[arg-type]
        return lucky if task.repeat == 0 or task.recipe["optim.lr"] == 0.4 else 0.0

    result, executor = improving(effect, [lr(0.3), lr(0.4)])
    stopped = next(v for v in result.verdicts if v.remedy == "lr 0.3" and v.round == 1)
    assert (stopped.stage, stopped.decision, stopped.trials) == ("confirm", "stopped early", 5)
    assert stopped.low is None and "of 15 pairs" in stopped.why
    # The other one is still judged as one of two.
    helped = next(v for v in result.verdicts if v.remedy == "lr 0.4")
    assert (helped.decision, helped.trials) == ("helps", 15)
    assert helped.level == pytest.approx(0.05 / 2)
    first_round = [t for t in executor.ran if t.variant == "lr 0.3"]
    assert len(first_round) == 10


def test_progress_tells_only_of_trials_that_are_run(improving: Improve, tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []

    def effect(task: Task) -> float:
        return 0.05 * (task.recipe["optim.lr"] == 0.3)

    options: dict[str, Any] = {"progress": lambda event, **facts: events.append((event, facts))}
    _, executor = improving(effect, [lr(0.3)], **options)
    count = [event for event, _ in events].count
    assert count("start") == count("trial") == len(executor.ran)
    announced = sum(facts["total"] for event, facts in events if event == "phase")
    assert announced >= len(executor.ran)
    assert "round2" not in str([facts.get("name") for _, facts in events])
    events.clear()
    improving(effect, [lr(0.3)], executor=Planted(tmp_path / "out", effect), **options)
    assert "trial" not in [event for event, _ in events]
    assert not [f for e, f in events if e == "phase" and f["total"]]


def test_null_remedies_do_not_help(improving: Improve) -> None:
    result, _ = improving(lambda t: 0.0, [lr(0.1 + i / 100) for i in range(6)])
    assert not result.helped
    assert result.final == result.baseline


def test_a_screening_that_looked_good_by_luck_is_not_followed_to_the_end(
    improving: Improve,
) -> None:
    def effect(task: Task) -> float:
        lucky = 0.03 if task.repeat == 0 else -0.05
        return lucky if task.variant != "baseline" else 0.0

    result, _ = improving(effect, [lr(0.3)])
    assert decisions(result.verdicts) == {"lr 0.3": ("confirm", "stopped early")}
    (stopped,) = result.verdicts
    assert stopped.trials == 5 and stopped.effect == pytest.approx(-0.05, abs=0.01)
    assert "could hardly make it helpful" in stopped.why
    assert result.recipe == result.baseline_recipe


def test_at_most_two_are_confirmed(improving: Improve) -> None:
    gains = {0.3: 0.01, 0.4: 0.04, 0.5: 0.03}
    result, _ = improving(lambda t: gains.get(t.recipe["optim.lr"], 0.0), [lr(v) for v in gains])
    first = {n for n, (stage, _) in decisions(result.verdicts).items() if stage == "confirm"}
    assert first == {"lr 0.4", "lr 0.5"}


@pytest.mark.parametrize(
    ("fails", "decided"),
    [
        (lambda task: True, ("screen", "stopped early")),
        (lambda task: task.fold == 3, ("screen", "screened out")),
        (lambda task: task.repeat == 2, ("confirm", "no evidence")),
    ],
    ids=["at once", "on a later fold", "in the confirm stage"],
)
def test_a_failing_variant_counts_as_not_helping(
    improving: Improve, tmp_path: Path, fails: Callable[[Task], bool], decided: tuple[str, str]
) -> None:
    def effect(task: Task) -> float:
        lr = task.recipe["optim.lr"]
        if lr == 0.7:
            return float("nan") if fails(task) else 0.1
        return 0.05 if lr == 0.3 else 0.0

    result, _ = improving(effect, [lr(0.7), lr(0.3)])
    found = decisions(result.verdicts)
    assert found["lr 0.7"] == decided
    assert found["lr 0.3"] == ("confirm", "helps")
    failed = [v for v in result.verdicts if v.remedy == "lr 0.7"]
    assert all("loss is nan" in v.why for v in failed if v.round == 1)
    # Not-a-number is no JSON.
    text = (tmp_path / "out" / "verdicts.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)


class GivenUp(Planted):
    """One of its trials was far behind, in a later fold."""

    def made(self, task: Task) -> Run:
        if task.recipe["optim.lr"] == 0.8 and task.fold == 3:
            facts = {"given_up": True}
            return Run(status="failed", failure="Given up after epoch 3.", environment=facts)
        return super().made(task)


def test_what_was_given_up_within_a_training_is_stopped_early(
    improving: Improve, tmp_path: Path
) -> None:
    executor = GivenUp(tmp_path / "out", lambda t: 0.05 * (t.recipe["optim.lr"] != 0.003))
    result, _ = improving(executor.effect, [lr(0.8), lr(0.3)], executor=executor)
    stopped = next(v for v in result.verdicts if v.remedy == "lr 0.8" and v.round == 1)
    assert (stopped.stage, stopped.decision) == ("screen", "stopped early")
    assert stopped.why == "Given up after epoch 3."
    assert decisions(result.verdicts)["lr 0.3"] == ("confirm", "helps")


def test_a_baseline_that_diverges_can_be_cured(improving: Improve) -> None:
    def effect(task: Task) -> float:
        return 0.0 if task.recipe["optim.lr"] == 0.3 else float("nan")

    result, _ = improving(effect, [lr(0.3)])
    assert decisions(result.verdicts)["lr 0.3"] == ("confirm", "helps")
    assert result.baseline["test"] == {} and result.final["test"]["accuracy"] > 0.5
    assert result.test_effect["effect"] is None


def test_hopeless_variants_are_stopped_after_two_folds(improving: Improve) -> None:
    result, executor = improving(lambda t: -0.2 * (t.recipe["optim.lr"] == 0.3), [lr(0.3), lr(0.4)])
    assert decisions(result.verdicts)["lr 0.3"] == ("screen", "stopped early")
    assert sum(t.variant == "lr 0.3" for t in executor.ran) == 2
    stopped = next(v for v in result.verdicts if v.remedy == "lr 0.3")
    assert stopped.trials == 2 and stopped.why


def test_both_that_help_are_tried_together(improving: Improve) -> None:
    def effect(task: Task) -> float:
        return 0.05 * (task.recipe["optim.lr"] == 0.3) + 0.03 * (task.recipe["model.width"] == 33)

    def remedies(current: Recipe) -> list[Remedy]:  # the second round's diagnosis finds nothing
        return [] if current["optim.lr"] == 0.3 else [lr(0.3), width(33)]

    result, _ = improving(effect, remedies)
    assert decisions(result.verdicts)["width 33"] == ("confirm", "helps")
    assert decisions(result.verdicts, 2)["width 33"] == ("confirm", "helps")
    assert result.recipe["optim.lr"] == 0.3 and result.recipe["model.width"] == 33
    second = next(v for v in result.verdicts if v.round == 2)
    assert second.level == pytest.approx(0.05 / 4)
    gain = result.final["validation"]["accuracy"] - result.baseline["validation"]["accuracy"]
    assert gain == pytest.approx(0.08, abs=0.01)


def test_a_lesser_value_of_what_was_adopted_is_not_tried_on_top(improving: Improve) -> None:
    def effect(task: Task) -> float:
        return {0.3: 0.05, 0.2: 0.03}.get(task.recipe["optim.lr"], 0.0)

    def remedies(current: Recipe) -> list[Remedy]:
        return [width(33)] if current["optim.lr"] == 0.3 else [lr(0.3), lr(0.2)]

    result, _ = improving(effect, remedies)
    assert decisions(result.verdicts)["lr 0.2"] == ("confirm", "helps")
    assert decisions(result.verdicts, 2).keys() == {"width 33"}
    assert any(
        "lr 0.2 helps too, but less, and sets otherwise what this sets." in sentence
        for sentence in result.sentences
    )


def test_budget_that_ends_before_the_confirm_stage(improving: Improve, tmp_path: Path) -> None:
    # The trials say they take 10 s; the screen of one remedy takes 5 x 10 / 2 = 25 s, the confirm
    # stage 150 s more, the final models 10 s.
    executor = Planted(tmp_path / "out", lambda t: 0.05 * (t.recipe["optim.lr"] == 0.3))
    executor.seconds = 10.0
    result, _ = improving(executor.effect, [lr(0.3)], executor=executor, budget=60.0)
    assert decisions(result.verdicts) == {"lr 0.3": ("screen", "unconfirmed")}
    assert result.recipe == result.baseline_recipe
    assert {t.repeat for t in executor.ran if t.kind == "fold"} == {0}
    # It has ended, and is read; with more to spend it goes on, and nothing is run twice.
    before = len(executor.ran)
    again, _ = improving(executor.effect, [lr(0.3)], executor=executor, budget=None)
    assert again.verdicts == result.verdicts and len(executor.ran) == before
    assert again.test_looks == result.test_looks == 1
    result, _ = improving(executor.effect, [lr(0.3)], executor=executor, budget=None, more=True)
    assert decisions(result.verdicts) == {"lr 0.3": ("confirm", "helps")}
    assert len(executor.ran) == len(set(executor.ran)) and len(executor.ran) > before
    assert result.test_looks == 2  # of another final model


def test_the_screen_leaves_room_to_confirm(improving: Improve, tmp_path: Path) -> None:
    """All six would be screened in 5 x 7 x 10 / 2 = 175 s, and 150 s more confirm one of them."""
    executor = Planted(tmp_path / "out", lambda t: 0.05 * (t.recipe["optim.lr"] == 0.3))
    executor.seconds = 10.0
    remedies = [lr(value) for value in (0.3, 0.31, 0.32, 0.33, 0.34, 0.35)]
    result, _ = improving(executor.effect, remedies, executor=executor, budget=260.0)
    assert decisions(result.verdicts)["lr 0.3"] == ("confirm", "helps")
    assert len(decisions(result.verdicts)) < 6
    assert any("budget does not reach for a trial of" in s for s in result.sentences)


def test_trials_of_the_screen_have_a_floor_and_those_of_the_proof_none(
    improving: Improve, tmp_path: Path
) -> None:
    executor = Planted(tmp_path / "out", lambda t: 0.05 * (t.recipe["optim.lr"] == 0.3))
    executor.curve = [0.6, 0.7, 0.8]
    improving(executor.effect, [lr(0.3)], executor=executor)
    folds = [t for t in executor.ran if t.kind == "fold"]
    floors = {(t.repeat > 0, t.variant == "baseline"): t.floor for t in folds}
    # After a third of the way the baseline had 0.6; twice ten times the least effect is let pass.
    assert floors[False, False] == pytest.approx((0.5,))
    assert floors[False, True] == floors[True, False] == floors[True, True] == ()


@pytest.mark.parametrize("unit", ["trials", "epochs"])
@pytest.mark.parametrize("amount", [12, 40, 60, 100])
def test_a_budget_of_trials_or_epochs_is_kept_to(
    improving: Improve, tmp_path: Path, unit: str, amount: int
) -> None:
    """A trial is an epoch here. Baseline and final models, 5 + 2, are trained in any case."""
    executor = Planted(tmp_path / "out", lambda t: 0.05 * (t.recipe["optim.lr"] == 0.3))
    remedies = [lr(value) for value in (0.3, 0.31, 0.32)]
    limit = Limit(amount, unit)
    result, _ = improving(executor.effect, remedies, executor=executor, budget=limit)
    assert len(executor.ran) <= amount
    helped = decisions(result.verdicts).get("lr 0.3") == ("confirm", "helps")
    assert helped == (amount >= 60)  # 5 + 3 x 5 + 30 + 5 folds for the proof, and 2 models
    # Taken up again it plans as it did before.
    ran = list(executor.ran)
    again, _ = improving(executor.effect, remedies, executor=executor, budget=limit, more=True)
    assert again.verdicts == result.verdicts and executor.ran == ran


def test_controls_are_judged_and_change_nothing(improving: Improve, tmp_path: Path) -> None:
    def effect(task: Task) -> float:
        return {0.3: 0.05, 0.009: 0.03}.get(float(task.recipe["optim.lr"]), 0.0)

    result, executor = improving(effect, [lr(0.3)], controls=True)
    null, rate, drawn = result.controls
    assert null.remedy == "control: the same recipe, other seeds" and null.settings == {}
    assert null.decision in ("no evidence", "stopped early")
    assert rate.settings == {"optim.lr": 0.009} and rate.decision == "helps"  # of 3 and 1/3 times
    assert drawn.settings and "optim.lr" not in drawn.settings and drawn.decision != "helps"
    assert {v.stage for v in result.controls} == {"confirm"}
    assert result.recipe["optim.lr"] == 0.3 and len(result.verdicts) == 1
    shifted = {task.shift for task in executor.ran if task.variant == "control-null"}
    assert shifted == {1} and len(executor.ran) == len(set(executor.ran))
    read = read_improvement(tmp_path / "out")
    assert read.controls == result.controls
    assert [v["remedy"] for v in read.to_json()["controls"]] == [v.remedy for v in result.controls]
    # The null arm has the baseline's recipe on the same folds; it is no part of the baseline.
    assert {run.folder for run in read.baseline_folds} == {r.folder for r in result.baseline_folds}
    assert len(read.baseline_folds) == len(read.final_folds) == 5
    said = [s for s in result.sentences if "ontrol:" in s]
    assert len(said) == 3 and said[0].startswith("Control: the same recipe, other seeds: ")
    page = Console(width=80, record=True, file=io.StringIO())
    page.print(terminal.improvement(read))
    assert "Controls, not chosen to help" in page.export_text()


def test_controls_take_the_best_rate_and_a_remedy_that_was_not_tried(
    improving: Improve, tmp_path: Path
) -> None:
    def effect(task: Task) -> float:
        return {0.009: -0.03, 0.001: 0.03}.get(float(task.recipe["optim.lr"]), 0.0)

    first, _ = improving(effect, [lr(0.3)], controls=True)
    _, rate, drawn = first.controls
    assert rate.settings == {"optim.lr": 0.001}  # the last of those that were screened
    shutil.rmtree(tmp_path / "out")
    tried = [lr(0.3), Remedy("as was drawn", drawn.settings)]
    again, _ = improving(effect, tried, controls=True)
    assert again.controls[2].settings != drawn.settings


def test_without_room_for_the_controls_it_is_said(improving: Improve) -> None:
    result, _ = improving(lambda t: 0.0, [lr(0.3)], controls=True, budget=Limit(30, "trials"))
    assert not result.controls
    assert "The budget does not reach for the controls." in result.sentences


def test_a_variant_that_turns_out_dear_gives_way(improving: Improve, tmp_path: Path) -> None:
    """It takes eight times as long as was thought when the screen was planned."""

    def effect(task: Task) -> float:
        executor.seconds = 80.0 if task.recipe["optim.lr"] == 0.4 else 10.0
        return 0.05 * (task.recipe["optim.lr"] == 0.3)

    executor = Planted(tmp_path / "out", effect)
    result, _ = improving(effect, [lr(0.3), lr(0.4)], executor=executor, budget=250.0)
    assert decisions(result.verdicts)["lr 0.3"] == ("confirm", "helps")
    dear = next(v for v in result.verdicts if v.remedy == "lr 0.4")
    assert dear.decision == "stopped early" and "budget has no room" in dear.why
    assert dear.trials == 2


@pytest.mark.parametrize(("slower", "left"), [(30.0, ["lr 0.3"]), (90.0, [])])
def test_a_machine_that_slows_down_does_not_overrun_the_budget(
    improving: Improve, tmp_path: Path, slower: float, left: list[str]
) -> None:
    """The confirm stage of both would take 45 x 10 / 2 = 225 s; its trials turn out to take longer."""

    def effect(task: Task) -> float:
        executor.seconds = 10.0 if task.repeat == 0 else slower
        return {0.3: 0.05, 0.4: 0.03}.get(float(task.recipe["optim.lr"]), 0.0)  # type: ignore[arg-type]

    executor = Planted(tmp_path / "out", effect)
    result, _ = improving(effect, [lr(0.3), lr(0.4)], executor=executor, budget=260.0)
    found = decisions(result.verdicts)
    for name in ("lr 0.3", "lr 0.4"):
        assert found[name] == ("confirm", "helps" if name in left else "unconfirmed")
    cut = [v for v in result.verdicts if v.round == 1 and v.decision == "unconfirmed"]
    assert all("budget" in v.why and v.trials == 5 for v in cut)
    if not left:
        assert result.recipe == result.baseline_recipe
        assert any("before the remedies could be confirmed" in s for s in result.sentences)


def test_budget_too_small_for_any_trial(improving: Improve, tmp_path: Path) -> None:
    executor = Planted(tmp_path / "out", lambda t: 0.05)
    executor.seconds = 10.0
    result, _ = improving(executor.effect, [lr(0.3)], executor=executor, budget=12.0)
    assert not result.verdicts
    assert any("budget" in s for s in result.sentences)


class Timed(Planted):
    """Its trials take the time that they say, side by side, on a clock of the test's."""

    def __init__(self, folder: Path, effect: Effect, cost: Effect) -> None:
        super().__init__(folder, effect)
        self.cost, self.now = cost, 0.0

    def made(self, task: Task) -> Run:
        self.seconds = self.cost(task)
        return super().made(task)

    def run(
        self, tasks: Sequence[Task], done: OnDone | None = None, started: OnStart | None = None
    ) -> list[Run]:
        missing = self.missing(tasks)
        runs = super().run(tasks, done, started)
        free = [self.now] * self.workers
        for task in missing:
            free.sort()
            free[0] += self.cost(task)
        self.now = max(free)
        return runs


@pytest.mark.parametrize("seed", range(12))
def test_the_budget_holds_whatever_the_remedies_cost(
    improving: Improve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Networks that take up to twelve times as long as the baseline, also when one is adopted."""
    rng = np.random.default_rng(seed)
    rates = [round(0.3 + 0.01 * i, 2) for i in range(6)]
    widths = [33, 34, 35]
    factors = dict(zip([*rates, *widths], np.exp(rng.uniform(0, np.log(12), 9)), strict=True))
    gains = dict(zip([*rates, *widths], rng.choice([0.0, 0.04, 0.08, -0.2], 9), strict=True))

    def of(task: Task, table: dict[float, float], usual: float) -> list[float]:
        return [table.get(task.recipe[name], usual) for name in ("optim.lr", "model.width")]  # type: ignore[arg-type]

    def cost(task: Task) -> float:
        rows = 10 / 9 * 5 / 4 if task.kind == "final" else 1.0
        return float(10 * rows * np.prod(of(task, factors, 1.0)))

    executor = Timed(tmp_path / "out", lambda t: sum(of(t, gains, 0.0)), cost)
    monkeypatch.setattr("fitwell.trials.bench.time.monotonic", lambda: executor.now)
    budget = float(rng.uniform(300, 2500))
    remedies = [*map(lr, rates), *map(width, widths)]
    result, _ = improving(executor.effect, remedies, executor=executor, budget=budget)
    assert executor.now <= budget
    assert result.seconds == pytest.approx(executor.now)


def planted_in_time(
    improving: Improve,
    monkeypatch: pytest.MonkeyPatch,
    executor: Timed,
    remedies: Callable[[Recipe], Sequence[Remedy]],
    budget: float,
) -> Any:
    monkeypatch.setattr("fitwell.trials.bench.time.monotonic", lambda: executor.now)
    result, _ = improving(executor.effect, remedies, executor=executor, budget=budget)
    assert executor.now <= budget
    return result


def test_edits_of_a_large_network_are_taken_to_be_as_large(
    improving: Improve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wider one takes 80 s where all others took 10, and is adopted in round 1. To screen both
    rates with it and to confirm one then takes 10 x 80 / 2 + 30 x 80 / 2 = 1,600 s, and not the 725 of a
    median of 10."""
    executor = Timed(
        tmp_path / "out",
        lambda t: 0.1 * (t.recipe["model.width"] == 33),
        lambda t: 80.0 if t.recipe["model.width"] == 33 else 10.0,
    )
    remedies = [width(33), lr(0.3), lr(0.4)]
    result = planted_in_time(improving, monkeypatch, executor, lambda recipe: remedies, 1800.0)
    assert result.recipe["model.width"] == 33
    later = {t.variant for t in executor.ran if t.recipe["model.width"] == 33 and "lr" in t.variant}
    assert len(later) == 1
    assert any("budget does not reach for a trial of" in s for s in result.sentences)


def test_the_baseline_on_the_last_partition_is_part_of_the_plan(
    improving: Improve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a second adoption the baseline is trained on folds that it has not seen yet; here it is
    what takes longest: 5 x 100 / 2 = 250 s and more."""

    def fast(recipe: Recipe) -> int:
        return int(recipe["model.width"] == 33) + int(recipe["optim.lr"] == 0.3)  # type: ignore[operator]

    def remedies(recipe: Recipe) -> list[Remedy]:
        return [lr(0.3)] if recipe["model.width"] == 33 else [width(33)]

    adopted = {}
    for budget in (1800, 2100):
        executor = Timed(
            tmp_path / "out",
            lambda t: 0.05 * fast(t.recipe),
            lambda t: 10.0 if fast(t.recipe) else 100.0,
        )
        result = planted_in_time(improving, monkeypatch, executor, remedies, float(budget))
        adopted[budget] = fast(result.recipe)
        shutil.rmtree(tmp_path / "out")
    assert adopted == {1800: 1, 2100: 2}


@pytest.mark.parametrize("stop", [3, 8, 14, 30])
def test_an_interrupted_improvement_goes_on(improving: Improve, tmp_path: Path, stop: int) -> None:
    def effect(task: Task) -> float:
        return 0.05 * (task.recipe["optim.lr"] == 0.3)

    executor = Planted(tmp_path / "out", effect)
    executor.stop_after = stop
    with pytest.raises(Interrupted):
        improving(effect, [lr(0.3), width(33)], executor=executor)
    executor.stop_after = 10**9
    result, _ = improving(effect, [lr(0.3), width(33)], executor=executor)
    assert len(executor.ran) == len(set(executor.ran)), "a finished trial ran again"
    whole, _ = improving(effect, [lr(0.3), width(33)], executor=executor)
    assert whole.verdicts == result.verdicts and whole.test_looks == result.test_looks == 1


class Losing(Planted):
    """The worker of a fold of the baseline dies, as often as it is tried."""

    tries = 0

    def run_elsewhere(
        self, tasks: Sequence[Task], open_: deque[int], end: End, begin: OnStart
    ) -> None:
        for index in tuple(open_):
            if (tasks[index].variant, tasks[index].repeat, tasks[index].fold) == ("baseline", 0, 2):
                open_.remove(index)
                self.tries += 1
                end(index, self.failed(tasks[index], "Its worker ended.", lost=True))
        super().run_elsewhere(tasks, open_, end, begin)


def test_a_lost_fold_of_the_baseline_is_tried_once_and_costs_no_helper(
    improving: Improve, tmp_path: Path
) -> None:
    def effect(task: Task) -> float:
        return 0.05 * (task.recipe["optim.lr"] == 0.3)

    executor = Losing(tmp_path / "out", effect)
    result, _ = improving(effect, [lr(0.3)], executor=executor)
    # The screen needs the same fold again: what an executor gave up, it does not try anew.
    assert executor.tries == 1
    assert "1 of 5 folds of the baseline failed" in result.sentences[1]
    # There the gain over a trivial score is large, which is no sign of how far the others spread.
    assert decisions(result.verdicts) == {"lr 0.3": ("confirm", "helps")}
    again = Losing(tmp_path / "out", effect)
    again.run([replace(executor.ran[0], fold=2)])
    assert again.tries == 1  # by another call it is


def test_what_was_spent_is_noted_on_the_way(
    improving: Improve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process notes nothing at its end, and the next call must not have its time again."""
    monkeypatch.setattr(opening, "NOTED", 0.0)
    seen: list[float] = []

    def effect(task: Task) -> float:
        seen.append(json.loads((tmp_path / "out" / "improve.json").read_text())["seconds"])
        return 0.0

    improving(effect, [lr(0.3)])
    assert seen[0] == 0 and 0 < seen[1] < seen[2] < seen[-1]


def test_the_folder_of_another_improvement_is_refused(
    improving: Improve, data: Data, recipe: Recipe, tmp_path: Path
) -> None:
    improving(lambda t: 0.0, [])
    other = recipe.edit({"optim.lr": 0.123})
    with pytest.raises(FolderError, match=r"another recipe.*optim\.lr"):
        improve(data, other, out=tmp_path / "out", executor=Planted(tmp_path, lambda t: 0.0))


def test_edits_that_name_another_optimizer_stay_complete(data: Data) -> None:
    recipe = complete({"source": "wine", "optim.lr": 0.4, "optim.weight_decay": 0.02}, data.spec)
    changed = variants_module.edited(recipe, {"optim.name": "adam"}, data.spec)
    assert changed["optim.name"] == "adam" and "optim.momentum" not in changed
    assert changed["optim.lr"] != 0.4 and changed["optim.weight_decay"] == 0.02
    assert complete(changed, data.spec) == changed


def test_variants_are_unique_and_refused_ones_are_said(data: Data) -> None:
    recipe = complete({"source": "wine"}, data.spec)
    proposed = [
        (lr(0.3), "a"),
        (replace(lr(0.3), name="the same"), "b"),
        (lr(float(recipe["optim.lr"])), "no change"),
        (Remedy("bad", {"optim.lr": -1.0}), "c"),
    ]
    variants, refused = variants_module.variants_of(proposed, recipe, data.spec, round_number=1)
    assert [v.name for v in variants] == ["lr 0.3"]
    assert dict(variants[0].settings) == {"optim.lr": 0.3}
    assert len(refused) == 1 and "bad" in refused[0]


def test_every_trial_after_the_baseline_has_its_precision(improving: Improve) -> None:
    _, executor = improving(lambda t: 0.05 * (t.recipe["optim.lr"] == 0.3), [lr(0.3)])
    first, others = executor.ran[:5], executor.ran[5:]
    assert {t.precision for t in first} == {""} and {t.precision for t in others} == {"bfloat16"}


def test_scores_before_and_after_are_of_folds_that_selected_nothing(improving: Improve) -> None:
    def effect(task: Task) -> float:  # flattered on the screen's folds
        return (0.15 if task.repeat == 0 else 0.05) * (task.recipe["optim.lr"] == 0.3)

    result, _ = improving(effect, [lr(0.3)])
    assert {run.repeat for run in result.final_folds} == {1}
    assert {run.repeat for run in result.baseline_folds} == {1}
    gain = result.final["validation"]["accuracy"] - result.baseline["validation"]["accuracy"]
    assert gain == pytest.approx(0.05, abs=0.01)


def test_remedies_beyond_the_most_are_named(improving: Improve) -> None:
    result, executor = improving(lambda t: 0.0, [lr(0.1 + i / 100) for i in range(10)])
    assert len({t.variant for t in executor.ran}) == 1 + flow.MOST_REMEDIES
    (sentence,) = [s for s in result.sentences if "most promising" in s]
    assert "lr 0.18" in sentence and "lr 0.19" in sentence


def test_the_final_model_trains_for_the_epochs_that_the_folds_found() -> None:
    recipe = Recipe({"train.epochs": 20})
    runs = [Run(status="done", best_epoch=e, recipe=recipe) for e in (4, 9, 6)]
    assert epochs_found(runs) == 7
    assert epochs_found([Run(status="done", best_epoch=19, recipe=recipe)]) == 0  # all of them
    assert epochs_found([Run(status="failed")]) == 0


def test_an_effect_on_an_error_is_positive_where_it_fell() -> None:
    recipe = Recipe({"score.name": "rmse"})
    target = np.linspace(0, 1, 50)

    def off_by(error: float) -> Run:
        run, rows = Run(), np.arange(50)
        guess = target + error * np.where(rows % 2, 1, -1)
        run.predictions["test"] = Predictions(rows.astype(str), rows, target, guess, None, rows)
        return run

    found = paired_test(off_by(0.3), off_by(0.1), recipe)
    assert found["effect"] == pytest.approx(0.2) and found["low"] > 0


def test_without_a_test_part_the_final_model_has_no_score(
    improving: Improve, recipe: Recipe, tmp_path: Path, data: Data
) -> None:
    def effect(task: Task) -> float:
        return 0.05 if task.recipe["optim.lr"] == 0.5 else 0.0

    result, _ = improving(effect, [lr(0.5)], recipe=recipe.edit({"data.test": 0.0}))
    assert result.recipe["optim.lr"] == 0.5 and result.final["test"] == {}
    assert result.sentences[-1].startswith("There is no test part")
    assert result.run.held_out == result.final["validation"]
    assert Run(scores={"train": {"accuracy": 1.0}}).held_out == {}


def test_arms_that_saw_more_examples_or_steps_say_so() -> None:
    def run(examples: int, steps: int) -> Run:
        return Run(epochs=[{"examples": examples}], steps=[{"step": i} for i in range(steps)])

    assert unequal([run(100, 10)], [run(100, 10)]) == unequal([run(0, 0)], [run(5, 5)]) == ""
    assert unequal([run(100, 10)], [run(200, 20)]) == (
        "It had 2 times the examples and 2 times the steps of the baseline."
    )
    assert unequal([run(100, 10)], [run(100, 5)]) == "It had 0.5 times the steps of the baseline."


def test_trials_cost_what_their_own_recipe_took(recipe: Recipe) -> None:
    heavy = recipe.edit({"model.width": 512})
    budget = Budget(100)
    runs = [Run(status="done", seconds=s, epochs=[{}]) for s in (1.0, 9.0)]
    budget.learn([Task(recipe), Task(heavy, variant="heavy")], runs)
    budget.learn_overhead(runs, 10.0, 1)
    assert budget.cost([Task(heavy)] * 4, 1) == pytest.approx(36)
    assert budget.cost([Task(recipe)] * 4, 1) == pytest.approx(4)
    assert budget.cost([Task(recipe.edit({"model.width": 99}))], 1) == pytest.approx(5)
