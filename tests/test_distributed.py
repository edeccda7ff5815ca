"""One training in two processes that torchrun starts: its result is that of one process.

What two processes add up in another order differs in the last digits. Measured here on the processor:
weights differ by at most 3e-7 of the largest one of their tensor after two epochs.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import fitwell as fw
from fitwell import record, store

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
}
RUNS = """
import json, os, sys
import fitwell as fw
for name, (model, settings) in json.loads(sys.argv[2]).items():
    run = fw.fit("digits", model=model, settings=settings, out=f"{sys.argv[1]}/{name}")
    said = {"scores": run.scores, "steps": run.steps, "threads": run.environment["threads"]}
    with open(f"{sys.argv[1]}/{name} {os.environ['RANK']}.json", "w") as file:
        json.dump(said, file)
"""


def torchrun(*words: str, processes: int = 2) -> "subprocess.Popen[str]":
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
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def both_ways(cases: dict[str, tuple[str, dict[str, Any]]], folder: Path, processes: int) -> None:
    """Each case in one process and in several: the same weights, losses and scores, and one account."""
    cases = {name: (model, {**SMALL, **settings}) for name, (model, settings) in cases.items()}
    script = folder / "runs.py"
    script.write_text(RUNS)
    together = torchrun(str(script), str(folder), json.dumps(cases), processes=processes)
    alone = {
        name: fw.fit("digits", model=model, settings=settings, out=folder / f"{name} alone")
        for name, (model, settings) in cases.items()
    }
    code, _, err = ended(together)
    assert code == 0, err
    assert "Warning" not in err
    for name, run in alone.items():
        same_run(run, store.open_run(folder / name))
        said = [json.loads((folder / f"{name} {r}.json").read_text()) for r in range(processes)]
        assert all(each == said[0] for each in said)
        assert said[0]["threads"] == 1


def same_run(expected: record.Run, run: record.Run) -> None:
    assert expected.folder is not None and run.folder is not None
    same_weights(expected.folder, run.folder)
    assert run.status == expected.status == "done"
    assert run.scores.keys() == expected.scores.keys()
    for part, scores in expected.scores.items():
        assert run.scores[part] == pytest.approx(scores, rel=1e-4)
    for name in ("steps", "epochs", "probes"):
        assert len(getattr(run, name)) == len(getattr(expected, name))
    for row, other in zip(run.steps, expected.steps, strict=True):
        assert row == pytest.approx(other, rel=1e-4)


def same_weights(expected: Path, folder: Path) -> None:
    theirs, ours = (load_file(each / "best.safetensors") for each in (expected, folder))
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        off = (ours[name] - weight).abs().max() / weight.abs().max().clamp(min=1e-3)
        assert float(off) < TOLERANCE, name


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    both_ways(CASES, tmp_path, 2)
