"""Who runs the trials: warm worker processes side by side, or this process where those cannot.

Importing torch costs seconds and hundreds of megabytes, so workers are started once, while the
parent still prepares, and stay for all trials; on Linux they share one import. All of them have the
same number of threads at all times: the two arms of a pair then run under equal conditions, wherever
each of them lands.
"""

import queue
import tempfile
import time
import warnings
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from fitwell import store
from fitwell.data.types import Data
from fitwell.errors import FolderError
from fitwell.launched import num_cores
from fitwell.trials.handover import data_bytes, write_data
from fitwell.trials.memory import fitting
from fitwell.trials.process import Worker, stop
from fitwell.trials.reusing import ATTEMPTS, End, OnStart, Reusing
from fitwell.trials.trial import Task, finished


class LocalExecutor(Reusing):
    """Trials on this machine; a context manager.

    Args:
        data: what to train on.
        folder: the run folder; trials stand in `folder/trials/`, and finished ones are reused.
        workers: processes; 0 chooses, see `num_workers`, as many as have room in memory. With 1 worker
            there is still a process of its own, so that a crash costs a trial and not the session.
        threads: threads a worker; 0 shares the cores out evenly. Where each asks for several, so many
            fewer workers are started.
        trials: how many trials are expected, if that is known: no worker is started for nothing, no
            core idle early.
        in_process: run everything here, without workers and without a warning.
    """

    def __init__(
        self,
        data: Data,
        folder: Path,
        *,
        workers: int = 0,
        threads: int = 0,
        trials: int = 0,
        in_process: bool = False,
    ) -> None:
        cores = num_cores()
        wanted = workers or fitting(num_workers(cores, trials, threads), data_bytes(data))
        wanted = 1 if in_process else wanted
        self.workers = min(wanted, trials) if trials else wanted
        super().__init__(data, folder, threads or max(1, cores // self.workers))
        self.in_process = in_process
        self._temporary: Path | None = None
        self._pool: list[Worker] = []
        self._messages: queue.Queue[tuple[Worker, dict | None]] = queue.Queue()
        # Also at interpreter exit, and when the executor is dropped without close().
        self._finalizer = weakref.finalize(self, _clean_up, self._pool, holder := [])
        self._holder: list[Path] = holder
        if not in_process:
            self._start()

    def _start(self) -> None:
        """Start the workers; they import torch while the parent goes on."""
        with store.saying_no_space(Path(tempfile.gettempdir())):
            self._temporary = Path(tempfile.mkdtemp(prefix="fitwell-"))
            self._holder.append(self._temporary)
            self._pool.extend(self._new_worker() for _ in range(self.workers))
            write_data(self.data, self._temporary)
        for worker in self._pool:
            worker.send({"data": str(self._temporary), "threads": self.threads})

    def _new_worker(self) -> Worker:
        assert self._temporary is not None
        return Worker(self._messages, self._temporary, self.threads)

    def close(self) -> None:
        """Stop the workers and remove the data handed to them."""
        self._finalizer()

    def run_elsewhere(
        self, tasks: Sequence[Task], open_: deque[int], end: End, begin: OnStart
    ) -> None:
        """Empty `open_`, or leave in it what must run in this process."""
        if self.in_process:
            return
        if not self._finalizer.alive:
            raise RuntimeError("The executor is closed.")
        attempts: dict[int, int] = {}
        while open_ or any(w.task is not None for w in self._pool):
            for worker in self._pool:
                if worker.task is None and open_ and not self.in_process:
                    worker.task = index = open_.popleft()
                    attempts[index] = attempts.get(index, 0) + 1
                    begin(tasks[index])
                    place = str(self.place(tasks[index]))
                    worker.send({"id": index, "task": tasks[index].to_json(), "folder": place})
            if self.in_process and all(w.task is None for w in self._pool):
                return
            try:  # a timeout, since a wait without one cannot be interrupted on Windows
                worker, message = self._messages.get(timeout=0.2)
            except queue.Empty:
                continue
            if worker not in self._pool:
                continue  # the last word of a worker that was replaced
            index = worker.task
            if message is None:
                self._died(worker, index, attempts, open_, tasks, end)
            elif message.get("ready"):
                worker.ready = True
            elif index is not None and message.get("id") == index:
                worker.task = None
                self._answered(message, index, open_, tasks, end)

    def _answered(
        self,
        message: dict,
        index: int,
        open_: deque[int],
        tasks: Sequence[Task],
        end: End,
    ) -> None:
        task = tasks[index]
        if "unimportable" in message:
            open_.appendleft(index)
            self._stay_here(message["unimportable"])
            return
        if "unwritten" in message:
            raise FolderError(message["unwritten"], where=str(self.place(task)))
        run = None if "failed" in message else finished(task, self.place(task))
        end(index, run or self.failed(task, message.get("failed", "Its folder is not whole.")))

    def _died(
        self,
        worker: Worker,
        index: int | None,
        attempts: dict[int, int],
        open_: deque[int],
        tasks: Sequence[Task],
        end: End,
    ) -> None:
        """Replace a worker that ended; its trial is tried once more, then reported as failed."""
        why = worker.last_words()
        stop([worker])
        slot = self._pool.index(worker)
        if not worker.ready and worker.restarts:  # twice before the first trial: it never will
            self._pool.pop(slot)
            if index is not None:
                attempts[index] -= 1
                open_.appendleft(index)
            if not self._pool:
                self._stay_here(f"A worker process ended while it started: {why}")
            return
        fresh = self._new_worker()
        fresh.restarts = worker.restarts + 1 if not worker.ready else 0
        fresh.send({"data": str(self._temporary), "threads": self.threads})
        self._pool[slot] = fresh
        if index is None:
            return
        if not worker.ready:
            attempts[index] -= 1  # it was never begun
        if attempts[index] < ATTEMPTS:
            open_.appendleft(index)
        else:
            sentence = f"The worker process ended {ATTEMPTS} times in this trial: {why}"
            end(index, self.failed(tasks[index], sentence, lost=True))

    def _stay_here(self, why: str) -> None:
        if not self.in_process:
            self.in_process = True
            warnings.warn(
                f"Trials run in this process, one after another: workers cannot run them. {why}",
                stacklevel=2,
            )


def num_workers(cores: int, trials: int, threads: int = 0) -> int:
    """One a core; a few more where the last round of so many trials would leave cores idle.

    A trial of several threads takes as many cores. Five trials on two cores are 2.5 rounds of work, but
    two workers need three: the third trial of one worker runs while the other waits. Three workers
    share the cores until all is done.

    >>> num_workers(2, 5), num_workers(2, 4), num_workers(4, 5), num_workers(8, 5), num_workers(6, 0)
    (3, 2, 5, 5, 6)
    >>> num_workers(16, 0, threads=4), num_workers(8, 12, threads=2), num_workers(2, 5, threads=64)
    (4, 4, 1)
    """
    cores = max(1, cores // (threads or 1))
    if not trials:
        return cores
    for workers in range(cores, 2 * cores):
        if trials % workers == 0 or trials % workers >= cores:
            return min(workers, trials)
    return min(cores, trials)


def _clean_up(pool: list[Worker], folders: list[Path]) -> None:
    import shutil

    stop(pool)
    pool.clear()
    for folder in folders:
        for _ in range(10):  # Windows lets go of a mapped file some time after its process ended
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.1)
