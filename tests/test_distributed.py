"""One training in several processes that torchrun starts: its result is that of one process.

Sums taken in another order differ in the last digits; by how much, docs/torchrun.md says.
"""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

import fitwell as fw
from fitwell.cli.main import run as command
from fitwell.train.distributed import Processes
from fitwell.train.whole_norm import whole_batch_norm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv there")

TOLERANCE = 2e-5  # of the largest weight of a tensor
SMALL = {"train.epochs": 2, "data.limit": 300, "train.threads": 1, "train.precision": "float32"}
EVERYTHING = {
    "train.batch_size": 61,  # odd shares, and a last batch that is smaller
    "train.clip_norm": 0.5,
    "train.ema": 0.9,
    "loss.class_weights": "balanced",
    "augment.hflip": 0.5,
    "augment.mixup": 0.4,
    "augment.brightness": 0.2,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {}),
    "lenet": ("lenet", EVERYTHING),
    "batch norm": ("convnet", {**EVERYTHING, "model.norm": "batch"}),
    "dropout": ("mlp", {"model.dropout": 0.3}),
}
# Without momentum, and not Adam, which moves a weight whose gradient is rounding alone either way.
THAWING = {"train.thaw_epochs": 2, "model.norm": "batch", "train.epochs": 3, "optim.momentum": 0.0}
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import fitwell as fw
folder, rank, cases = Path(sys.argv[1]), os.environ["RANK"], json.loads(sys.argv[2])

def say(name, said):
    (folder / f"{name} {rank}.json").write_text(json.dumps(said))

for name, (model, settings) in cases.items():
    run = fw.fit("digits", model=model, settings=settings, out=folder / name)
    say(name, {"scores": run.scores, "steps": run.steps, "threads": run.environment["threads"]})

def stop(event, **facts):  # only the first process is told of anything
    if facts.get("epoch") == 1:
        signal.raise_signal(signal.SIGINT)

refused = []
for work in (fw.cv, fw.improve):
    try:
        work("digits", out=folder / "never")
    except fw.FitwellError as error:
        refused.append(error.message)
say("refused", refused)
try:
    fw.fit("digits", model="mlp", settings={"train.epochs": int(rank) + 1})
except fw.FitwellError as error:
    say("different", error.message)
if "dropout" in cases:
    model, settings = cases["dropout"]
    try:
        fw.fit("digits", model=model, settings=settings, out=folder / "cut", progress=stop)
    except fw.FitwellError as error:
        say("stopped", error.exit_code)
    fw.resume(folder / "cut")
"""


DYING = """
import os, signal, sys, threading, time
from pathlib import Path
import fitwell as fw

def die():
    rows = Path(sys.argv[1]) / "epochs.jsonl"
    while not (rows.exists() and rows.stat().st_size):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ["RANK"] == "1":
    threading.Thread(target=die, daemon=True).start()
