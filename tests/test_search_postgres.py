"""Searches that share a study on a real PostgreSQL server: workers that die, a server that stops."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from postgres import PASSWORD, Server
from postgres import server as started
from searched import Scored, searching

from fitwell.cli.main import run
from fitwell.errors import SettingError
from fitwell.search import storage
from fitwell.search.storage import StorageError, place_of

WORKER = Path(__file__).parent / "searched.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as one:
        yield one


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


def trials_of(server: Server, study: str) -> list[optuna.trial.FrozenTrial]:
    url = place_of(server.address, Path()).url
    with storage.quiet():
        return optuna.load_study(study_name=study, storage=url).get_trials()


def folds_in(folder: Path) -> set[str]:
    """The folds of the search that are trained in a run folder."""
    paths = folder.glob("trials/trial-*-r0-f*/run.json")
    return {path.parent.name for path in paths}


def in_the_middle(server: Server, folder: Path, owner: str) -> bool:
    """Whether a worker has ended a trial, and has begun another."""
    if len(folds_in(folder)) < 8:
        return False  # before it enters the study there is none to be read
    states = {
        t.state.name for t in trials_of(server, "shared") if t.user_attrs.get("owner") == owner
    }
    return "RUNNING" in states and bool(states & {"COMPLETE", "PRUNED"})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_two_workers_share_a_study_and_one_is_killed(server: Server, tmp_path: Path) -> None:
    trials = 16
    folders = [tmp_path / "first", tmp_path / "second"]
    workers = []
    for number, folder in enumerate(folders):
        command = [sys.executable, str(WORKER), str(folder), server.address, "shared"]
        command += [f"{number + 1:x}", str(trials)]
        workers.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    deadline = time.monotonic() + 120
    while not in_the_middle(server, folders[0], "1") and time.monotonic() < deadline:
        time.sleep(0.02)
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait(timeout=30)
    _, said = workers[1].communicate(timeout=240)
    assert workers[1].returncode == 0, said

    known = trials_of(server, "shared")
    ended = [t for t in known if t.state.name in ("COMPLETE", "PRUNED")]
    # Both took part, and no point was trained to its end by both.
    assert {t.user_attrs.get("owner") for t in ended} >= {"1", "2"}
    points = Counter(json.dumps(t.params, sort_keys=True) for t in ended)
    assert set(points.values()) == {1}
    # What the killed one was at is not lost: it failed, was queued again, and ended with the other.
    lost = [t for t in known if t.state.name == "FAIL" and t.user_attrs.get("owner") == "1"]
    assert lost
    again = {
        t.system_attrs.get("failed_trial"): t for t in ended if "failed_trial" in t.system_attrs
    }
    for trial in lost:
        assert again[trial.number].params == trial.params
        assert again[trial.number].user_attrs["owner"] == "2"
    # The survivor counts each once, the other's among them, and proves the best.
    document = json.loads((folders[1] / "search.json").read_text())
    assert len([row for row in document["trials"] if not row["start"]]) >= trials
    numbers = [row["number"] for row in document["trials"]]
    assert len(set(numbers)) == len(numbers)
    assert document["verdict"]["decision"] == "helps"

    # The killed one goes on, with what the study knows by now; nothing of it is trained again.
    before = {path: path.stat().st_mtime_ns for path in folders[0].glob("trials/trial-*/run.json")}
    executor = Scored(folders[0])
    where = {"storage": server.address, "study": "shared", "owner": "1"}
    searching(folders[0], executor, trials=trials, **where)
    assert len(trials_of(server, "shared")) == len(known)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_a_stopped_server_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"storage": server.address, "study": "stopped", "owner": "3", "trials": 6}
    folder = tmp_path / "run"
    executor = Scored(folder)
    train = executor.run

    def run_and_stop(tasks, done=None, started=None):  # type: ignore[no-untyped-def]
        runs = train(tasks, done, started)
        if len(executor.ran) > 10 and (server.folder / "data" / "postmaster.pid").exists():
            server.stop()
        return runs

    monkeypatch.setattr(executor, "run", run_and_stop)
    with pytest.raises(StorageError, match="stopped answering") as error:
        searching(folder, executor, **where)
    assert error.value.exit_code == 1 and f"fitwell resume {folder}" in error.value.message
    with pytest.raises(SettingError, match="cannot be reached"):
        searching(folder, Scored(folder), **where)
    server.start()
    last = Scored(folder)
    result = searching(folder, last, **where)
    ran = [(t.variant, t.repeat, t.fold, t.kind) for t in [*executor.ran, *last.ran]]
    assert len(set(ran)) == len(ran)  # what was trained before the stop is not trained again
    assert len([row for row in result.trials if not row.start]) == 6
    assert not [t for t in trials_of(server, "stopped") if not t.state.is_finished()]


def test_a_study_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    where = {"storage": server.address, "study": "other", "trials": 1}
    searching(tmp_path / "a", Scored(tmp_path / "a"), owner="4", **where)
    with pytest.raises(
        SettingError, match=r"another recipe \(train.epochs is 1 there and 2 here\)"
    ):
        changed = {"train.epochs": 2}
        searching(tmp_path / "b", Scored(tmp_path / "b"), owner="5", settings=changed, **where)
    with pytest.raises(SettingError, match="another space"):
        space = {"optim.lr": "1e-3..1:log"}
        searching(tmp_path / "c", Scored(tmp_path / "c"), space, owner="6", **where)


@pytest.mark.slow
def test_the_password_of_the_address_is_in_no_file(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    whole = server.address.replace("@", f":{PASSWORD.replace(' ', '%20')}@")
    fast = ["train.epochs=1", "data.folds=2", "--trials", "2", "--space", "lr=1e-3..1e-1:log"]
    where = ["--storage", whole, "--study", "secret", "--out", str(tmp_path / "run")]
    assert run(["search", "wine", *fast, *where, "-v"]) == 0
    said = capsys.readouterr()
    files = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    for secret in (PASSWORD, PASSWORD.replace(" ", "%20"), PASSWORD.replace(" ", "+")):
        assert secret not in said.out + said.err
        assert not any(secret.encode() in content for content in files)
    assert os.environ.get("PGPASSWORD") is None
