"""`train.members`: several trainings from the same pretrained weights, averaged."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.data.types import Data
from fitwell.errors import Interrupted, SettingError
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.store import open_run
from fitwell.train import fit, load_model, members, resume, train_once
from fitwell.train.loop import State, train
from fitwell.weights import RUN_WEIGHTS, read_tensors

SMALL = {
    "model.name": "convnet",
    "model.width": 4,
    "train.precision": "float32",
    "optim.name": "sgd",
    "optim.lr": 0.02,
    "data.limit": 200,
    "train.batch_size": 32,
}


@pytest.fixture(scope="module")
def data() -> Data:
    return fitwell_data.read("digits", {})


@pytest.fixture(scope="module")
def source(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = complete({**SMALL, "train.epochs": 2}, data.spec)
    rows = split.fit_rows(data, recipe.section("data"), 0)
    folder = tmp_path_factory.mktemp("runs") / "source"
    train_once(data, rows, recipe, folder=folder, threads=1)
    return folder


def trained(data: Data, source: Path, folder: Path | None = None, **settings: Any) -> Run:
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    values = {**SMALL, "model.pretrained": str(source), "train.epochs": 2, **changes}
    recipe = complete(values, data.spec)
    rows = split.fit_rows(data, recipe.section("data"), 0)
    return train_once(data, rows, recipe, folder=folder, threads=1)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_weights_are_the_mean_of_trainings_from_the_same_start(
    data: Data, source: Path, tmp_path: Path, ema: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[dict[str, torch.Tensor]] = []
    starts: list[dict[str, torch.Tensor]] = []

    def noting(job: Any, state: State, *args: Any, **kwargs: Any) -> None:
        starts.append({k: v.clone() for k, v in job.model.state_dict().items()})
        train(job, state, *args, **kwargs)
        ends.append(dict(state.best))

    monkeypatch.setattr(fit, "train", noting)
    monkeypatch.setattr(members, "train", noting)
    run = trained(data, source, tmp_path / "run", train__members=3, train__ema=ema)
    assert len(ends) == 3
    kept, _ = read_tensors(tmp_path / "run" / RUN_WEIGHTS)
    for name, value in kept.items():
        if "running" in name or "tracked" in name:
            continue  # measured anew
        assert all(torch.equal(start[name], starts[0][name]) for start in starts)
        mean = torch.stack([end[name] for end in ends]).mean(0)
        torch.testing.assert_close(value, mean, rtol=1e-5, atol=1e-6)
        assert not torch.equal(ends[0][name], ends[1][name])
    rows = [row for row in run.evidence if row["experiment"] == "member"]
    assert [row["member"] for row in rows] == [0, 1, 2]
    assert all(row["validation"]["accuracy"] > 0.2 for row in rows)
    assert len(run.epochs) == 2  # the first one's


def test_what_is_scored_is_what_is_kept(data: Data, source: Path, tmp_path: Path) -> None:
    run = trained(data, source, tmp_path / "run", train__members=2)
    model, prepared = load_model(run)
    for part in ("validation", "test"):
        told = run.predictions[part]
        with torch.no_grad():
            said = model(torch.from_numpy(prepared.inputs(data.inputs[told.index]))).argmax(1)
        assert np.array_equal(said.numpy(), told.prediction)
        right = float((told.prediction == told.target).mean())
        assert run.scores[part]["accuracy"] == pytest.approx(right)


def test_statistics_of_normalisations_are_those_of_the_average(
    data: Data, source: Path, tmp_path: Path
) -> None:
    run = trained(data, source, tmp_path / "run", train__members=2, model__norm="batch")
    model, prepared = load_model(run)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    # Of a first layer the mean of means is right, too: what stands before it is linear in its weights.
    assert len(norms) > 1
    last = norms[-1]
    seen: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    assert run.recipe is not None
    rows = split.fit_rows(data, run.recipe.section("data"), 0).train
    with torch.no_grad():
        model(torch.from_numpy(prepared.inputs(data.inputs[rows])))
    assert last.running_mean is not None and last.running_var is not None
    torch.testing.assert_close(last.running_mean, seen[0].mean((0, 2, 3)), rtol=0.02, atol=0.02)
    torch.testing.assert_close(last.running_var, seen[0].var((0, 2, 3)), rtol=0.05, atol=0.02)


def test_a_member_is_counted_once_after_a_kill_before_its_checkpoint(
    data: Data, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def killed(self: fit.Writer) -> None:
        self._rows()
        if self.state.member == 2:
            raise Killed
        fit.checkpoint.save_checkpoint(self.folder, self.job, self.state)

    with monkeypatch.context() as patch:
        patch.setattr(fit.Writer, "member", killed)
        with pytest.raises(Killed):
            trained(data, source, tmp_path / "cut", train__members=3)
    recipe = open_run(tmp_path / "cut").recipe
    assert recipe is not None
    again = resume(tmp_path / "cut", data, split.fit_rows(data, recipe.section("data"), 0))
    for run in (again, open_run(tmp_path / "cut")):
        assert [r["member"] for r in run.evidence if r["experiment"] == "member"] == [0, 1, 2]


def test_a_member_that_was_interrupted_is_trained_again(
    data: Data, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(data, source, tmp_path / "whole", train__members=3, model__dropout=0.3)
    calls = 0

    def breaking(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            args[2].status = "interrupted"
            return
        train(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(members, "train", breaking)
        with pytest.raises(Interrupted, match=r"Stopped at member 3 of 3"):
            trained(data, source, tmp_path / "cut", train__members=3, model__dropout=0.3)
    recipe = whole.recipe
    assert recipe is not None
    rows = split.fit_rows(data, recipe.section("data"), 0)
    again = resume(tmp_path / "cut", data, rows)
    assert again.scores == whole.scores
    assert [r["member"] for r in again.evidence if r["experiment"] == "member"] == [0, 1, 2]
    weights = [read_tensors(tmp_path / name / RUN_WEIGHTS)[0] for name in ("whole", "cut")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_no_member_is_begun_that_would_not_end_in_time(
    data: Data, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(job: Any, state: State, *args: Any, **kwargs: Any) -> None:
        train(job, state, *args, **kwargs)
        state.seconds = 40.0

    clock = itertools.count(0.0, 40.0)
    monkeypatch.setattr(fit, "train", slow)
    monkeypatch.setattr(members, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    limit = {"train__max_seconds": 100.0}
    run = trained(data, source, None, train__members=5, **limit)
    rows = [row["member"] for row in run.evidence if row["experiment"] == "member"]
    assert rows == [0, 1]  # a third would end after 120 s


def test_the_progress_counts_all_members(data: Data, source: Path) -> None:
    told: list[tuple[int, int, float]] = []

    def tell(event: str, **facts: Any) -> None:
        if event == "epoch":
            told.append((facts["epoch"], facts["epochs"], facts["seconds_left"]))

    recipe = complete(
        {**SMALL, "model.pretrained": str(source), "train.epochs": 2, "train.members": 2},
        data.spec,
    )
    rows = split.fit_rows(data, recipe.section("data"), 0)
    train_once(data, rows, recipe, threads=1, progress=tell)
    assert [(epoch, epochs) for epoch, epochs, _ in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert told[0][2] > 0 and told[-1][2] == 0


@pytest.mark.parametrize("model", ["convnet", "torchvision:squeezenet1_0"])
def test_members_need_pretrained_weights(data: Data, model: str) -> None:
    with pytest.raises(SettingError, match=r"train.members = 2: .*Set model.pretrained"):
        complete({"model.name": model, "train.members": 2}, data.spec)
