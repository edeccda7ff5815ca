"""The main job from the command line: real trainings in real worker processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import fitwell as fw
from fitwell.api import resuming
from fitwell.cli.main import run
from fitwell.improve import read_improvement

OPTIONS = ["wine", "train.epochs=4", "data.folds=3", "optim.lr=0.0003"]
SICK = ["model.activation=sigmoid", "optim.lr=0.01"]
CONTRACT = {"run", "report", "findings", "baseline", "final", "verdicts"}
DECISIONS = {"helps", "hurts", "no evidence", "screened out", "stopped early", "unconfirmed"}


def improved(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["improve", *arguments, "--out", str(folder), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def resumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["resume", str(folder), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def results(document: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on interruptions: all but places, times and the number of looks."""
    moving = {"run", "report", "seconds", "test_looks", "sentences"}
    return {key: value for key, value in document.items() if key not in moving}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished improvement of a start with a learning rate that is far too low."""
    folder = tmp_path_factory.mktemp("improved") / "run"
    os.environ["FITWELL_CACHE"] = str(folder.parent / "cache")
    try:
        assert run(["improve", *OPTIONS, "--out", str(folder), "--quiet"]) == 0
    finally:
        del os.environ["FITWELL_CACHE"]
    return folder


def test_improve_proves_a_remedy_and_hands_over_the_model(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = resumed(whole, capsys)
    assert set(said) >= CONTRACT
    assert {v["decision"] for v in said["verdicts"]} <= DECISIONS
    helped = [v for v in said["verdicts"] if v["decision"] == "helps"]
    assert helped and all(v["low"] > 0 and v["trials"] == 9 for v in helped)
    metric = helped[0]["metric"]
    assert said["final"]["validation"][metric] > said["baseline"]["validation"][metric] + 0.1
    assert said["final"]["test"][metric] > said["baseline"]["test"][metric]
    names = {p.name for p in whole.iterdir()}
    assert names >= set(
        "format recipe.toml run.json improve.json findings.json verdicts.json trials log.txt "
        "best.safetensors last call.json split.parquet preprocess spec.json predictions report.html".split()
    )
    assert "Split: At random, stratified" in (whole / "log.txt").read_text(encoding="utf-8")
    assert json.loads((whole / "verdicts.json").read_text()) == said["verdicts"]
    split = pl.read_parquet(whole / "split.parquet")
    assert len(split) == 178 and set(split["fold"]) == {-1, 0, 1, 2}
    tested = pl.read_parquet(whole / "predictions" / "test.parquet")["index"]
    assert set(tested) == set(split.filter(pl.col("part") == "test")["index"])
    assert run(["show", str(whole)]) == 0
    assert run(["diagnose", str(whole)]) == 0


def test_a_second_improvement_does_not_enter_a_folder_in_use(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
    assert run(["improve", "wine", "--out", str(whole)]) == 2
    assert "--out" in capsys.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_killed_improvement_goes_on_and_ends_the_same(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "fitwell", "improve", *OPTIONS, "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while len(list(folder.glob("trials/*/run.json"))) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    done = {p: p.stat().st_mtime_ns for p in folder.glob("trials/*/run.json")}
    assert len(done) >= 8 and not (folder / "report.html").exists()
    time.sleep(1)  # workers see that the parent is gone, and leave
    after = resumed(folder, capsys)
    kept = [p for p, written in done.items() if p.stat().st_mtime_ns == written]
    assert len(kept) >= len(done) - 1  # finished trials are not run again
    assert results(after) == results(resumed(whole, capsys))


def test_a_finished_improvement_is_read_and_not_run_again(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
    again = resumed(whole, capsys)
    after = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
    assert after == before
    assert again["seconds"] == resumed(whole, capsys)["seconds"]


def test_other_data_under_the_same_name_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    call = json.loads((copy / "call.json").read_text())
    (copy / "call.json").write_text(json.dumps({**call, "data": "0" * 64}))
    state = json.loads((copy / "improve.json").read_text())
    (copy / "improve.json").write_text(json.dumps({**state, "status": "running"}))
    assert run(["resume", str(copy)]) == 2
    assert "has changed" in capsys.readouterr().err


def test_the_folder_is_diagnosed_as_the_improvement_is(whole: Path) -> None:
    from fitwell.api.judging import _each
    from fitwell.api.results import Improvement

    improvement = fw.resume(whole)
    assert isinstance(improvement, Improvement)
    assert [r.folder for r in _each(whole)] == [r.folder for r in improvement.final_folds]
    assert len(_each(whole)) == 3
    assert not {"underfitting", "lr_too_high"} & {n.name for n in fw.diagnose(whole).not_assessed}
    folds = fw.diagnose(improvement)
    assert [f.to_json() for f in fw.diagnose(whole)] == [f.to_json() for f in folds]


def test_an_improvement_shows_itself_in_a_notebook(whole: Path) -> None:
    page = fw.resume(whole)._repr_html_()
    assert "helps" in page and "<table>" in page and "accuracy" in page


def test_an_ended_improvement_goes_on_for_more_than_it_had_alone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def improved(start: object, folder: Path, limit: object, *rest: object, **named: Any) -> Any:
        asked.append({"limit": str(limit), **named})
        return fw.Improvement(read_improvement(folder))

    monkeypatch.setattr(resuming, "improved", improved)
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    call = json.loads((folder / "call.json").read_text())
    (folder / "call.json").write_text(json.dumps({**call, "budget": "40trials", "controls": True}))
    for budget in (None, "40trials", "30trials"):
        fw.resume(folder, budget=budget)
    assert asked == []
    fw.resume(folder, budget="41trials")
    assert asked == [{"limit": "41trials", "controls": True, "more": True}]
    assert json.loads((folder / "call.json").read_text())["budget"] == "41trials"


@pytest.mark.slow
def test_a_sick_start_on_digits_is_named_and_cured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = improved(tmp_path / "sick", capsys, "digits", *SICK)
    named = {f["name"]: f["confidence"] for f in sick["findings"]}
    assert named["vanishing_gradient"] == "high" and named["lr_too_low"] == "high"
    assert (
        sick["findings"][0]["name"] == "vanishing_gradient"
    )  # and what is no fault stands nowhere
    assert [v for v in sick["verdicts"] if v["decision"] == "helps"]
    assert run(["cv", "digits", "--out", str(tmp_path / "cv"), "--json", "--quiet"]) == 0
    healthy = json.loads(capsys.readouterr().out)["mean"]["validation"]["accuracy"]
    assert sick["final"]["validation"]["accuracy"] >= healthy - 0.01
    page = Path(sick["report"]).read_text()
    # Each mistake beside where the network looked.
    assert page.count('alt="row ') == page.count('alt="Grad-CAM for ') > 0
