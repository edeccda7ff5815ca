"""Cross-validation over sizes and settings, and what twice the data would bring."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import fitwell as fw
from fitwell import store
from fitwell.api.start import begin
from fitwell.api.varying import points_of, values_of
from fitwell.cli.main import run as command
from fitwell.data import read
from fitwell.data.split import Rows, fewer, fold_rows
from fitwell.errors import SettingError
from fitwell.metrics import METRICS
from fitwell.report.html import write_report
from fitwell.report.varying import varied
from fitwell.resolve import complete
from fitwell.trials.statistics import Interval
from fitwell.trials.varying import shortened, size_points, twice

RNG = np.random.default_rng

FAST = {"train.epochs": 2, "data.folds": 3, "model.name": "mlp"}


def test_parts_of_the_training_examples_are_nested_and_stratified() -> None:
    data = read("digits")
    rows = fold_rows(data, {}, fold=1, repeat=0, seed=3)
    assert fewer(data, rows, 0) == fewer(data, rows, 10**6) == rows
    before = np.empty(0, int)
    for count in (50, 51, 200, 600):
        part = fewer(data, rows, count)
        assert len(part.train) == len(set(part.train)) == count
        assert set(before) <= set(part.train) <= set(rows.train)
        assert (np.diff(part.train) > 0).all()
        assert (part.held_out == rows.held_out).all()
        assert len(part.validation) == round(count / len(rows.train) * len(rows.validation))
        shares = np.bincount(data.targets[part.train], minlength=10) / count
        whole = np.bincount(data.targets[rows.train], minlength=10) / len(rows.train)
        assert abs(shares - whole).max() <= 1 / count + 0.005
        before = part.train


def test_parts_of_numbers_and_of_no_validation_rows() -> None:
    data = read("diabetes")
    rows = Rows(np.arange(0, 400, 2), np.empty(0, np.int64), np.arange(1, 400, 2))
    part = fewer(data, rows, 30)
    assert len(part.train) == 30 and not len(part.validation)
    # From all over, not the first ones.
    assert abs(part.train.mean() - 199) < 60


def rows_of(scores: np.ndarray, sizes: np.ndarray) -> list[dict[str, Any]]:
    """The rows of `vary` for [fold, size] scores."""
    return [
        {
            "experiment": "vary",
            "name": "sizes",
            "value": int(n),
            "validation": scores[:, i].tolist(),
        }
        for i, n in enumerate(sizes)
    ]


SIZES = np.array([90, 180, 360, 720, 1440])


def test_twice_recovers_a_power_law() -> None:
    for power in (0.2, 0.5, 1.0):
        errors = 0.03 + 2 * SIZES**-power
        shift = np.array([0.001, -0.001, 0.0])[:, None]  # of the folds
        gain = twice(rows_of(1 - errors + shift, SIZES), METRICS["accuracy"])
        true = errors[-1] - (0.03 + 2 * 2880.0**-power)
        assert isinstance(gain, Interval) and gain.effect == pytest.approx(true, rel=0.05)
        lower = twice(rows_of(errors + shift, SIZES), METRICS["rmse"])
        assert isinstance(lower, Interval) and lower.effect == pytest.approx(true, rel=0.05)


def test_its_interval_holds_what_comes_and_a_flat_curve_raises_no_hope() -> None:
    """Simulated folds of 300 held-out examples, 300 curves of either kind."""
    rng = np.random.default_rng(0)
    held, hopes = 0, 0
    for _ in range(300):
        for rest, share in ((0.02, 3.0), (0.1, 0.0)):
            error = rest + share * SIZES**-0.6
            scores = 1 - rng.binomial(300, error, (5, 5)) / 300
            gain = twice(rows_of(scores, SIZES), METRICS["accuracy"])
            if isinstance(gain, str):  # folds without a spread
                low = high = 0.0
            else:
                low, high = (0.0 if end is None else end for end in (gain.low, gain.high))
            true = share * (1440.0**-0.6 - 2880.0**-0.6)
            held += bool(share) and low <= true <= high
            hopes += not share and low > 0
    assert held >= 0.93 * 300
    assert hopes <= 0.05 * 300


def test_twice_says_why_nothing_can_be_said_of_it() -> None:
    scores = np.full((3, 5), 0.9)
    few = twice(rows_of(scores[:, :2], SIZES[:2]), METRICS["accuracy"])
    assert isinstance(few, str) and few.endswith("and there are 2")
    scores[1, 2] = np.nan
    assert twice(rows_of(scores, SIZES), METRICS["accuracy"]) == "not every fold has a score"


def test_cv_over_sizes_says_why_it_foretells_nothing(tmp_path: Path) -> None:
    settings = {**FAST, "data.limit": 100, "data.folds": 2, "train.epochs": 1}
    run = fw.cv("digits", settings=settings, sizes=True, out=tmp_path / "run")
    [one] = varied(run)
    assert "cannot be said: a curve needs 3 sizes" in one.said


@pytest.fixture(scope="module")
def by_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("varying")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITWELL_CACHE", str(place / "cache"))
        fw.cv("digits", settings=FAST, sizes=True, out=place / "run")
    return place / "run"


def test_cv_over_sizes_trains_on_growing_parts(by_size: Path) -> None:
    run = fw.open(by_size)
    (one,) = varied(run)
    whole = min(
        len(fold_rows(read("digits"), {"folds": 3}, fold=f, repeat=0, seed=0).train)
        for f in range(3)
    )
    assert [level.value for level in one.levels] == [whole >> i for i in (4, 3, 2, 1, 0)]
    scores = [level.validation for level in one.levels]
    assert scores[0] < scores[2] < scores[4]
    # The largest is the cross-validation itself, not trained again.
    assert one.levels[-1].validation == pytest.approx(run.scores["validation"]["accuracy"])
    assert len(list((by_size / "trials").iterdir())) == 3 * 5
    small = store.open_run(by_size / "trials" / f"sizes-{whole >> 4}-r0-f0")
    steps = [len(r.steps) for r in (small, store.open_run(by_size / "trials" / "baseline-r0-f0"))]
    assert 0.9 < steps[0] / steps[1] < 1.6  # as many batches, of the few examples
    (row,) = [r for r in run.evidence if r["experiment"] == "twice"]
    assert row["examples"] == 2 * whole and row["gain"] > 0
    assert f"Twice the examples ({2 * whole:,}) would raise accuracy by" in one.said


def test_it_is_resumed_as_it_was_asked_for(by_size: Path) -> None:
    before = fw.open(by_size)
    trial = next((by_size / "trials").glob("sizes-*-f1"))
    (trial / "run.json").unlink()
    said = store.read_json(by_size / "run.json")
    store.write_json(by_size / "run.json", said | {"status": "running"})
    again = fw.resume(by_size)
    assert isinstance(again, fw.Run) and again.status == "done"
    assert again.evidence == before.evidence


def test_a_setting_is_varied_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["cv", "wine", "--vary", "model.width=1..8", "--out", "run", "data.folds=3"]
    assert command([*words, "train.epochs=10", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["value"] for row in document["varied"]] == [1, 2, 4, 8]
    assert all(len(row["validation"]) == 3 for row in document["varied"])
    assert "twice" not in document
    run = fw.open("run")
    page = write_report(run, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "By model.width" in page and "Score by model.width, train and validation" in page
    assert command(["resume", "run"]) == 0  # it is finished: printed again
    said = capsys.readouterr().out
    assert "model.width" in said and all(len(line) <= 80 for line in said.splitlines())


def test_another_optimizer_gets_its_own_rate(tmp_path: Path) -> None:
    settings = {**FAST, "data.folds": 2}
    run = fw.cv("wine", settings=settings, vary="optim.name=sgd,adam", out=tmp_path / "run")
    rates = {
        trial.name: store.open_run(trial).recipe["optim.lr"]  # type: ignore[index]
        for trial in (tmp_path / "run" / "trials").glob("*-f0")
    }
    assert rates["optim.name-sgd-r0-f0"] > 10 * rates["optim.name-adam-r0-f0"]
    assert [level.value for one in varied(run) for level in one.levels] == ["sgd", "adam"]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("model.width", "write KEY=A,B,C or KEY=A..B"),
        ("model.width=", "write KEY=A,B,C"),
        ("model.widht=1,2", r"model\.widht: .*Did you mean width"),
        ("model.width=8", "give 2 to 20 different values"),
        ("model.width=8,8", "give 2 to 20 different values"),
        ("model.width=0,8", r"model\.width = 0: must be at least 1"),
        ("model.width=8..1", "the smaller one first"),
        ("optim.lr=-1..1", "the smaller one first"),
        ("optim.lr=a..b", "the ends of a range must be numbers"),
        ("data.image_size=8,16", r"data\.image_size changes what is read"),
        ("source=a,b", "source changes what is read"),
        ("data.folds=3,5", r"data\.folds changes what is held out"),
        ("train.seed=1,2", "seeds are no values to compare"),
        ("model.width=1..inf", "the ends of a range must be numbers"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_anything_is_written(
    vary: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=message):
        fw.cv("digits", settings=FAST, vary=vary, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ranges_end_where_they_were_told_to() -> None:
    assert values_of("3..20") == ["3", "6", "12", "20"]
    assert values_of("1..2") == ["1", "2"]
    assert values_of("0.02..0.5") == ["0.02", "0.03", "0.1", "0.3", "0.5"]


def test_sizes_do_not_go_with_folds_that_grow(tmp_path: Path) -> None:
    frame = pl.DataFrame({"t": range(200), "x": np.arange(200.0) % 7, "y": ["a", "b"] * 100})
    settings = {**FAST, "data.target": "y", "data.time": "t"}
    with pytest.raises(SettingError, match=r"sizes: with data\.time each fold is trained on more"):
        fw.cv(frame, settings=settings, sizes=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_uneven_groups_are_all_trained_on_as_many() -> None:
    who = ["big"] * 100 + [f"p{i // 5}" for i in range(200)]
    frame = pl.DataFrame({"who": who, "x": RNG(0).normal(size=300), "y": ["a", "b"] * 150})
    options = {"target": "y", "group": "who", "folds": 4, "test": 0.0}
    data = read(frame, options)
    recipe = complete({**FAST, **{f"data.{k}": v for k, v in options.items()}}, data.spec)
    points = size_points(data, recipe, 0)
    assert points[-1].examples == points[-1].value > 0


def test_what_counts_epochs_is_counted_in_steps() -> None:
    data = read("digits")
    recipe = complete({"train.patience": 3, "train.batch_size": 64, "train.epochs": 20}, data.spec)
    short = shortened(recipe, 60, 970)
    assert short["train.batch_size"] == 60  # one batch an epoch, where there were 16
    assert short["train.epochs"] == 320 and short["train.patience"] == 48


def test_policies_can_be_varied() -> None:
    start = begin("digits", "", {})
    _, points = points_of("augment.policy=none,light,strong", start)
    assert [p.recipe["augment.rotate"] for p in points] == [0.0, 8.0, 15.0]
