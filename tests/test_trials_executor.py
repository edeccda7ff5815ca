"""Worker processes: what they give, what they survive, and that none is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import alive, left_of

from fitwell.data import read
from fitwell.data.types import Data
from fitwell.errors import FolderError, Interrupted, SettingError
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.trials import memory
from fitwell.trials.choosing import HERE, Where
from fitwell.trials.crossval import cross_validate, summary
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.handover import read_data, write_data
from fitwell.trials.trial import Task, run_trial

CRASHING = """
import os, pathlib
import torch

def once(spec, *, marker: str = ""):
    path = pathlib.Path(marker)
    if not path.exists():
        path.touch()
        os._exit(7)
    print("models may print")
    return torch.nn.Linear(spec.input_shape[0], spec.num_outputs)

def always(spec):
    os._exit(7)

def slow(spec):
    import time
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def recipe(wine: Data) -> Recipe:
    return complete({"source": "wine", "model.name": "linear", "train.epochs": 1}, wine.spec)


@pytest.fixture(scope="module")
def executor(wine: Data, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExecutor]:
    with LocalExecutor(wine, tmp_path_factory.mktemp("out"), workers=2, threads=1) as executor:
        yield executor


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing_nets.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FITWELL_TRUST", "crashing_nets,made_in_this_process")


def test_handed_over_data_is_the_same(wine: Data, tmp_path: Path) -> None:
    write_data(wine, tmp_path)
    again = read_data(tmp_path)
    for name in ("inputs", "targets", "keys", "part"):
        assert np.array_equal(getattr(again, name), getattr(wine, name), equal_nan=name == "inputs")
    assert again.spec == wine.spec and again.fingerprint == wine.fingerprint


def test_workers_give_what_this_process_gives(
    wine: Data, recipe: Recipe, executor: LocalExecutor, tmp_path: Path
) -> None:
    there = cross_validate(wine, recipe, executor)
    here = cross_validate(wine, recipe, LocalExecutor(wine, tmp_path, threads=1, in_process=True))
    assert [r.fold for r in there] == [0, 1, 2, 3, 4]
    assert [r.scores for r in there] == [r.scores for r in here]
    assert [r.steps for r in there] == [r.steps for r in here]
    covered = np.concatenate([r.predictions["held_out"].index for r in there])
    assert len(covered) == len(set(covered.tolist())) > 0.85 * len(wine)
    table = summary(there)
    scores = [f["validation"]["accuracy"] for f in table["folds"]]
    assert table["mean"]["validation"]["accuracy"] == pytest.approx(np.mean(scores))
    assert table["std"]["validation"]["accuracy"] == pytest.approx(np.std(scores, ddof=1))


def test_trials_on_this_machine_have_no_address() -> None:
    with pytest.raises(SettingError, match="executor ray") as caught:
        Where("local", "10.0.0.1:6379").check()
    assert caught.value.setting == "address" and HERE.check() is HERE


def test_finished_trials_are_reused_and_others_are_not(
    recipe: Recipe, executor: LocalExecutor
) -> None:
    tasks = [Task(recipe, fold, 0, 5, variant="reused") for fold in range(3)]
    executor.run(tasks[:2])
    written = [(executor.place(t) / "run.json").stat().st_mtime_ns for t in tasks[:2]]
    assert executor.missing(tasks) == tasks[2:]
    (executor.place(tasks[0]) / "run.json").unlink()  # as a kill would leave it
    runs = executor.run(tasks)
    assert [r.status for r in runs] == ["done"] * 3
    assert (executor.place(tasks[0]) / "run.json").exists()
    assert (executor.place(tasks[1]) / "run.json").stat().st_mtime_ns == written[1]
    other = Task(recipe.edit({"optim.lr": 0.2}), 1, 0, 5, variant="reused")
    assert executor.missing([other]) == [other]


def test_a_trial_that_fails_is_a_failed_run(
    wine: Data, recipe: Recipe, executor: LocalExecutor
) -> None:
    task = Task(recipe.edit({"train.batch_size": 100_000}), variant="too large")
    (run,) = executor.run([task])
    assert run.status == "failed" and "train.batch_size" in run.failure
    assert executor.missing([task]) == []


