"""Scores that others measured: read, refused, judged as ours are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fitwell as fw
from fitwell.cli.main import run
from fitwell.errors import DataError, SettingError
from fitwell.record import Verdict
from fitwell.report.wording import equivalence as sentence_of
from fitwell.trials.statistics import equivalence, paired_verdict

FIRST = [0.91, 0.92, 0.90, 0.93, 0.91]
SECOND = [0.93, 0.925, 0.92, 0.94, 0.93]


def test_lists_and_files_are_judged_alike(tmp_path: Path) -> None:
    told = fw.compare(FIRST, SECOND)
    assert told.decision == "helps" and told.effect == pytest.approx(0.015)
    expected = paired_verdict(np.subtract(SECOND, FIRST).tolist(), 5, 1)
    assert (told.low, told.high, told.p) == pytest.approx((expected.low, expected.high, expected.p))
    (tmp_path / "a.csv").write_text("accuracy\n" + "\n".join(map(str, FIRST)) + "\n")
    (tmp_path / "a.txt").write_text(" ".join(map(str, FIRST)))
    folds = [{"train": {}, "validation": {"accuracy": value}} for value in SECOND]
    (tmp_path / "b.json").write_text(json.dumps({"folds": folds, "mean": {}}))
    for name in ("a.csv", "a.txt"):
        again = fw.compare(tmp_path / name, tmp_path / "b.json")
        assert (again.effect, again.p) == (told.effect, told.p) and again.remedy == "b.json"
    assert fw.compare(np.array(FIRST), tuple(SECOND)).p == told.p


def test_errors_are_better_when_lower_and_repeats_count() -> None:
    told = fw.compare(FIRST, SECOND, settings={"score.name": "rmse"})
    assert told.decision == "hurts" and told.effect == pytest.approx(-0.015)
    twice = fw.compare(FIRST * 2, SECOND * 2)
    assert twice.trials == 10
    differences = np.subtract(SECOND, FIRST).tolist()
    assert twice.p == pytest.approx(paired_verdict(differences * 2, 5, 2).p)


@pytest.mark.parametrize("middle", [0.003, -0.02])
def test_without_a_region_the_odds_are_those_of_the_test(middle: float) -> None:
    values = (np.random.default_rng(0).normal(0, 0.01, 15) + middle).tolist()
    found, tested = equivalence(values, 5, 3, 0.0), paired_verdict(values, 5, 3)
    assert tested.p is not None
    wrong = "worse" if np.mean(values) > 0 else "better"
    assert found[wrong] == pytest.approx(tested.p / 2) and found["equal"] == pytest.approx(0)


def test_the_odds_are_areas_of_the_posterior() -> None:
    values = np.random.default_rng(1).normal(0.004, 0.01, 15)
    found = equivalence(values.tolist(), 5, 3, 0.005)
    error = values.std(ddof=1) * np.sqrt(1 / 15 + 1 / 4)
    drawn = values.mean() + error * stats.t.rvs(14, size=400_000, random_state=2)
    shares = [(drawn < -0.005).mean(), (abs(drawn) <= 0.005).mean(), (drawn > 0.005).mean()]
    assert [found[k] for k in ("worse", "equal", "better")] == pytest.approx(shares, abs=0.003)
    assert sum(found[k] for k in ("worse", "equal", "better")) == pytest.approx(1)


def test_equal_arms_are_equal() -> None:
    told = fw.compare(FIRST, FIRST)
    assert told.decision == "no evidence" and told.p is None
    assert told.equivalence["equal"] == 1
    shifted = fw.compare(FIRST, [value + 0.02 for value in FIRST])
    assert shifted.decision == "no evidence" and shifted.equivalence["better"] == 1


def test_a_verdict_says_its_region() -> None:
    told = fw.compare(FIRST, SECOND)
    assert sentence_of(told).startswith("Where 0.005 and less counts as equal: worse below 1 %")
    assert Verdict.from_json(told.to_json()) == told
    old = {k: v for k, v in told.to_json().items() if k != "equivalence"}
    assert sentence_of(Verdict.from_json(old)) == ""


@pytest.mark.parametrize(
    ("first", "second", "settings", "error", "says"),
    [
        (FIRST, SECOND[:4], {}, DataError, "5 scores and .* 4: each pair"),
        (FIRST, SECOND, {"data.folds": 4}, SettingError, "data.folds = 4: 5 scores"),
        (FIRST, SECOND, {"optim.lr": 1}, SettingError, "optim.lr: .*have no such setting"),
        (FIRST, [0.9, 0.9, None, 0.9, 0.9], {}, DataError, "score 3: None is no number"),
        (FIRST, [0.9, 0.9, float("nan"), 0.9, 0.9], {}, DataError, "score 3: nan is no number"),
        (FIRST, [91, 92, 93, 94, 95], {}, DataError, "score 1: 91 is above 1, .*Divide per cents"),
        (FIRST, "digits", {}, DataError, "digits is no list of scores"),
        ("runs/none", FIRST, {}, DataError, "runs/none is no list of scores"),
        (FIRST, "absent.json", {}, DataError, "There is no file absent.json"),
    ],
)
def test_what_cannot_be_compared(
    first: Any, second: Any, settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        fw.compare(first, second, settings=settings)


def test_files_that_hold_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.json"
    good.write_text(" ".join(map(str, FIRST)))
    bad.write_text("{")
    assert run(["compare", str(good), str(bad)]) == 2
    assert "is no JSON" in capsys.readouterr().err
    bad.write_text("3")
    assert run(["compare", str(good), str(bad)]) == 2
    assert "holds no scores" in capsys.readouterr().err
    for folds in ("[0.9, 0.8]", "3", '[{"train": {}}]'):
        bad.write_text(f'{{"folds": {folds}}}')
        assert run(["compare", str(good), str(bad)]) == 2
        assert "not those that `cv --json` prints" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("")
    assert run(["compare", str(good), str(tmp_path / "empty.txt")]) == 2
    assert "empty.txt 0: each pair" in capsys.readouterr().err
