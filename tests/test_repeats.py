"""Cross-validation repeated: partitions and seeds of their own, one mean and its interval."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fitwell as fw
from fitwell import store
from fitwell.cli.main import run as command
from fitwell.errors import SettingError
from fitwell.record import Run
from fitwell.trials.intervals import mean_intervals
from fitwell.trials.statistics import paired_verdict

SETTINGS = {"data.folds": 3, "data.repeats": 2, "train.epochs": 2, "train.seed": 5}


def test_every_repeat_has_a_partition_and_seed_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = fw.cv("wine", settings=SETTINGS, out=out)
    places = [(t.repeat, t.fold) for t in run.trials]
    assert places == [(r, f) for r in range(2) for f in range(3)]
    assert [t.seed for t in run.trials] == [5] * 3 + [5 + 7919] * 3
    held = [t.predictions["held_out"].index.tolist() for t in run.trials]
    everything = sorted(i for rows in held[:3] for i in rows)
    for repeat in (held[:3], held[3:]):
        assert sorted(i for rows in repeat for i in rows) == everything
    assert sorted(map(tuple, held[:3])) != sorted(map(tuple, held[3:]))
    once = run.predictions["held_out"].index  # of the first repeat: every example once
    assert once.tolist() == everything
    scores = [t.scores["held_out"]["accuracy"] for t in run.trials]
    assert run.scores["validation"]["accuracy"] == pytest.approx(np.mean(scores))
    document = json.loads((out / "cv.json").read_text("utf-8"))
    assert [(f["repeat"], f["fold"]) for f in document["folds"]] == places
    expected = paired_verdict(scores, 3, 2)
    assert expected.high is not None
    assert document["interval"]["validation"]["accuracy"] == pytest.approx(
        [expected.low, min(1.0, expected.high)]
    )
    parts = pl.read_parquet(out / "split.parquet")  # of the first repeat, as before
    assert set(parts["fold"].to_list()) == {-1, 0, 1, 2}
    assert len(store.open_run(out, trials=True).trials) == 6
    assert fw.diagnose(run).findings is not None


def test_the_table_names_the_repeat_and_the_first_is_a_plain_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [f"{key}={value}" for key, value in SETTINGS.items()]
    assert command(["cv", "wine", *given]) == 0
    text = capsys.readouterr().out
    assert "2 repeats of 3 folds" in text and "The mean lies between" in text
    assert "repeat  fold" in text
    once = fw.cv("wine", settings={**SETTINGS, "data.repeats": 1})
    again = store.open_run(tmp_path / "runs" / "wine-mlp-1", trials=True)
    assert [t.scores["held_out"] for t in once.trials] == [
        t.scores["held_out"] for t in again.trials[:3]
    ]
    assert command(["show", "runs/wine-mlp-2"]) == 0
    assert "repeat" not in capsys.readouterr().out


def test_an_interrupted_repeat_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    whole = fw.cv("wine", settings=SETTINGS, out=out)
    (out / "report.html").unlink()
    shutil.rmtree(out / "trials" / "baseline-r1-f2")
    again = fw.resume(out)
    assert [t.scores for t in again.trials] == [t.scores for t in whole.trials]


def test_what_is_out_of_range_is_refused() -> None:
    for value in (0, 21):
        with pytest.raises(SettingError, match=r"data\.repeats"):
            fw.cv("wine", settings={"data.repeats": value})


def test_intervals_need_every_score() -> None:
    runs = [
        Run(repeat=r, fold=f, scores={"held_out": {"accuracy": 0.9 + 0.01 * f + 0.03 * r}})
        for r in range(2)
        for f in range(3)
    ]
    low, high = mean_intervals(runs)["accuracy"]
    assert low < 0.925 < high <= 1
    assert mean_intervals(runs[:5]) == {} and mean_intervals([]) == {}
    runs[0].scores = {}
    assert mean_intervals(runs) == {}
