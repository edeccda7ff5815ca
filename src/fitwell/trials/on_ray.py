"""Trials on a cluster of Ray: each is one of its tasks, and its folder comes back to this machine.

Ray moves the data once to every node, waits for free cores, and runs the trials of a node that is lost on
another. The nodes need fitwell of the same version, and the user's own models; no folder is shared.
"""

import importlib.util
import os
import shutil
import socket
import tempfile
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.types import Data
from fitwell.errors import FolderError, SettingError, TrainingError
from fitwell.trials.handover import ARRAYS
from fitwell.trials.reusing import ATTEMPTS, End, OnStart, Reusing
from fitwell.trials.trial import Task, finished

Answer = dict[str, Any]


class RayExecutor(Reusing):
    """Trials on the nodes of a Ray cluster; a context manager.

    Args:
        data, folder: as for `LocalExecutor`.
        address: of the cluster's head, such as `10.0.0.1:6379`, `ray://...` or `auto`; without one that of
            RAY_ADDRESS, and without that a cluster of this machine alone.
        threads: of a trial, for which it takes as many cores of its node.

    Raises:
        SettingError: Ray is not installed, there is no cluster at that address, or no node of it has so
            many cores.
    """

    def __init__(self, data: Data, folder: Path, *, address: str = "", threads: int = 0) -> None:
        super().__init__(data, folder, threads or 1)
        self._own = _connect(address)
        import ray

        largest = max(
            (node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0
        )
        if largest < self.threads:
            self.close()
            raise SettingError(
                f"train.threads = {self.threads}: no node of the cluster has so many cores (the largest "
                f"has {largest:g}). Set it to at most {largest:g}.",
                setting="train.threads",
            )
        self._data = ray.put(_plain(data))

    @property
    def workers(self) -> int:
        """Trials that find cores at once, as the cluster is now."""
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 0)) // self.threads)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._own:
            import ray

            ray.shutdown()
            self._own = False

    def run_elsewhere(
        self, tasks: Sequence[Task], open_: deque[int], end: End, begin: OnStart
    ) -> None:
        """Empty `open_`, or leave in it what must run in this process."""
        import ray

        trial = ray.remote(_trial).options(num_cpus=self.threads, max_retries=ATTEMPTS - 1)
        waiting: dict[Any, int] = {}
        try:
            while open_ or waiting:
                while open_ and len(waiting) < self.workers:
                    begin(tasks[index := open_.popleft()])
                    answer = trial.remote(self._data, tasks[index].to_json(), self.threads)
                    waiting[answer] = index
                for answer in ray.wait(list(waiting), timeout=0.5)[0]:
                    index = waiting.pop(answer)
                    if why := self._ended(answer, tasks[index], index, end):
                        open_.appendleft(index)
                        open_.extend(waiting.values())
                        warnings.warn(
                            f"Trials run in this process, one after another: the cluster cannot run "
                            f"them. {why}",
                            stacklevel=2,
                        )
                        return
        except (ray.exceptions.RaySystemError, ConnectionError) as error:
            raise TrainingError(
                f"The cluster is lost ({_first_line(error)}). Every trial that has ended is saved in "
                f"{self.folder}; `fitwell resume {self.folder}` goes on from there."
            ) from None
        finally:
            for answer in waiting:
                ray.cancel(answer, force=True)

    def _ended(self, answer: Any, task: Task, index: int, end: End) -> str:
        """Take in what a node answers; why the nodes cannot run such trials, if they cannot."""
        import ray

        try:
            told: Answer = ray.get(answer)
        except ray.exceptions.RayError as error:
            why = f"Its worker on the cluster ended {ATTEMPTS} times in this trial: {_first_line(error)}"
            end(index, self.failed(task, why, lost=True))
            return ""
        if "unimportable" in told:
            return str(told["unimportable"])
        if "unwritten" in told:
            raise FolderError(told["unwritten"], where=str(self.place(task)))
        if "failed" in told:
            end(index, self.failed(task, told["failed"]))
            return ""
        place = self.place(task)
        write_files(told["files"], place)
        end(index, finished(task, place) or self.failed(task, "Its folder is not whole."))
        return ""


def _trial(data: Data, task: dict[str, Any], threads: int) -> Answer:
    """On a node: run a trial in a folder of its own, and give its files."""
    import torch

    from fitwell.trials.worker import answer

    # The data lies in the node's shared memory, which nobody may write: torch need not warn of that.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torch.set_num_threads(threads)
    folder = Path(tempfile.mkdtemp(prefix="fitwell-ray-"))
    try:
        place = folder / "trial"
        told = answer(data, {"task": task, "folder": str(place)}, threads)
        return {**told, "files": read_files(place)} if "done" in told else told
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_files(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """The folder that `read_files` read, whole or not at all; one of that name is replaced.

    Raises:
        FolderError: it cannot be written.
    """
    from fitwell import store

    with store.saying_no_space(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as temporary:
            for name, content in files.items():
                path = Path(temporary) / "trial" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (Path(temporary) / "trial").replace(folder)


def _plain(data: Data) -> Data:
    """The same data, arrays mapped from files as arrays: nodes do not have the files."""
    found = {name: getattr(data, name) for name in ARRAYS}
    arrays: dict[str, Any] = {
        name: np.asarray(array) for name, array in found.items() if array is not None
    }
    return replace(data, **arrays, aside={})


def check_ray(address: str = "") -> None:
    """Refuse, before anything is read or written, where Ray is not installed or nobody listens.

    Ray itself would wait for minutes.

    Raises:
        SettingError: one of both.
    """
    if importlib.util.find_spec("ray") is None:
        raise SettingError(
            '--executor ray needs Ray: pip install "fitwell[ray]", on every node of the cluster too.',
            setting="executor",
        )
    place = address or os.environ.get("RAY_ADDRESS", "")
    host, _, port = place.rpartition("://")[2].rpartition(":")
    if not place or place == "auto":
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise _nobody_there(place, error) from None


def _nobody_there(place: str, error: Exception) -> SettingError:
    return SettingError(
        f"--address {place}: no cluster of Ray answers there ({_first_line(error)}). Start one with `ray "
        "start --head`, which prints its address; without an address this machine alone is one.",
        setting="address",
    )


def _connect(address: str) -> bool:
    """Join the cluster, or start one; whether this process is to leave it at the end."""
    check_ray(address)
    import logging

    import ray

    if ray.is_initialized():
        return False
    try:
        ray.init(
            address or None,
            log_to_driver=False,
            include_dashboard=None if address else False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise _nobody_there(address or "auto", error) from None
    return True


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")[:200] or type(error).__name__