def test_a_worker_that_dies_is_replaced_and_its_trial_repeated(
    wine: Data, nets: None, tmp_path: Path
) -> None:
    settings = {"model.name": "crashing_nets:once", "model.marker": str(tmp_path / "marker")}
    recipe = complete({"train.epochs": 1, **settings}, wine.spec)
    with LocalExecutor(wine, tmp_path / "out", workers=1) as executor:
        runs = cross_validate(wine, recipe, executor)
    assert (tmp_path / "marker").exists()
    assert [r.status for r in runs] == ["done"] * 5


def test_a_trial_that_kills_its_worker_twice_fails_alone(
    wine: Data, recipe: Recipe, nets: None, tmp_path: Path
) -> None:
    deadly = complete({"train.epochs": 1, "model.name": "crashing_nets:always"}, wine.spec)
    tasks = [Task(deadly, variant="deadly"), Task(recipe, variant="good")]
    with LocalExecutor(wine, tmp_path / "out", workers=1) as executor:
        bad, good = executor.run(tasks)
        pids = [w.process.pid for w in executor._pool]
        # Taken up again, it is tried again: the machine may have been short of memory.
        assert executor.missing(tasks) == [tasks[0]]
    assert bad.status == "failed" and "exit code 7" in bad.failure
    assert good.status == "done"
    assert not any(alive(pid) for pid in pids)


def test_a_model_that_workers_cannot_import_runs_here_with_one_warning(
    wine: Data, nets: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    import torch

    def net(spec: object) -> torch.nn.Module:
        return torch.nn.Linear(13, 3)

    module = types.ModuleType("made_in_this_process")
    module.net = net  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_in_this_process", module)
    recipe = complete({"train.epochs": 1, "model.name": "made_in_this_process:net"}, wine.spec)
    with LocalExecutor(wine, tmp_path / "out", workers=2) as executor:
        with pytest.warns(UserWarning, match="in this process") as warned:
            runs = cross_validate(wine, recipe, executor)
            cross_validate(wine, recipe, executor, repeat=1)
    assert len(warned) == 1
    assert [r.status for r in runs] == ["done"] * 5


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="interrupts itself by an alarm")
def test_ctrl_c_stops_the_workers(wine: Data, nets: None, tmp_path: Path) -> None:
    recipe = complete({"train.epochs": 1, "model.name": "crashing_nets:slow"}, wine.spec)
    executor = LocalExecutor(wine, tmp_path / "out", workers=1)
    pids = [w.process.pid for w in executor._pool]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(Interrupted, match="fitwell resume"):
            executor.run([Task(recipe)])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not any(alive(pid) for pid in pids)
    assert not executor._holder[0].exists()


SCRIPT = """
from pathlib import Path
from fitwell.data import read
from fitwell.resolve import complete
from fitwell.trials.crossval import cross_validate
from fitwell.trials.executor import LocalExecutor

print("started")
wine = read("wine", {})
recipe = complete({"model.name": MODEL, "train.epochs": 1}, wine.spec)
executor = LocalExecutor(wine, Path("out"), workers=2)
print("workers", *[w.process.pid for w in executor._pool], flush=True)
runs = cross_validate(wine, recipe, executor)
print("statuses", *[r.status for r in runs])
"""


def run_script(tmp_path: Path, model: str) -> subprocess.Popen[str]:
    (tmp_path / "crashing_nets.py").write_text(textwrap.dedent(CRASHING))
    (tmp_path / "script.py").write_text(SCRIPT.replace("MODEL", repr(model)))
    (tmp_path / "temporary").mkdir()
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, TMPDIR=str(tmp_path / "temporary")),
    )


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """It runs once: a worker that imported it again would print, and start workers of its own."""
    process = run_script(tmp_path, "linear")
    out, _ = process.communicate(timeout=120)
    assert out.count("started") == 1
    assert "statuses done done done done done" in out
    # It never closed the executor: that happens at exit.
    pids = [int(p) for p in out.split("workers ")[1].split("\n")[0].split()]
    assert len(pids) == 2 and not any(alive(pid) for pid in pids)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to look at processes")
def test_workers_of_a_killed_parent_end(tmp_path: Path) -> None:
    process = run_script(tmp_path, "crashing_nets:slow")
    assert process.stdout is not None
    process.stdout.readline()
    pids = [int(p) for p in process.stdout.readline().split()[1:]]
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.wait()
    left = left_of(pids)  # a worker still importing torch hears of it a little later
    process.stdout.close()
    assert not left
    assert not list((tmp_path / "temporary").glob("fitwell-*"))


