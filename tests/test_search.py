"""Searching over settings: spaces, samplers, pruners, the proof of the best trial, going on."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searched import FAST, SPACE, Scored, peak, searching

import fitwell as fw
from fitwell.cli.main import run
from fitwell.data import read
from fitwell.errors import Interrupted, SettingError, TrainingError
from fitwell.families import OF_FORECASTS, OF_SEQUENCES
from fitwell.models import MODELS
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.search.flow import search
from fitwell.search.proof import prove
from fitwell.search.result import read_search
from fitwell.search.rows import Row, importance
from fitwell.search.space import asked_for, recipe_settings, size, space_of
from fitwell.search.storage import nameless, place_of
from fitwell.search.study import Study
from fitwell.search.usual import FAMILIES, usual_space
from fitwell.spec import Spec
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Budget
from fitwell.trials.crossval import silent
from fitwell.trials.trial import Task


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))


def trained(executor: Scored) -> list[Task]:
    """The folds that the search itself trained."""
    return [
        t for t in executor.ran if t.repeat == 0 and t.kind == "fold" and t.variant != "baseline"
    ]


BAD = {
    "optm.lr=1e-4..1": "Did you mean optim.lr?",
    "optim.momentun=0..0.9": "Did you mean momentum?",
    "optim.lr=0.1..0.001": "runs backwards. Write optim.lr=0.001..0.1",
    "optim.lr=0.1..0.1": "holds one value",
    "model.dropout=0..0.5:log": "a logarithmic range starts above 0",
    "optim.lr=0..0.1:log": "must be more than 0",
    "model.dropout=0..1.5": "must be less than 1",
    "model.width=16.5..32": "must be a whole number",
    "optim.lr=a..b": "must be a number",
    "optim.lr=1..2:exp": ":exp is no scale",
    "model.norm=batch,lair": "not one of its values",
    "optim.name=sgd,adm": "Did you mean adam?",
    "optim.name=sgd..adam": "holds no numbers",
    "model.activation=relu": "a single value",
    "model.activation=relu,relu": "stands in it twice",
    "optim.lr": "write KEY=LOW..HIGH",
    "optim.lr=": "write KEY=LOW..HIGH",
    "data.folds=2..5": "judged by",
    "score.name=accuracy,nats": "judged by",
    "train.seed=0..9": "the folds show the spread",
    "train.threads=1..2": "of the machine",
}


@pytest.mark.parametrize("text", BAD)
def test_a_space_that_cannot_be_searched_is_refused(text: str) -> None:
    with pytest.raises(SettingError) as error:
        space_of(asked_for([text]), {"model.name": "mlp"})
    assert BAD[text] in error.value.message and error.value.setting


def test_ranges_and_choices_are_those_of_the_setting() -> None:
    asked = ["lr=1e-4..1e-1:log", "model.width=16..256:log", "optim.nesterov=true,false"]
    asked += ["augment.scale=[0.9,1.1],[1,1]", "augment.multi_scale=0..0.5", "model.depth=18..34"]
    space = space_of(asked_for(asked), {"model.name": "resnet", "optim.name": "sgd"})
    by_name = {d.name: d for d in space}
    assert by_name["optim.lr"].text == "0.0001..0.1:log"
    assert by_name["model.width"].whole and by_name["model.width"].levels() == [
        16,
        32,
        64,
        128,
        256,
    ]
    assert by_name["optim.nesterov"].choices == (True, False)
    scale = by_name["augment.scale"]
    assert scale.value(scale.label([0.9, 1.1])) == [0.9, 1.1] and scale.contains([1.0, 1.0])
    assert by_name["augment.multi_scale"].levels() == [0, 0.125, 0.25, 0.375, 0.5]
    assert by_name["model.depth"].choices == (18, 20, 32, 34)  # no network has 19 layers
    assert size([by_name["optim.nesterov"], by_name["model.depth"]]) == 8
    assert size(space) == np.inf
    assert not by_name["optim.lr"].contains(0.2) and by_name["optim.lr"].contains(0.1)
    with pytest.raises(SettingError, match="named twice"):
        asked_for(["lr=1e-4..1", "optim.lr=1e-3..1"])


def test_a_setting_that_one_of_the_optimizers_lacks_is_left_out_of_its_trials() -> None:
    space = space_of({"optim.name": "sgd,adam", "optim.momentum": "0..0.95"}, {})
    both = {"optim.name": "sgd", "optim.momentum": 0.5}
    assert recipe_settings(space, both) == both
    assert recipe_settings(space, {**both, "optim.name": "adam"}) == {"optim.name": "adam"}


_SERIES = Spec("series", "classification", (2, 64), ("a", "b"), num_examples=500)
SPECS = {
    **dict.fromkeys(OF_SEQUENCES, _SERIES),
    "bag_of_words": Spec("text", "classification", (100,), ("a", "b"), num_examples=500),
    "images": Spec("images", "classification", (3, 64, 64), ("cat", "dog"), num_examples=500),
    "ahead": Spec("series", "forecasting", (2, 30), horizon=3, num_examples=500),
    "yolo": Spec("boxes", "detection", (3, 64, 64), ("a", "b"), num_examples=500),
}


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_family_has_a_space_of_its_own_that_holds_for_it(model: str) -> None:
    assert model in FAMILIES
    spec = SPECS["ahead" if model in OF_FORECASTS else model if model in SPECS else "images"]
    recipe = complete({"model.name": model}, spec)
    asked = usual_space(recipe, spec)
    of_classes = {"loss.label_smoothing"} if spec.task == "classification" else set()
    assert {*FAMILIES[model], "optim.lr", *of_classes} <= set(asked)
    space = {d.name: d for d in space_of(asked, recipe)}
    assert space["optim.lr"].contains(recipe["optim.lr"]) and space["optim.lr"].log
    for d in space.values():
        assert d.name in recipe


def test_the_best_trial_is_proved_and_its_recipe_adopted(tmp_path: Path) -> None:
    executor = Scored(tmp_path / "run")
    result = searching(tmp_path / "run", executor, trials=12)
    assert result.best is not None and not result.best.start
    best = max(result.trials, key=lambda row: row.score or 0)
    assert result.best == best and best.score == pytest.approx(np.mean(best.folds))
    (verdict,) = result.verdicts
    assert verdict.decision == "helps" and verdict.stage == "confirm" and verdict.trials == 15
    assert verdict.settings["optim.lr"] == result.recipe["optim.lr"] == best.settings["optim.lr"]
    assert 0.003 < result.recipe["optim.lr"] < 0.3
    # What was selected by is shown beside what selected nothing.
    assert result.selected["score"] == best.score
    fresh = result.selected["fresh"]
    assert fresh is not None and best.score is not None
    assert result.selected["optimism"] == pytest.approx(best.score - fresh)
    assert next(iter(result.importance)) == "optim.lr"
    assert sum(result.importance.values()) == pytest.approx(1)
    # The start is one of the trials, and was trained as the baseline alone.
    (start,) = (row for row in result.trials if row.start)
    assert start.settings == {"optim.lr": 1e-3, "model.width": 256}
    assert len(result.trials) == 13
    document = result.to_json()
    assert {"best", "trials", "verdict", "run"} <= set(document)
    assert json.loads((tmp_path / "run" / "verdicts.json").read_text()) == document["verdicts"]
    assert read_search(tmp_path / "run").to_json() == document


def test_where_nothing_is_better_the_recipe_stays(tmp_path: Path) -> None:
    executor = Scored(tmp_path / "run")
    result = searching(tmp_path / "run", executor, settings={"optim.lr": 0.03}, trials=6)
    assert result.best is not None and result.best.start
    assert not result.verdicts and result.recipe == result.baseline_recipe
    assert any("No trial did better" in sentence for sentence in result.sentences)
    assert {t.repeat for t in executor.ran} == {0}  # nothing was there to be confirmed


def test_what_gains_less_than_half_of_what_counts_is_not_confirmed(tmp_path: Path) -> None:
    executor, data = Scored(tmp_path), read("wine", {})
    recipe = complete(FAST, data.spec)
    bench = Bench(data, executor, Budget(None), silent, recipe)
    first, winner = Variant("baseline", recipe), Variant("trial", recipe.edit({"optim.lr": 0.01}))
    baseline = bench.run([bench.task(first, 0, fold) for fold in range(5)])
    gains = (0.001, 0.002, 0.003, 0.002, 0.002)  # of 0.005
    folds = tuple(
        run.held_out["accuracy"] + gain for run, gain in zip(baseline, gains, strict=True)
    )
    best = Row(1, {"optim.lr": 0.01}, float(np.mean(folds)), folds)
    (verdict,) = prove(bench, first, winner, best, baseline)
    assert verdict.decision == "screened out" and "less than counts" in verdict.why
    assert {task.repeat for task in executor.ran} == {0}


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_no_point_is_trained_twice_and_a_finite_space_ends(sampler: str, tmp_path: Path) -> None:
    space = {"optim.name": "sgd,adam", "optim.momentum": "0.5,0.9", "model.depth": "1..2"}
    executor = Scored(tmp_path / "run", lambda recipe, fold: 0.8)
    result = searching(tmp_path / "run", executor, space, sampler=sampler, trials=50)
    counts = Counter((t.recipe, t.fold) for t in trained(executor))
    assert set(counts.values()) == {1}
    # Of SGD with two momenta, and of Adam, which has none: 3 times 2 depths.
    others = [row for row in result.trials if not row.start]
    assert (
        len({json.dumps(dict(row.settings), sort_keys=True) for row in others}) == len(others) == 6
    )


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_what_another_worker_has_under_way_is_not_asked_for(sampler: str, tmp_path: Path) -> None:
    space = space_of({"optim.name": "sgd,adam", "model.depth": "1..2"}, {})
    workers = [
        Study(
            place_of("", tmp_path),
            "shared",
            space,
            sampler=sampler,
            pruner="none",
            folds=2,
            seed=0,
            owner=str(number),
            about={},
            greater_is_better=True,
        )
        for number in range(2)
    ]
    asked = [workers[turn % 2].ask() for turn in range(4)]
    points = {json.dumps(one.settings, sort_keys=True) for one in asked if one}
    assert len(points) == len(asked) == 4
    assert [worker.ask() for worker in workers] == [None, None]


def test_a_grid_goes_over_all_its_levels(tmp_path: Path) -> None:
    executor = Scored(tmp_path / "run")
    space = {"optim.lr": "1e-4..1:log", "model.depth": "1..2"}
    result = searching(tmp_path / "run", executor, space, sampler="grid", trials=0)
    points = {tuple(row.settings.values()) for row in result.trials if not row.start}
    rates = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    assert points >= {(rate, depth) for rate in rates for depth in (1, 2) if rate != 1e-3}
    assert len(points) <= 10 and len(result.trials) <= 11


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_an_interrupted_search_goes_on_as_it_would_have(sampler: str, tmp_path: Path) -> None:
    asked: Any = {"sampler": sampler, "trials": 8}
    whole = searching(tmp_path / "whole", Scored(tmp_path / "whole"), **asked)
    cut, ran = tmp_path / "cut", []
    for stop in (7, 9, 4, 11, 10**9):
        executor = Scored(cut)
        executor.stop_after = stop
        try:
            result = searching(cut, executor, **asked)
        except Interrupted:
            result = None
        ran += executor.ran
    assert result is not None
    assert [r.to_json() for r in result.trials] == [r.to_json() for r in whole.trials]
    assert len({(t.variant, t.repeat, t.fold, t.kind) for t in ran}) == len(ran)  # none twice
    assert result.recipe == whole.recipe


@pytest.mark.parametrize("pruner, first", [("wilcoxon", 3), ("median", 2)])
def test_pruners_stop_hopeless_trials_by_fold(pruner: str, first: int, tmp_path: Path) -> None:
    whole = Scored(tmp_path / "whole")
    kept = searching(tmp_path / "whole", whole, pruner="none", trials=12)
    executor = Scored(tmp_path / "run")
    result = searching(tmp_path / "run", executor, pruner=pruner, trials=12)
    stopped = [row for row in result.trials if row.state == "stopped early"]
    assert stopped and all(first <= len(row.folds) < 5 for row in stopped)
    assert len(trained(executor)) < len(trained(whole))
    assert all(row.state == "done" for row in kept.trials)
    assert result.best is not None and result.best.state == "done"


def test_trials_that_fail_are_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    def score(recipe: Recipe, fold: int) -> float:
        return float("nan") if recipe["optim.lr"] > 0.1 else peak(recipe, fold)

    # The loss of a table's classes knows no mean absolute error: such a point does not even begin.
    space = {**SPACE, "loss.name": "cross_entropy,mae"}
    executor = Scored(tmp_path / "run", score)
    result = searching(tmp_path / "run", executor, space, sampler="random", trials=20)
    failed = [row for row in result.trials if row.state == "failed"]
    assert any("loss is nan" in row.failure for row in failed)
    assert any("does not suit classification" in row.failure for row in failed)
    assert result.best is not None and result.best.state == "done"
    assert any("failed (the first:" in sentence for sentence in result.sentences)


def test_a_search_of_which_every_trial_fails_says_so(tmp_path: Path) -> None:
    def score(recipe: Recipe, fold: int) -> float:
        return 0.8 if recipe["optim.lr"] == 1e-3 else float("nan")

    executor = Scored(tmp_path / "run", score)
    with pytest.raises(TrainingError, match="Every one of the 20 trials failed") as error:
        searching(tmp_path / "run", executor, trials=0, budget=1e6)
    assert "The loss is nan at step 3." in error.value.message


def test_a_baseline_that_fails_is_beaten_by_a_search(tmp_path: Path) -> None:
    def score(recipe: Recipe, fold: int) -> float:
        return float("nan") if recipe["optim.lr"] > 0.5 else peak(recipe, fold)

    executor = Scored(tmp_path / "run", score)
    result = searching(tmp_path / "run", executor, settings={"optim.lr": 0.9}, trials=8)
    assert [v.decision for v in result.verdicts] == ["helps"]


def test_a_budget_that_is_too_small_names_one_that_is_not(tmp_path: Path) -> None:
    executor = Scored(tmp_path / "run")
    executor.seconds = 10.0  # that each trial says it took
    with pytest.raises(SettingError, match="too small for one trial") as error:
        searching(tmp_path / "run", executor, budget=30.0)
    assert error.value.setting == "budget" and "fitwell resume" in error.value.message
    enough = float(error.value.message.rpartition("--budget ")[2].rstrip("`.s"))
    executor.ran.clear()
    result = searching(tmp_path / "run", executor, budget=enough)
    # The baseline was kept, some trials fitted, and the proof after them.
    assert not [
        t for t in executor.ran if t.variant == "baseline" and t.repeat == 0 and t.kind == "fold"
    ]
    assert len(result.trials) > 1 and result.verdicts[0].stage == "confirm"


def test_importance_is_of_what_moves_the_score() -> None:
    space = space_of({"optim.lr": "1e-3..1:log", "model.norm": "none,batch"}, {"model.name": "mlp"})
    random = np.random.default_rng(0)
    rows = []
    for number in range(40):
        settings = {
            "optim.lr": float(10 ** random.uniform(-3, 0)),
            "model.norm": str(random.choice(["none", "batch"])),
        }
        rows.append(
            Row(number, settings, 0.9 if settings["model.norm"] == "batch" else 0.5, (0.5,))
        )
    found = importance(rows, space, 0)
    assert found["model.norm"] > 0.9 and list(found) == ["model.norm", "optim.lr"]
    assert importance(rows[:3], space, 0) == {}
    assert importance([r for r in rows if r.score == 0.5], space, 0) == {}


def test_no_password_is_kept_or_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = "postgresql://ann:secret@127.0.0.1:1/trials"
    assert nameless(address) == "postgresql://ann@127.0.0.1:1/trials"
    assert "secret" not in repr(place_of(address, tmp_path))
    monkeypatch.setenv("PGPASSWORD", "from the variable")
    place = place_of(nameless(address), tmp_path)
    assert ":from the variable@" in place.url and "variable" not in place.name
    for wrong in ("mysql://a:secret@h/d", "postgresql://a:secret@h", "secret"):
        with pytest.raises(SettingError, match="address of a PostgreSQL database") as error:
            place_of(wrong, tmp_path)
        assert "secret" not in error.value.message
    monkeypatch.chdir(tmp_path)
    asked = {"storage": address, "study": "s", "settings": {"train.epochs": 1}, "space": SPACE}
    with pytest.raises(SettingError, match="cannot be reached") as error:
        fw.search("wine", **asked)
    assert "secret" not in error.value.message and not (tmp_path / "runs").exists()
    with pytest.raises(SettingError, match="go together"):
        fw.search("wine", storage=address)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingError, match=r'pip install "fitwell\[search\]"'):
        fw.search("wine", trials=1)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--space", "optm.lr=1e-4..1"], "Did you mean optim.lr?"),
        (["--space", "lr=1..0.1"], "runs backwards"),
        (["--sampler", "tpa"], "Did you mean tpe?"),
        (["--pruner", "hyperband"], "Choose one of: wilcoxon, median, none"),
        (["--trials", "few"], "must be a whole number"),
        (["--budget", "soon"], "must be a time"),
        (["--storage", "sqlite:///a.db", "--study", "s"], "address of a PostgreSQL database"),
        (["data.folds=90"], "folds"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["search", "wine", *arguments, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert said in error["message"] and not (tmp_path / "runs").exists()


def test_a_misspelt_space_is_refused_without_torch() -> None:
    code = (
        "import sys; from fitwell.cli.main import run; "
        "assert run(['search', 'wine', '--space', 'optm.lr=1e-4..1']) == 2; "
        "assert not {'torch', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_search_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    fast = ["train.epochs=1", "data.folds=2", "optim.lr=1e-5", "--trials", "4", "--quiet"]
    asked = ["--space", "optim.lr=1e-5..1e-1:log", "--space", "model.width=16,32"]
    assert run(["search", "wine", *fast, *asked, "--out", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len([row for row in document["trials"] if not row["start"]]) == 4
    assert document["space"] == {"optim.lr": "1e-05..0.1:log", "model.width": "16,32"}
    assert document["best"]["settings"]["model.width"] in (16, 32)
    for name in ("parallel.png", "importance.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The search" in page and "Parallel coordinates" in page
    # A search that has ended is read: nothing is trained.
    assert run(["resume", str(folder), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert run(["resume", str(folder), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "Best trials" in printed and max(map(len, printed.splitlines())) <= 80
    assert run(["diagnose", str(folder)]) == 0


def test_the_search_function_is_not_hidden_by_its_package() -> None:
    assert callable(fw.search) and search is not fw.search
