"""Workers forked from a process that has imported torch: whose they are, and what becomes of them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import left_of

from fitwell.data.types import Data
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.trials import forking
from fitwell.trials.crossval import cross_validate
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.forking import Forked
from fitwell.trials.trial import Task

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

TELLING = """
import json, os, pathlib, sys
import torch

def net(spec, *, marker: str = ""):
    told = {"folder": os.getcwd(), "word": os.environ.get("FITWELL_TOLD", ""), "path": sys.path[0],
            "parent": os.getppid(), "threads": torch.get_num_threads(),
            "forked_badly": torch.cuda._is_in_bad_fork()}
    pathlib.Path(marker).write_text(json.dumps(told))
    return torch.nn.Linear(spec.input_shape[0], spec.num_outputs)

def killed(spec):
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def _leads_of_its_own() -> Iterator[None]:
    before = dict(forking._leads)
    forking._leads.clear()
    yield
    forking._end()
    forking._leads.clear()
    forking._leads.update(before)


@pytest.fixture(scope="module")
def recipe(wine: Data) -> Recipe:
    return complete({"source": "wine", "model.name": "linear", "train.epochs": 1}, wine.spec)


def told(wine: Data, folder: Path) -> dict[str, object]:
    settings = {"model.name": "telling_nets:net", "model.marker": str(folder / "told.json")}
    recipe = complete({"train.epochs": 1, **settings}, wine.spec)
    with LocalExecutor(wine, folder / "out", workers=1, threads=1) as executor:
        assert isinstance(executor._pool[0].process, Forked)
        (run,) = executor.run([Task(recipe, 0)])
    assert run.status == "done"
    return json.loads((folder / "told.json").read_text())


def test_a_worker_has_the_environment_path_and_folder_of_its_moment(
    wine: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITWELL_TRUST", "telling_nets")
    parents = set()
    for word in ("first", "second"):
        folder = tmp_path / word
        folder.mkdir()
        (folder / "telling_nets.py").write_text(TELLING)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            patch.setenv("FITWELL_TOLD", word)
            patch.chdir(folder)
            patch.delitem(sys.modules, "telling_nets", raising=False)
            found = told(wine, folder)
        assert found["folder"] == str(folder) and found["path"] == str(folder)
        assert found["word"] == word and found["threads"] == 1 and not found["forked_badly"]
        parents.add(found["parent"])
    assert len(parents) == 1  # both of the same lead: the second one imported nothing anew


def test_another_variable_that_libraries_read_early_is_another_lead(
    wine: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("1", "2"):
        monkeypatch.setenv("TORCH_FITWELL_TEST", value)
        LocalExecutor(wine, tmp_path, workers=1, threads=1).close()
    LocalExecutor(wine, tmp_path, workers=1, threads=2).close()
    assert len(forking._leads) == 3


def test_without_a_lead_workers_start_by_themselves(
    wine: Data, recipe: Recipe, tmp_path: Path
) -> None:
    with LocalExecutor(wine, tmp_path / "a", workers=2, threads=1) as executor:
        first = cross_validate(wine, recipe, executor)
        (lead,) = forking._leads.values()
        assert lead is not None
        pids = [worker.process.pid for worker in executor._pool]
        lead.process.kill()
        lead.process.wait()
        again = cross_validate(wine, recipe, executor, repeat=1)  # its workers are still there
    assert [run.status for run in [*first, *again]] == ["done"] * 10
    assert not left_of(pids)
    with LocalExecutor(wine, tmp_path / "b", workers=1, threads=1) as executor:
        assert not isinstance(executor._pool[0].process, Forked)
        runs = cross_validate(wine, recipe, executor)
    assert [run.scores for run in runs] == [run.scores for run in first]


def test_how_a_forked_worker_ended_is_told(
    wine: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "telling_nets.py").write_text(TELLING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FITWELL_TRUST", "telling_nets")
    deadly = complete({"train.epochs": 1, "model.name": "telling_nets:killed"}, wine.spec)
    with LocalExecutor(wine, tmp_path / "out", workers=1, threads=1) as executor:
        (run,) = executor.run([Task(deadly)])
    assert run.status == "failed" and "killed by signal 9" in run.failure


def test_the_lead_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from fitwell.data import read\n"
        "from fitwell.trials import forking\n"
        "from fitwell.trials.executor import LocalExecutor\n"
        "executor = LocalExecutor(read('wine', {}), Path('out'), workers=2, threads=1)\n"
        "(lead,) = forking._leads.values()\n"
        "print(lead.process.pid, *[w.process.pid for w in executor._pool], flush=True)\n"
        "import time; time.sleep(ENDS)\n"
    )
    for seconds, killed in (("0", False), ("60", True)):
        process = subprocess.Popen(
            [sys.executable, "-c", script.replace("ENDS", seconds)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        pids = [int(number) for number in process.stdout.readline().split()]
        assert len(pids) == 3 and all(pids)
        if killed:
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        process.stdout.close()
        assert not left_of(pids)
