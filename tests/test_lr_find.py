"""The learning-rate finder: the rule over seeds, its range and verdict, what it refuses, and its use."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from findings_rows import folds, forgetful, range_rows
from scipy import stats

import fitwell as fw
from fitwell.api import ranging
from fitwell.cli.main import run as command
from fitwell.errors import DataError, FolderError, Interrupted, SettingError
from fitwell.experiments import range_test
from fitwell.experiments.range_test import StepFunction, smoothed, window_of
from fitwell.findings import RULES
from fitwell.lr_range import asked_by, lr_range, place_of
from fitwell.record import Finding, Row
from fitwell.remedies import remedies_for
from fitwell.resolve import complete
from fitwell.spec import Spec

IMAGES = Spec("images", "classification", (1, 8, 8), tuple("abc"), num_examples=1797)
LINEAR = {"model": "linear", "settings": {"train.threads": 1}}


def rows_of(*breaks: float | None, steepest: float | None = 1.0) -> list[Row]:
    return [
        {"seed": s, "steepest_lr": steepest and b and steepest * b, "divergence_lr": b}
        for s, b in enumerate(breaks)
    ]


def test_the_rate_is_the_geometric_mean_and_its_interval_student_s() -> None:
    breaks = [0.16, 0.4, 1.0]
    found = lr_range(rows_of(*breaks))
    assert found.lr == pytest.approx(0.04)
    logs = np.log(breaks) - math.log(10)
    twin = stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(twin)))
    close = lr_range(rows_of(0.5, 0.5, 0.5))
    assert close.low is not None and close.high is not None and close.low < 0.05 < close.high
    assert lr_range(rows_of(*[50 * b for b in breaks])).lr == pytest.approx(2.0)


def test_a_loss_that_fell_long_before_it_broke_asks_for_less() -> None:
    assert asked_by({"steepest_lr": 0.5, "divergence_lr": 1.0}) == pytest.approx(0.1)
    assert asked_by({"steepest_lr": 1e-4, "divergence_lr": 1.0}) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (rows_of(0.3, 0.3, 0.3, steepest=None), "fell clearly with 0 of 3 seeds"),
        (rows_of(None, None, None), "fell clearly with 0"),
        ([{"steepest_lr": 0.1, "divergence_lr": None}] * 3, "broke with 0 of 3 seeds"),
        (rows_of(0.01, 0.1, 1.0), "disagree: what they ask for lies 100 times apart"),
        (rows_of(0.3), "One seed"),
        ([], "One seed"),
    ],
)
def test_what_says_nothing_gives_no_verdict(rows: list[Row], why: str) -> None:
    found = lr_range(rows)
    assert found.lr is None and found.low is None and found.high is None
    assert why in found.why
    assert place_of(0.1, found) == ("no verdict", "low")


def test_the_place_of_a_rate_and_how_sure_it_is() -> None:
    found = lr_range(rows_of(0.5, 0.5, 0.5))
    assert [place_of(rate, found) for rate in (1e-4, 0.05, 0.5)] == [
        ("too low", "high"),
        ("within", "high"),
        ("too high", "high"),
    ]
    one_mute = lr_range([*rows_of(0.5, 0.5), *rows_of(None)])
    assert place_of(0.05, one_mute) == ("within", "medium")
    apart = lr_range(rows_of(0.2, 0.5, 1.5))
    assert apart.high is not None and place_of(0.9 * apart.high, apart) == ("within", "low")


def falling(seed: int, breaks_at: float, spikes: tuple[int, ...] = ()) -> StepFunction:
    """A noisy loss that falls from a hundredth of `breaks_at` on, and is lost there."""
    random, steps = np.random.default_rng(seed), iter(range(10**6))

    def step(lr: float) -> float:
        share = np.clip(math.log10(lr / breaks_at) / 2 + 1, 0, 1)
        loss = 2.0 - share if lr < breaks_at else 5.0
        return loss + 0.05 * random.normal() + 100.0 * (next(steps) in spikes)

    return step


def test_rates_rise_by_one_factor_and_on_where_nothing_broke() -> None:
    span = {"low": 1e-5, "high": 1e-2, "steps": 100, "beyond": 100.0}
    near, far = (range_test(lambda s, b=b: falling(s, b), **span)[0] for b in (1e-3, 0.3))  # type: ignore[misc]
    for row in (near, far):
        ratios = np.array(row["lr"][1:]) / row["lr"][:-1]
        assert ratios == pytest.approx((1e-2 / 1e-5) ** (1 / 99))
    assert near["divergence_lr"] == pytest.approx(1e-3, rel=0.2)
    assert near["lr"][-1] == pytest.approx(1e-2)
    assert far["divergence_lr"] == pytest.approx(0.3, rel=0.2) and far["lr"][-1] < 0.7
    never = range_test(lambda seed: lambda lr: 2.0, **span)[0]  # type: ignore[arg-type]
    assert never["lr"][-1] == pytest.approx(1.0) and never["divergence_lr"] is None


@pytest.mark.parametrize("steps", [100, 300, 600])
def test_spikes_and_more_steps_change_little(steps: int) -> None:
    for spikes in ((), (3, 4), (steps // 3, steps // 3 + 1, steps // 3 + 2)):
        rows = range_test(lambda s, at=spikes: falling(s, 0.5, at), steps=steps)
        found = lr_range(rows)
        assert found.lr == pytest.approx(0.05, rel=0.25)
        assert all(0.005 < row["steepest_lr"] < 0.5 for row in rows)


def test_a_loss_below_zero_is_as_good_as_one_above() -> None:
    """A log-likelihood of densities."""

    def below(seed: int) -> StepFunction:
        step = falling(seed, 0.5)
        return lambda lr: step(lr) - 4.0

    assert lr_range(range_test(below, steps=100)).lr == pytest.approx(0.05, rel=0.25)


def test_a_loss_of_nought_never_fell() -> None:
    rows = range_test(lambda seed: lambda lr: 0.0)
    assert {row["steepest_lr"] for row in rows} == {None}
    assert lr_range(rows).why == "The loss fell clearly with 0 of 3 seeds."


def test_the_median_covers_one_share_of_a_decade() -> None:
    assert [window_of(np.geomspace(1e-5, 10, n)) for n in (50, 100, 300)] == [7, 7, 21]
    spiked = [1.0] * 40 + [9.0] * 10 + [1.0] * 40
    assert smoothed(spiked, 21).tolist() == [1.0] * 90 and smoothed(spiked).max() == 9.0


@pytest.fixture(scope="module")
def found() -> ranging.LrFound:
    return fw.lr_find("breast-cancer", **LINEAR, steps=100)


def test_a_real_source_gets_a_rate_and_a_verdict(found: ranging.LrFound) -> None:
    assert found.low and found.lr and found.high and found.low < found.lr < found.high
    # Trainings of 0.01 to 0.1 reach the highest accuracies (benchmarks/lr_find.py).
    assert 0.005 < found.lr < 1.0
    assert len(found.rows) == 3 and found.recipe_lr == 0.05
    document = json.loads(json.dumps(found.to_json()))
    assert document["lr"] == found.lr and document["verdict"] == found.verdict == "within"
    assert {"lr", "low", "high", "confidence", "recipe_lr", "seeds", "why"} <= set(document)
    assert "0.05 lies within the range" in repr(found)


@pytest.mark.parametrize(("lr", "verdict"), [(1e-6, "too low"), (100.0, "too high")])
def test_another_rate_of_the_recipe_changes_the_verdict_alone(
    lr: float, verdict: str, found: ranging.LrFound
) -> None:
    settings = {"optim.lr": lr, "train.threads": 1}
    other = fw.lr_find("breast-cancer", model="linear", settings=settings, steps=100)
    assert (other.lr, other.verdict, other.confidence) == (found.lr, verdict, "high")
    assert verdict in other.sentence


def test_the_same_call_gives_the_same_and_another_seed_not(found: ranging.LrFound) -> None:
    assert fw.lr_find("breast-cancer", **LINEAR, steps=100) == found
    seeded = {"train.threads": 1, "train.seed": 7}
    assert (
        fw.lr_find("breast-cancer", model="linear", settings=seeded, steps=100).rows != found.rows
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--low", "1", "--high", "0.1"), "low = 1: must lie below high = 0.1"),
        (("--low", "0"), "low = 0: must be a rate between"),
        (("--high", "nan"), "high = nan: must be a rate"),
        (("--high", "much"), "high = much: must be a rate"),
        (("--steps", "30"), "steps = 30: must be a whole number from 60"),
        (("--seeds", "1"), "seeds = 1: must be a whole number from 2"),
        (("--seeds", "2.5"), "seeds = 2.5: must be a whole number"),
        (("--out", "picture.txt"), "out = picture.txt: must be a picture's file"),
        (("--out", "nowhere/picture.png"), "there is no folder nowhere"),
        (("optim.lrr=1",), "optim.lrr: optim has no such setting. Did you mean lr?"),
        (("train.batch_size=9999",), "train.batch_size = 9999: larger than"),
    ],
)
def test_what_is_wrong_is_said_before_any_step(
    asked: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ranging, "_tested", lambda *_: pytest.fail("a step was made"))
    assert command(["lr-find", "breast-cancer", *asked, "--json", "-q"]) == 2
    out, err = capsys.readouterr()
    assert said in err and said in json.loads(out)["error"]["message"]
    assert not list(tmp_path.iterdir())


def test_sources_that_cannot_be_trained_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("a,b,label\n1,2,x\n")
    with pytest.raises((DataError, SettingError)):
        fw.lr_find(str(tmp_path / "one.csv"))
    with pytest.raises(DataError):
        fw.lr_find(str(tmp_path / "missing.csv"))
    (tmp_path / "gaps.csv").write_text(
        "a,label\n" + "".join(f"nan,{'xy'[i % 2]}\n" for i in range(60))
    )
    with pytest.raises(DataError):
        fw.lr_find(str(tmp_path / "gaps.csv"))
    run = replace(folds()[0], recipe=None)
    with pytest.raises(FolderError, match="no recipe"):
        fw.lr_find(run)


NETS = """
import torch
from torch import nn