def test_a_full_disk_is_not_taken_for_a_failed_trial(
    wine: Data, recipe: Recipe, tmp_path: Path
) -> None:
    with LocalExecutor(wine, tmp_path, workers=1, threads=1) as executor:
        (tmp_path / "trials").write_text("in the way")
        with pytest.raises(FolderError, match="could not be written"):
            executor.run([Task(recipe)])
    assert (tmp_path / "trials").read_text() == "in the way"


def test_both_arms_of_a_pair_compute_in_the_precision_of_the_baseline(tmp_path: Path) -> None:
    data = read("digits", {"limit": 200})
    settings = {"source": "digits", "data.limit": 200, "train.epochs": 1}
    for given, used in (("", "float32"), ("bfloat16", "bfloat16")):
        task = Task(complete(settings, data.spec), precision=given, variant=f"arm {given}")
        run = run_trial(data, task, tmp_path / f"arm{given}", threads=1)
        assert run.environment["precision"] == used
        assert run.recipe is not None and run.recipe["train.precision"] == "auto"


def test_a_final_model_trains_on_all_but_the_test_part(wine: Data, tmp_path: Path) -> None:
    recipe = complete({"source": "wine", "train.epochs": 1, "model.name": "linear"}, wine.spec)
    run = run_trial(wine, Task(recipe, kind="final"), tmp_path / "final", threads=1)
    tested = len(run.predictions["test"].target)
    assert run.epochs[0]["examples"] == len(wine) - tested and "validation" not in run.scores


def test_spread_of_a_single_fold_is_not_zero() -> None:
    run = Run(fold=0, status="done", scores={"held_out": {"accuracy": 0.5}})
    assert np.isnan(summary([run])["std"]["validation"].get("accuracy", np.nan))


@pytest.mark.parametrize("letter", ["a", "ä", "層"])
def test_the_folder_of_a_long_name_is_short_and_its_own(letter: str) -> None:
    recipe = complete({}, read("wine", {}).spec)
    names = [f"model.pretrained: {letter * 300}{i}.npz" for i in range(2)]
    folders = [Task(recipe, variant=name).folder_name for name in names]
    assert folders[0] != folders[1] and all(len(each.encode()) < 143 for each in folders)
    assert all(each.startswith(f"model.pretrained_{letter * 20}") for each in folders)
    assert Task(recipe, variant="b" * 120).folder_name == "b" * 120 + "-r0-f0"


def test_as_many_workers_as_have_room_in_memory(
    wine: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable:    2048000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available() == 2048000 * 1024
    assert memory.fitting(16, 0) == 3 and memory.fitting(2, 0) == 2
    assert memory.fitting(16, 2 * 2**30) == 1  # one at least
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.available() == 2048000 * 1024
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    assert memory.available() == 2**30 - 1000
    # Files that were read and may be dropped again take no room from a worker.
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 900\nactive_file 5\n")
    assert memory.available() == 2**30 - 100
    monkeypatch.setattr("fitwell.trials.executor.num_cores", lambda: 8)
    with LocalExecutor(wine, tmp_path / "out") as executor:
        assert executor.workers == 1 and executor.threads == 8
    (tmp_path / "meminfo").unlink()
    (tmp_path / "memory.max").unlink()
    assert memory.available() is None and memory.fitting(16, 0) == 16


def test_workers_of_several_threads_are_so_many_fewer(
    wine: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fitwell.trials.executor.num_cores", lambda: 8)
    monkeypatch.setattr("fitwell.trials.executor.fitting", lambda wanted, data_bytes: wanted)
    monkeypatch.setattr(LocalExecutor, "_start", lambda self: None)
    for asked, workers, threads in ((0, 8, 1), (1, 8, 1), (2, 4, 2), (3, 2, 3), (16, 1, 16)):
        with LocalExecutor(wine, tmp_path, threads=asked) as executor:
            assert (executor.workers, executor.threads) == (workers, threads)


def test_a_shift_changes_weights_and_order_and_no_fold(
    wine: Data, recipe: Recipe, tmp_path: Path
) -> None:
    runs = []
    for number, shift in enumerate((0, 1, 1)):
        task = Task(recipe, fold=2, seed=7, variant=f"arm{number}", shift=shift)
        runs.append(run_trial(wine, task, tmp_path / str(number), threads=1))
    plain, shifted, again = runs
    same = [run.predictions["held_out"].index for run in runs]
    assert np.array_equal(same[0], same[1]) and {run.seed for run in runs} == {7}
    losses = [[row["loss"] for row in run.steps] for run in (plain, shifted, again)]
    assert losses[1] == losses[2] != losses[0]
