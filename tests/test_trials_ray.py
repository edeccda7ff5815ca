"""Trials on a real cluster of Ray with two nodes on this machine."""

import importlib.util
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fitwell as fw
from fitwell.data.types import Data
from fitwell.errors import FolderError, SettingError
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.trials.choosing import Where
from fitwell.trials.crossval import fold_tasks
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.on_ray import RayExecutor, read_files, write_files
from fitwell.trials.trial import Task

ray = pytest.importorskip("ray", reason="Ray is an extra: fitwell[ray]")
MEMORY = 100 * 2**20  # of a node's object store: the least that Ray takes is 75 MiB


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": MEMORY}
    found = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    found.add_node(**node)
    yield found
    ray.shutdown()
    found.shutdown()


def test_a_lost_node_loses_no_trial_and_counts_none_twice(
    cluster: Any, wine: Data, tmp_path: Path
) -> None:
    # Long enough for both nodes to be at one at any time.
    recipe = complete({"model.name": "mlp", "train.epochs": 300, "train.patience": 0}, wine.spec)
    tasks = [task for r in range(2) for task in fold_tasks(recipe, repeat=r, seed=r)]
    ended: list[str] = []
    begun: list[str] = []
    lost = list(cluster.worker_nodes)

    def started(task: Task) -> None:
        begun.append(task.folder_name)
        if len(begun) == 4:
            threading.Timer(0.7, lambda: cluster.remove_node(lost.pop())).start()

    def done(task: Task, run: Run) -> None:
        ended.append(task.folder_name)

    with RayExecutor(wine, tmp_path / "ray", address=cluster.address) as executor:
        assert executor.workers == 2
        runs = executor.run(tasks, done, started)
        assert not lost and executor.workers == 1
        again = executor.run(tasks[:5])
    assert [run.status for run in runs] == ["done"] * len(tasks)
    assert Counter(ended) == Counter(task.folder_name for task in tasks)
    with LocalExecutor(wine, tmp_path / "here", in_process=True, threads=1) as local:
        here = local.run(tasks[:5])
    assert [run.scores for run in runs[:5]] == [run.scores for run in here]
    assert [run.scores for run in again] == [run.scores for run in here]
    held = runs[0].predictions["held_out"]
    assert np.array_equal(held.index, here[0].predictions["held_out"].index)


def test_a_cross_validation_says_where_it_runs(cluster: Any, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"executor": "ray", "address": cluster.address}
    settings = {"train.epochs": 2, "data.folds": 2}
    run = fw.cv("wine", model="linear", settings=settings, out=tmp_path / "cv", **asked)
    assert run.status == "done" and len(run.trials) == 2
    assert (tmp_path / "cv" / "trials" / "baseline-r0-f1" / "run.json").is_file()


def test_a_trial_larger_than_any_node_is_refused(cluster: Any, wine: Data, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"train.threads = 64: no node.*Set it to at most 1"):
        RayExecutor(wine, tmp_path, address=cluster.address, threads=64)


def test_there_must_be_such_an_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"executor = rai: there is no such.*Did you mean ray\?"):
        fw.cv("wine", executor="rai")
    with pytest.raises(SettingError, match=r"address = here:1: trials on this machine have no"):
        fw.improve("wine", address="here:1")
    with pytest.raises(SettingError, match=r"address 127.0.0.1:1: no cluster.*ray start --head"):
        fw.cv("wine", executor="ray", address="127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(SettingError, match="address nowhere: no cluster"):
        Where("ray").check()
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "ray" else real(n))
    with pytest.raises(SettingError, match=r'pip install "fitwell\[ray\]"'):
        Where("ray").check()


def test_a_folder_comes_back_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    (there / "deep").mkdir(parents=True)
    (there / "run.json").write_text("{}")
    (there / "deep" / "a.bin").write_bytes(b"\x00\x01")
    files = read_files(there)
    here = tmp_path / "out" / "here"
    write_files({"old": b"old"}, here)
    write_files(files, here)
    assert read_files(here) == files
    real = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "run.json":
            raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FolderError, match="No space left"):
        write_files(files, here)
    assert [path.name for path in here.parent.iterdir()] == []
