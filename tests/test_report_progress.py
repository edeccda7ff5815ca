"""The progress display: counting, time left, the way that is better, and where it writes."""

import io
from typing import Any

import pytest
from rich.console import Console

from fitwell.report import progress
from fitwell.report.progress import LineProgress, LiveProgress, Standing, display


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def told(*events: tuple[str, dict[str, Any]]) -> str:
    file = io.StringIO()
    lines = LineProgress(file)
    for event, facts in events:
        lines(event, **facts)
    return file.getvalue()


def test_time_left_is_the_pace_so_far_carried_on(clock: list[float]) -> None:
    standing = Standing()
    standing.update("phase", {"name": "screen", "total": 10, "round": 2})
    assert standing.seconds_left is None
    clock[0] += 6.0
    standing.update("trial", {"name": "a", "score": 0.5})
    standing.update("trial", {"name": "b", "score": 0.5})
    assert (standing.done, standing.total) == (2, 10)
    assert standing.seconds_left == pytest.approx(3.0 * 8)
    assert standing.phase == "Screening remedies, round 2"


def test_trials_that_nobody_announced_are_counted_too() -> None:
    standing = Standing()
    standing.update("phase", {"name": "confirm", "total": 1})
    for _ in range(3):
        standing.update("trial", {})
    assert (standing.done, standing.total, standing.seconds_left) == (3, 3, 0.0)


def test_given_counts_and_times_are_believed() -> None:
    standing = Standing()
    standing.update("phase", {"name": "screen", "total": 10})
    standing.update("trial", {"done": 7, "total": 8, "seconds_left": 3.5})
    assert (standing.done, standing.total, standing.seconds_left) == (7, 8, 3.5)


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 0.9), ("rmse", 0.2)])
def test_best_is_the_better_one_of_the_metric(metric: str, best: float) -> None:
    standing = Standing()
    for score in (0.5, 0.9, 0.2, None):
        standing.update("best", {"metric": metric, "score": score})
    assert standing.best == best


def test_what_runs_and_what_leads_is_known() -> None:
    standing = Standing()
    standing.update("best", {"score": 0.5, "metric": "accuracy"})
    standing.update("phase", {"name": "screen", "total": 9})
    for name, fold in (("a", 0), ("b", 0), ("a", 1)):
        standing.update("start", {"name": name, "fold": fold})
    assert standing.running == ["a, fold 0", "b, fold 0", "a, fold 1"]
    for name, fold, score in (("b", 0, 0.7), ("a", 0, 0.9), ("a", 1, 0.3)):
        standing.update("trial", {"name": name, "fold": fold, "score": score})
    assert standing.running == []
    assert standing.leading == pytest.approx(0.7)  # not the luckiest fold
    standing.update("left", {"total": 2})
    assert (standing.done, standing.total) == (3, 5)
    standing.update("phase", {"name": "final", "total": 1})
    assert standing.leading == 0.5


def test_a_new_phase_counts_from_zero() -> None:
    standing = Standing()
    standing.update("phase", {"name": "baseline", "total": 5})
    standing.update("trial", {"name": "a"})
    standing.update("phase", {"name": "final", "total": 2})
    assert (standing.phase, standing.done, standing.total) == ("Final model", 0, 2)


def test_lines_tell_phases_trials_epochs_best_and_notes() -> None:
    text = told(
        ("phase", {"name": "baseline", "total": 2}),
        ("trial", {"name": "baseline", "fold": 0, "score": 0.51, "metric": "accuracy"}),
        ("trial", {"name": "baseline", "fold": 1, "score": None, "failure": "nan"}),
        ("epoch", {"epoch": 1, "epochs": 3, "loss": 0.5, "lr": 0.1, "waiting": 0.25}),
        ("best", {"score": 0.51, "metric": "accuracy"}),
        ("note", {"text": "relu is adopted"}),
        ("unheard of", {"some": "thing"}),
        ("end", {}),
    )
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "Baseline on every fold (2 trials)"
    assert lines[1].startswith("1/2  baseline, fold 0: accuracy 0.510")
    assert "fold 1: failed" in lines[2]
    assert lines[3] == "epoch 1/3  loss 0.500  lr 0.1  25 % waiting"
    assert lines[4:] == ["best so far 0.510", "relu is adopted"]


def test_a_display_never_ends_a_run() -> None:
    for event in ("phase", "trial", "epoch", "best", "note", "end"):
        told((event, {}), (event, {"score": None, "waiting": None, "total": None, "name": None}))


def test_the_live_display_shows_what_runs_and_keeps_what_ended(clock: list[float]) -> None:
    file = io.StringIO()
    live = LiveProgress(Console(file=file, width=100, force_terminal=False))
    live("phase", name="baseline", total=4)
    clock[0] += 2.0
    live("trial", name="baseline", fold=0, metric="accuracy", score=0.4, waiting=0.1)
    live("best", score=0.41, metric="accuracy")
    live.console.print(live.live.get_renderable())
    text = file.getvalue()
    for said in (
        "Baseline on every fold",
        "1/4",
        "6.0 s left",
        "best so far 0.410",
        "10 % waiting",
    ):
        assert said in text
    live("phase", name="screen", total=8)
    assert "✓ Baseline on every fold, 1 trial, 2.0 s" in file.getvalue()


def test_progress_goes_to_stderr_and_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with display() as tell:
        tell("phase", name="baseline", total=1)
    with display(quiet=True) as tell:
        tell("phase", name="final", total=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Baseline on every fold (1 trials)\n"
