"""The loop: exact, resumable, honest about what it scores."""

import math
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell import store
from fitwell.data import split
from fitwell.data.split import Rows
from fitwell.data.types import Data
from fitwell.errors import DataError, FolderError, Interrupted, SettingError
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train import load_model, machine, resume, train_once
from fitwell.train.checkpoint import load_checkpoint
from fitwell.train.job import build_job, train_sample

SMALL = {"train.epochs": 3, "train.batch_size": 64}


@pytest.fixture(scope="module")
def digits() -> Data:
    return fitwell_data.read("digits", {})


def parts(data: Data, recipe: Recipe) -> Rows:
    return split.fit_rows(data, recipe.section("data"), 0)


def trained(data: Data, **settings: object) -> Run:
    recipe = complete(
        {**SMALL, **{k.replace("__", "."): v for k, v in settings.items()}}, data.spec
    )
    return train_once(data, parts(data, recipe), recipe, threads=1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "best.safetensors")


def same(a: Run, b: Run) -> bool:
    return [r["loss"] for r in a.steps] == [r["loss"] for r in b.steps] and np.array_equal(
        a.predictions["test"].loss, b.predictions["test"].loss
    )


def test_two_runs_are_bit_equal_and_another_seed_is_not(digits: Data) -> None:
    recipe = complete(SMALL, digits.spec)
    rows = parts(digits, recipe)
    first, again = (train_once(digits, rows, recipe, threads=1) for _ in range(2))
    other = train_once(digits, rows, recipe, seed=1, threads=1)
    assert same(first, again)
    assert not same(first, other)


def test_probes_do_not_touch_the_training(digits: Data) -> None:
    recipe = complete({**SMALL, "model.dropout": 0.2}, digits.spec)
    rows = parts(digits, recipe)
    watched = train_once(digits, rows, recipe, threads=1)
    plain = train_once(digits, rows, recipe, threads=1, probes=False)
    assert watched.probes and not plain.probes
    assert same(watched, plain)


def test_the_callers_random_state_is_left_alone(digits: Data) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    trained(digits)
    assert torch.equal(before, torch.get_rng_state())


def test_scores_are_those_of_the_predictions(digits: Data) -> None:
    run = trained(digits)
    stored = run.predictions["test"]
    assert stored.probabilities is not None
    assert run.scores["test"]["accuracy"] == accuracy_score(stored.target, stored.prediction)
    assert run.scores["test"]["loss"] == pytest.approx(
        -np.log(stored.probabilities[np.arange(len(stored.target)), stored.target]).mean(), rel=1e-4
    )
    assert np.array_equal(digits.targets[stored.index], stored.target)
    assert run.scores["train"] == run.epochs[-1]["train"]


def test_the_train_score_is_over_a_fixed_sample_as_large_as_the_validation_part(
    digits: Data,
) -> None:
    rows = parts(digits, complete(SMALL, digits.spec))
    sample = train_sample(rows, 0)
    assert len(sample) == len(rows.validation)
    assert set(sample) <= set(rows.train)


KNOBS = {
    "optim.lr": 0.01,
    "optim.momentum": 0.5,
    "optim.nesterov": True,
    "optim.weight_decay": 0.01,
    "optim.l1": 1e-3,
    "optim.name": "adam",
    "schedule.name": "constant",
    "schedule.warmup": 0.5,
    "loss.label_smoothing": 0.2,
    "model.activation": "tanh",
    "model.dropout": 0.5,
    "model.init": "he",
    "model.width": 8,
    "model.norm": "batch",
    "model.pool": "avg",
    "train.clip_norm": 0.05,
    "train.clip_value": 0.001,
    "train.normalise_gradient": True,
    "train.ema": 0.9,
    "train.freeze": 0.5,
    "train.thaw_epochs": 1,
    "train.first_lr": 0.1,
    "train.backbone_lr": 0.1,
    "train.batch_size": 32,
    "train.precision": "bfloat16",
    "data.limit": 200,
}


