"""One worker process, seen from the parent: start, send, listen, stop."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fitwell.trials.forking import environment, forked

Message = dict[str, Any]


def _started(threads: int, log: int) -> "subprocess.Popen[str]":
    """A worker that imports all by itself."""
    # A group of its own: Ctrl-C in the terminal then reaches the parent alone.
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        # -P: the current folder is searched only where the parent searches it.
        [sys.executable, "-P", "-m", "fitwell.trials.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment(threads),
        encoding="utf-8",
        **own_group,
    )


class Worker:
    """A started `fitwell.trials.worker`; its messages arrive in `messages`, None when it ends.

    Args:
        messages: shared by all workers of an executor.
        folder: where its log stands: what it prints must not disturb the parent's terminal.
        threads: threads that its libraries may use.
    """

    def __init__(
        self, messages: "queue.Queue[tuple[Worker, Message | None]]", folder: Path, threads: int
    ) -> None:
        self.task: int | None = None
        self.ready = False
        self.restarts = 0
        self.log = folder / f"worker-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = forked(threads, log.fileno()) or _started(threads, log.fileno())
        threading.Thread(target=self._listen, args=(messages,), daemon=True).start()

    def _listen(self, messages: "queue.Queue[tuple[Worker, Message | None]]") -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed while we listened
            for line in self.process.stdout:
                messages.put((self, json.loads(line)))
        with contextlib.suppress(ValueError, OSError):
            self.process.stdout.close()
        messages.put((self, None))

    def send(self, message: Message) -> None:
        """Send a line. To a dead worker nothing is sent: its end is heard of as a message."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def last_words(self) -> str:
        """The last line of its log and how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        code = self.process.returncode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
            lines = [line.strip() for line in lines if line.strip()]
            if lines:
                return f"{how}, {lines[-1][:300]}"
        return f"{how} (out of memory, perhaps)" if code == -9 else how


def stop(workers: Sequence[Worker]) -> None:
    """End the processes and wait for each, so that none is left as a zombie."""
    for worker in workers:
        with contextlib.suppress(OSError, ValueError):
            if worker.process.stdin:
                worker.process.stdin.close()  # a worker ends itself at once when this closes
    for worker in workers:
        try:
            worker.process.wait(3)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