class Deaf(nn.Module):
    "Says the same whatever its weights are."
    def __init__(self, spec):
        super().__init__()
        self.layer = nn.Linear(spec.input_shape[0], spec.num_outputs)
        self.scale = float("nan") if spec.num_outputs < 0 else 0.0
    def forward(self, x):
        return self.layer(x) * self.scale

class Nan(Deaf):
    "Not a number from the first step on."
    def forward(self, x):
        return self.layer(x) * float("nan")
"""


@pytest.mark.parametrize(
    ("net", "why"), [("Deaf", "nothing was learned"), ("Nan", "broke at once")]
)
def test_a_loss_that_never_falls_gives_no_verdict(
    net: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "lr_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["lr-find", "breast-cancer", f"model=lr_nets:{net}", "--steps", "60", "--out", "a.png"]
    assert command([*words, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["lr"] is document["low"] is document["high"] is None
    assert document["verdict"] == "no verdict" and "fell clearly with 0" in document["why"]
    assert command([*words, "-q"]) == 0
    assert why in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*_: object) -> list[Row]:
        raise KeyboardInterrupt

    monkeypatch.setattr(ranging, "_tested", interrupted)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted):
        fw.lr_find("breast-cancer", out="a.png")
    assert command(["lr-find", "breast-cancer", "--json", "-q"]) == 130
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "interrupted"
    assert not list(tmp_path.iterdir())


def test_the_table_and_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.svg"):
        words = ["lr-find", "breast-cancer", "model=linear", "train.threads=1", "--steps", "100"]
        assert command([*words, "--out", name]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("optim.lr=") and f"Picture: {name}" in out and "seed 2" in err
        assert max(map(len, out.splitlines())) <= 80
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    drawn = Path("c.svg").read_text(encoding="utf-8")
    assert "recipe: 0.05" in drawn and "3 seeds" in drawn


def test_remedies_try_the_rate_of_the_range_test() -> None:
    high = [forgetful(seed) for seed in range(5)]
    for run in high:
        assert run.recipe is not None
        run.recipe = run.recipe.edit({"optim.lr": 0.3})
    high[0].evidence += range_rows(0.2)
    finding = RULES["lr_too_high"](high)
    assert isinstance(finding, Finding)
    assert finding.evidence["range_lr"] == pytest.approx(0.02)
    recipe = complete({"model.name": "lenet", "optim.lr": 0.3}, IMAGES)
    rates = [dict(r.settings).get("optim.lr") for r in remedies_for(finding, recipe, IMAGES)]
    assert rates[0] == 0.02
    low = folds(end=0.6, updates=(5e-3, 5e-3, 5e-3), train=0.99)
    low[0].evidence += range_rows(6.0)
    finding = RULES["lr_too_low"](low)
    assert isinstance(finding, Finding)
    assert finding.evidence["range_lr"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("name", "lr", "asked", "place"),
    [
        ("lr_too_low", 1e-3, 0.04, 1),  # behind what the measured updates ask for
        ("lr_too_high", 0.5, 0.04, 0),
        ("lr_too_low", 0.03, 0.04, None),  # less than 1.5 times as much
        ("lr_too_low", 0.4, 0.04, None),  # the other way
        ("lr_too_high", 0.01, 0.04, None),
    ],
)
def test_it_is_an_early_guess_where_it_differs(
    name: str, lr: float, asked: float, place: int | None
) -> None:
    recipe = complete({"model.name": "lenet", "optim.lr": lr}, IMAGES)
    evidence = {"update_ratio": 3e-5, "divergence_lr": 0.4, "range_lr": asked}
    finding = Finding(name, "high", evidence, "")
    edits = [dict(remedy.settings) for remedy in remedies_for(finding, recipe, IMAGES)]
    rates = [edit["optim.lr"] for edit in edits if set(edit) == {"optim.lr"}]
    assert (rates.index(asked) if asked in rates else None) == place


def test_one_seed_that_never_fell_does_not_silence_the_others() -> None:
    found = lr_range([*rows_of(0.5, 0.6), *rows_of(0.4, steepest=None)])
    assert found.lr == pytest.approx(math.sqrt(0.05 * 0.06)) and found.asked[2] is None