@pytest.fixture(scope="module")
def default_run(digits: Data) -> Run:
    return trained(digits, train__epochs=1, train__precision="float32")


@pytest.mark.parametrize(("name", "value"), KNOBS.items())
def test_no_dead_knobs(digits: Data, default_run: Run, name: str, value: object) -> None:
    data = fitwell_data.read("digits", {"limit": value}) if name == "data.limit" else digits
    settings = {**SMALL, "train.epochs": 1, "train.precision": "float32", name: value}
    recipe = complete(settings, data.spec)
    run = train_once(data, parts(data, recipe), recipe, threads=1)
    assert not same(run, default_run)


def test_clipping_bounds_the_step_and_records_the_norm_before(digits: Data) -> None:
    run = trained(digits, train__clip_norm=0.01, optim__momentum=0.0, optim__weight_decay=0.0)
    measured = [r for r in run.steps if r["grad_norm"] is not None]
    assert len(measured) == len(run.steps)
    assert max(r["grad_norm"] for r in measured) > 0.01
    unclipped = trained(digits)
    assert run.steps[-1]["loss"] > unclipped.steps[-1]["loss"]


def test_early_stopping_keeps_the_best_epoch(digits: Data) -> None:
    run = trained(digits, train__epochs=40, train__patience=2, schedule__name="constant")
    scores = [row["validation"]["accuracy"] for row in run.epochs]
    assert len(run.epochs) < 40
    assert run.best_epoch == max(i for i, s in enumerate(scores) if s == max(scores))
    assert len(scores) == run.best_epoch + 3
    assert run.scores["validation"]["accuracy"] == max(scores)


def test_a_loss_that_is_not_finite_stops_with_the_layer_and_loses_nothing(
    digits: Data, tmp_path: Path
) -> None:
    recipe = complete({**SMALL, "optim.lr": 9.0, "train.epochs": 30}, digits.spec)
    run = train_once(digits, parts(digits, recipe), recipe, folder=tmp_path / "run", threads=1)
    assert run.status == "failed"
    assert "step" in run.failure and "optim.lr" in run.failure
    assert "first layer that is not finite: " in run.failure
    opened = store.open_run(tmp_path / "run")
    assert opened.status == "failed" and opened.failure == run.failure
    assert all(row["loss"] is not None and math.isfinite(row["loss"]) for row in opened.steps[:-1])


def test_a_batch_larger_than_the_data_is_refused_before_training(digits: Data) -> None:
    with pytest.raises(SettingError, match=r"train\.batch_size = 5000: larger than"):
        trained(digits, train__batch_size=5000)


def test_the_folder_holds_the_run(digits: Data, tmp_path: Path) -> None:
    recipe = complete(SMALL, digits.spec)
    folder = tmp_path / "run"
    run = train_once(digits, parts(digits, recipe), recipe, folder=folder, threads=1)
    opened = store.open_run(folder)
    assert opened.recipe == recipe and opened.spec == digits.spec
    assert opened.scores == run.scores and opened.steps == run.steps
    assert_array_equal(
        opened.predictions["test"].probabilities, run.predictions["test"].probabilities
    )
    text = (folder / "environment.json").read_text()
    assert str(Path.home()) not in text and platform.node() not in text
    model, preprocess = load_model(opened)
    rows = parts(digits, recipe).held_out
    with torch.no_grad():
        outputs = model(torch.from_numpy(preprocess.inputs(digits.inputs[rows])))
    agree = (outputs.argmax(1).numpy() == run.predictions["test"].prediction).mean()
    assert agree > 0.98  # float32 here, perhaps bfloat16 there