fw.fit("digits", model="mlp", settings={"train.epochs": 10000}, out=sys.argv[1])
"""


def started(*words: str, processes: int = 2) -> "subprocess.Popen[str]":
    """torchrun, with these words after its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    launch += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    return subprocess.Popen(
        [sys.executable, *launch, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


def said(folder: Path, name: str, processes: int = 2) -> Any:
    """What every process said, which has to be the same."""
    each = [json.loads((folder / f"{name} {rank}.json").read_text()) for rank in range(processes)]
    assert all(other == each[0] for other in each)
    return each[0]


def both_ways(cases: dict[str, tuple[str, dict[str, Any]]], folder: Path, processes: int) -> None:
    """Each case in several processes and in one: the same weights, losses and scores."""
    cases = {name: (model, {**SMALL, **settings}) for name, (model, settings) in cases.items()}
    script = folder / "script.py"
    script.write_text(SCRIPT)
    together = started(str(script), str(folder), json.dumps(cases), processes=processes)
    alone = {
        name: fw.fit("digits", model=model, settings=settings, out=folder / f"{name} alone")
        for name, (model, settings) in cases.items()
        if name != "dropout"  # whose random numbers are others
    }
    code, _, err = ended(together)
    assert code == 0, err
    assert "Warning" not in err
    for name, run in alone.items():
        same_run(run, fw.open(folder / name))
        of_all = said(folder, name, processes)
        assert of_all["scores"] == fw.open(folder / name).scores and of_all["threads"] == 1


def same_run(expected: fw.Run, run: fw.Run) -> None:
    assert run.status == expected.status == "done"
    same_weights(expected, run, TOLERANCE)
    for name in ("epochs", "probes"):
        assert len(getattr(run, name)) == len(getattr(expected, name))
    assert run.scores.keys() == expected.scores.keys()
    for part, scores in expected.scores.items():
        assert run.scores[part] == pytest.approx(scores, rel=1e-4)
    for row, other in zip(run.steps, expected.steps, strict=True):
        measured = {name: value for name, value in other.items() if value is not None}
        assert {name: row[name] for name in measured} == pytest.approx(measured, rel=1e-4)


def same_weights(expected: fw.Run, run: fw.Run, tolerance: float) -> None:
    assert expected.folder is not None and run.folder is not None
    theirs, ours = (load_file(f / "best.safetensors") for f in (expected.folder, run.folder))
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        off = (ours[name] - weight).abs().max() / weight.abs().max().clamp(min=1e-3)
        assert float(off) <= tolerance, name


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    both_ways(CASES, tmp_path, 2)
    refused = said(tmp_path, "refused")
    assert [message.split()[0] for message in refused] == ["cv", "improve"]
    assert all("--executor ray" in message for message in refused)
    assert not (tmp_path / "never").exists()
    assert "different recipe" in said(tmp_path, "different")
    # Stopped by the first process alone, all stop and go on, with the same random numbers for each.
    assert said(tmp_path, "stopped") == 130
    same_weights(fw.open(tmp_path / "dropout"), fw.open(tmp_path / "cut"), 0.0)


@pytest.mark.slow
def test_processes_without_rows_train_as_one(tmp_path: Path) -> None:
    """The last batch has 2 rows for 3 processes."""
    last = {"train.batch_size": 14}  # of 240 training examples
    both_ways({name: (m, {**s, **last}) for name, (m, s) in CASES.items()}, tmp_path, 3)


@pytest.mark.slow
def test_layers_that_thaw_and_early_stopping(tmp_path: Path) -> None:
    cases = {
        "thaw": ("convnet", THAWING),
        "patience": ("mlp", {"train.patience": 1, "train.epochs": 6, "optim.lr": 0.0001}),
        "l1": ("mlp", {"optim.name": "sgd", "optim.l1": 0.001}),
    }
    both_ways(cases, tmp_path, 2)


@pytest.mark.slow
def test_ctrl_c_stops_all_and_torchrun_goes_on(tmp_path: Path) -> None:
    settings = ["model.name=mlp", "train.epochs=400", "train.threads=1", "train.ema=0.9"]
    process = started("-m", "fitwell", "fit", "digits", *settings, "--out", f"{tmp_path}/cut")
    rows = tmp_path / "cut" / "epochs.jsonl"
    while not (rows.exists() and rows.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code != 0 and err.count("everything is saved") == 1 and not out
    assert fw.open(tmp_path / "cut").status == "interrupted"
    code, out, err = ended(started("-m", "fitwell", "resume", f"{tmp_path}/cut", "--json"))
    assert code == 0, err
    assert json.loads(out)["scores"]["test"]["accuracy"] > 0.9
    run = fw.open(tmp_path / "cut")
    assert run.status == "done" and [row["epoch"] for row in run.epochs] == list(range(400))


@pytest.mark.slow
def test_a_process_that_dies_ends_the_training(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(DYING)
    code, _, _ = ended(started(str(script), str(tmp_path / "run")))
    assert code != 0
    assert fw.open(tmp_path / "run").status in ("running", "failed")


@pytest.mark.parametrize(
    "verb", ["improve digits", "cv digits", "predict runs/x a.png", "list models"]
)
def test_other_verbs_are_refused_once(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for rank in (0, 1):
        for name, value in {**told, "RANK": str(rank)}.items():
            monkeypatch.setenv(name, value)
        assert command([*verb.split(), "--json"]) == 2
        out, err = capsys.readouterr()
        if rank:
            assert not out and not err
        else:
            assert json.loads(out)["error"]["message"] == err.strip()
            assert err.startswith(f"{verb.split()[0]} under torchrun") and "--executor ray" in err


def test_one_process_of_torchrun_is_no_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SMALL, "model.dropout": 0.2}
    plain = fw.fit("digits", model="mlp", settings=settings, out=tmp_path / "plain")
    told = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    run = fw.fit("digits", model="mlp", settings=settings, out=tmp_path / "run")
    same_weights(plain, run, 0.0)
    assert [r["loss"] for r in run.steps] == [r["loss"] for r in plain.steps]


@pytest.mark.parametrize("examples", [1, 2, 7, 128])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_row_is_one_process_s(examples: int, count: int) -> None:
    rows = [np.arange(examples)[Processes(rank, count).rows(examples)] for rank in range(count)]
    assert np.concatenate(rows).tolist() == list(range(examples))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


@pytest.fixture
def one_in_touch(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(5), (7, 5)),
        (nn.BatchNorm1d(5, momentum=None), (7, 5, 3)),
        (nn.BatchNorm2d(5, affine=False), (4, 5, 3, 2)),
        (nn.BatchNorm2d(5, track_running_stats=False), (4, 5, 3, 2)),
        (nn.BatchNorm3d(5, eps=0.1, momentum=0.3), (4, 5, 3, 2, 2)),
    ],
)
def test_batch_norm_of_the_whole_batch_is_torch_s(
    one_in_touch: None, layer: nn.Module, shape: tuple[int, ...]
) -> None:
    ours, theirs = copy.deepcopy(layer), copy.deepcopy(layer)
    inputs = torch.randn(shape) * 3 + 100  # far from 0: a variance of squares would lose digits
    weigh = torch.randn(shape)
    found = []
    for module in (ours, theirs):
        x = inputs.clone().requires_grad_()
        with whole_batch_norm(ours):
            for _ in range(3):
                out = module(x)
            (out * weigh).sum().backward()
        found.append([out, x.grad, *(p.grad for p in module.parameters()), *module.buffers()])
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, atol=2e-4, rtol=2e-4)
    assert "forward" not in vars(ours)
    torch.testing.assert_close(ours.eval()(inputs), theirs.eval()(inputs), atol=2e-4, rtol=2e-4)