@pytest.mark.parametrize(("norm", "refused"), [("batch", True), ("layer", False)])
def test_batches_of_one_are_refused_where_batch_normalisation_could_not_divide(
    digits: Data, tmp_path: Path, norm: str, refused: bool
) -> None:
    settings = {"model.name": "mlp", "model.width": 4, "train.batch_size": 1, "train.epochs": 1}
    few = {"data.limit": 40}
    data = fitwell_data.read("digits", {"limit": 40})
    recipe = complete({**settings, **few, "model.norm": norm}, data.spec)
    if not refused:
        assert train_once(data, parts(data, recipe), recipe, threads=1).status == "done"
        return
    with pytest.raises(SettingError, match="no variance of one example") as caught:
        train_once(data, parts(data, recipe), recipe, threads=1)
    assert caught.value.setting == "train.batch_size"
    with pytest.raises(SettingError, match="no variance of one example"):
        fw.fit("digits", settings=dict(recipe), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_model_are_refused_with_their_names(
    digits: Data, tmp_path: Path
) -> None:
    """As after a change of the recipe, or of the code of a model of one's own."""
    recipe = complete({**SMALL, "train.epochs": 1, "model.name": "mlp"}, digits.spec)
    folder = tmp_path / "run"
    run = train_once(digits, parts(digits, recipe), recipe, folder=folder, threads=1)
    other = recipe.edit({"model.width": 9})
    run.recipe = other
    with pytest.raises(FolderError, match=r"linear1\.weight is \[256, 64\] there and \[9, 64\]"):
        load_model(run)
    job = build_job(digits, parts(digits, other), other, seed=0)
    with pytest.raises(DataError, match=r"state\.safetensors are not of this model.*linear1"):
        load_checkpoint(folder, job)


INTERRUPTED = """
import os, sys, time
from pathlib import Path
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.errors import Interrupted
from fitwell.resolve import complete
from fitwell.train import fit
fit.CHECKPOINT_SECONDS = 0.0
data = fitwell_data.read("digits", {})
recipe = complete({"train.epochs": 14, "model.dropout": 0.1, "train.ema": 0.9}, data.spec)
rows = split.fit_rows(data, recipe.section("data"), 0)
def progress(event, **facts):
    if event == "epoch":
        print(facts["epoch"], flush=True)
try:
    fit.train_once(data, rows, recipe, folder=Path(sys.argv[1]), progress=progress, threads=1)
except Interrupted as error:
    print(error.message)
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_resuming_ends_in_the_same_weights(digits: Data, tmp_path: Path, kind: int) -> None:
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "5":
            time.sleep(0.03)  # somewhere within the next epoch
            process.send_signal(kind)
            break
    rest = process.stdout.read()
    assert process.wait() == (130 if kind == signal.SIGINT else -signal.SIGKILL)
    if kind == signal.SIGINT:
        assert f"fitwell resume {folder}" in rest
    settings = {"train.epochs": 14, "model.dropout": 0.1, "train.ema": 0.9}
    recipe = complete(settings, digits.spec)
    rows = parts(digits, recipe)
    done = resume(folder, digits, rows)
    assert done.status == "done" and len(done.epochs) == 14
    whole = train_once(digits, rows, recipe, folder=tmp_path / "whole", threads=1)
    assert [r["loss"] for r in store.open_run(folder).steps] == [r["loss"] for r in whole.steps]
    kept, expected = weights(folder), weights(tmp_path / "whole")
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name]) for name in kept)
    assert resume(folder, digits, rows).scores == done.scores


def test_ctrl_c_without_a_folder_says_that_nothing_was_written(digits: Data) -> None:
    recipe = complete({**SMALL, "train.epochs": 1000}, digits.spec)

    def progress(event: str, **facts: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="no folder"):
        train_once(digits, parts(digits, recipe), recipe, progress=progress, threads=1)


TRAINED_BY_ALL = """
import sys
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.optim import OPTIMIZERS
from fitwell.resolve import complete
from fitwell.train import train_once
data = fitwell_data.read("wine", {})
for settings in [{"optim.l1": 1e-3}, *({"optim.name": name} for name in OPTIMIZERS)]:
    recipe = complete({"train.epochs": 1, **settings}, data.spec)
    train_once(data, split.fit_rows(data, recipe.section("data"), 0), recipe, threads=1)
    print("torch._dynamo" in sys.modules, settings)
"""


def test_training_does_not_import_the_compiler() -> None:
    command = [sys.executable, "-c", TRAINED_BY_ALL]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out and not [line for line in out.splitlines() if line.startswith("True")]


COMMAND = """
import sys
from fitwell.cli.main import main
try:
    main(["fit", "digits", "--epochs", "1", "--quiet", "--out", sys.argv[1]])
finally:
    print("imported:", sorted({"torch._dynamo", "torchvision"} & set(sys.modules)))
"""


def test_the_command_imports_neither_the_compiler_nor_torchvision(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMAND, str(tmp_path / "run")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "imported: []" in out and (tmp_path / "run" / "report.html").exists()


def test_regression_is_scored_in_the_targets_own_unit() -> None:
    data = fitwell_data.read("diabetes", {})
    run = trained(data, train__epochs=10)
    stored = run.predictions["test"]
    error = stored.prediction - data.targets[stored.index]
    assert run.scores["test"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert 40 < run.scores["test"]["rmse"] < 80  # always saying the mean gives 77


def test_an_averaged_model_is_probed_where_it_is_evaluated(digits: Data) -> None:
    run = trained(digits, train__ema=0.5)
    assert any(row["kind"] == "epoch" for row in run.probes)


def test_inputs_are_scaled_by_the_training_rows_alone() -> None:
    data = fitwell_data.read("wine", {})
    recipe = complete({**SMALL, "data.scaling": "standard"}, data.spec)
    rows = parts(data, recipe)
    job = build_job(data, rows, recipe, seed=0)
    scaled = job.preprocess.inputs(data.inputs[rows.train])
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert np.abs(job.preprocess.inputs(data.inputs).mean(axis=0)).max() > 1e-3


def test_the_share_of_the_time_waiting_for_data_is_measured(
    digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fitwell.data.feeds import Kept

    quick = trained(digits, train__epochs=1).epochs[0]["waiting"]
    read = Kept.__call__

    def slow(self: Kept, at: torch.Tensor, epoch: int, step: int) -> torch.Tensor:
        time.sleep(0.02)
        return read(self, at, epoch, step)

    monkeypatch.setattr(Kept, "__call__", slow)
    assert trained(digits, train__epochs=1).epochs[0]["waiting"] > max(0.5, quick)


def test_a_clipped_gradient_has_its_norm_in_every_row(digits: Data) -> None:
    run = trained(digits, train__epochs=1, train__clip_norm=0.5)
    norms = [row["grad_norm"] for row in run.steps]
    assert all(norm is not None and norm > 0 for norm in norms) and len(set(norms)) > 3


def test_the_last_epoch_is_probed_under_early_stopping(digits: Data) -> None:
    run = trained(digits, train__epochs=60, train__patience=2, optim__lr=0.2)
    probed = {row["epoch"] for row in run.probes if row["kind"] == "epoch"}
    assert 4 < len(run.epochs) < 60 and len(run.epochs) & (len(run.epochs) - 1)
    assert len(run.epochs) - 1 in probed


def test_a_short_training_is_probed_too(digits: Data) -> None:
    run = trained(digits, train__epochs=1)
    assert len({row["step"] for row in run.probes if row["kind"] == "step"}) >= 10 > 1


def test_weights_that_break_in_the_last_step_fail_the_run(tmp_path: Path) -> None:
    data = fitwell_data.read("diabetes", {})
    settings = {"optim.lr": 100, "train.batch_size": 318, "schedule.name": "constant"}
    settings |= {"optim.name": "sgd", "model.activation": "relu", "model.waves": 0}
    recipe = complete({**settings, "model.name": "mlp", "train.epochs": 1}, data.spec)
    run = train_once(data, parts(data, recipe), recipe, folder=tmp_path / "run")
    assert run.status == "failed" and "after epoch 1" in run.failure and "layer" in run.failure
    assert "test" not in run.scores and not (tmp_path / "run" / "best.safetensors").exists()


LIMITED = """
import resource, sys, torch
from pathlib import Path
from fitwell.train.checkpoint import write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    write_tensors(Path("weights.safetensors"), {"w": torch.zeros(100_000)}, {})
except Exception as error:
    print(type(error).__name__, error)
print([p.name for p in Path(".").iterdir()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_weights_that_find_no_room_are_said_and_leave_nothing(tmp_path: Path) -> None:
    """The system's own refusal, through safetensors, which has an error of its own for it."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.startswith("FolderError weights.safetensors could not be written: File too")
    assert "Make room" in done.stdout and done.stdout.endswith("[]\n")


def test_weights_may_be_read_by_who_may_read_the_rest(digits: Data, tmp_path: Path) -> None:
    recipe = complete({**SMALL, "train.epochs": 1}, digits.spec)
    train_once(digits, parts(digits, recipe), recipe, folder=tmp_path)
    modes = {(tmp_path / n).stat().st_mode for n in ("run.json", "best.safetensors")}
    assert len(modes) == 1


class _Libc:
    """The part of glibc that is asked to keep memory."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def mallopt(self, what: int, size: int) -> int:
        self.said.append(("mallopt", what, size))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.said.append(("malloc_trim", pad, 0))
        return 1


def test_memory_is_kept_while_training_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = _Libc()
    monkeypatch.setattr(machine, "_glibc", lambda: libc)
    with pytest.raises(KeyboardInterrupt), machine.kept_memory():
        kept, libc.said = libc.said, []
        raise KeyboardInterrupt
    assert [what for _, what, _ in kept] == [-3, -1]
    assert all(size > 1 << 20 for _, _, size in kept)
    # What glibc's own thresholds grow to: 32 and 64 MB.
    back = [("mallopt", -3, 32 << 20), ("mallopt", -1, 64 << 20), ("malloc_trim", 0, 0)]
    assert libc.said == back
    monkeypatch.setattr(machine, "_glibc", lambda: None)  # another C library
    with machine.kept_memory():
        pass


@pytest.mark.parametrize(("width", "suits"), [(4, False), (15, False), (16, True)])
def test_a_convolution_whose_gradient_is_wrong_keeps_the_plain_layout(
    digits: Data, width: int, suits: bool
) -> None:
    recipe = complete({"model.name": "resnet", "model.width": width}, digits.spec)
    job = build_job(digits, parts(digits, recipe), recipe, seed=0)
    model = job.model.cpu()
    assert machine.suits_channels_last(model, digits.spec) is suits
    layout = torch.channels_last if suits else torch.contiguous_format
    assert all(w.is_contiguous(memory_format=layout) for w in model.parameters() if w.ndim == 4)


@pytest.mark.parametrize(
    ("channels", "groups", "kernel", "stride", "suits"),
    [
        (15, 1, 1, 2, False),
        (15, 1, 1, (1, 2), False),
        (60, 4, 1, 2, False),
        (16, 1, 1, 2, True),
        (4, 1, 1, 1, True),
        (4, 1, 3, 2, True),
    ],
)
def test_which_convolutions_suit_channels_last(
    channels: int, groups: int, kernel: int, stride: int | tuple[int, int], suits: bool
) -> None:
    convolution = torch.nn.Conv2d(channels, 8, kernel, stride, groups=groups)
    spec = Spec("images", "regression", (channels, 8, 8))
    model = torch.nn.Sequential(convolution, torch.nn.ReLU())
    assert machine.suits_channels_last(model, spec) is suits
    assert not machine.suits_channels_last(model, Spec("table", "regression", (4,)))
    if not suits:
        return
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        x = torch.rand(16, channels, 8, 8).contiguous(memory_format=layout)
        model.to(memory_format=layout).zero_grad()
        model(x).square().sum().backward()
        assert convolution.weight.grad is not None
        found.append(convolution.weight.grad.clone())
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)
