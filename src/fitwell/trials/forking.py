"""Workers forked from a process that has imported torch: the parent of `fitwell.trials.lead`.

The first executor of a session starts the lead; it stays until the session ends, so that later ones have
their workers at once. One lead a number of threads: libraries read it when they are imported.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import IO, Any

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
# Variables that libraries read when they are imported: who changes them needs another lead.
_READ_EARLY = ("OMP_", "MKL_", "KMP_", "OPENBLAS_", "GLIBC_", "LD_", "TORCH", "ATEN_", "PYTHON")
LONGEST = 1 << 20  # bytes of a message
_leads: dict[tuple[Any, ...], "Lead | None"] = {}  # None: it died, and no other is tried
_lock = threading.Lock()


def forked(threads: int, log: int) -> "Forked | None":
    """A worker that is there at once; None where processes are not forked, or the lead is gone.

    Args:
        threads: that its libraries may use.
        log: file descriptor of what it prints.
    """
    if sys.platform != "linux":
        return None
    given = environment(threads)
    early = {n: v for n, v in given.items() if n.startswith(_READ_EARLY) and n != "PYTHONPATH"}
    key = (os.getpid(), *sorted(early.items()))
    with _lock:
        try:
            if key not in _leads:
                _leads[key] = Lead(given)
            lead = _leads[key]
            return None if lead is None else lead.fork(given, log)
        except OSError:
            _leads[key] = None
            return None


def environment(threads: int) -> dict[str, str]:
    """The environment of a worker: the parent's, its search path, and the number of threads."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join(_search_path())
    found |= dict.fromkeys(_THREADS, str(threads))
    if sys.platform == "linux":  # huge pages for tensors: processes that share cores lose less
        tunables = [found.get("GLIBC_TUNABLES", ""), "glibc.malloc.hugetlb=1"]
        found["GLIBC_TUNABLES"] = ":".join(filter(None, tunables))
    return found


def _search_path() -> list[str]:
    return [entry or str(Path.cwd()) for entry in sys.path]


class Lead:
    """A started lead; one request after another."""

    def __init__(self, given: dict[str, str]) -> None:
        # Packets: what is sent as one message is received as one, with its files.
        self.channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "fitwell.trials.lead", str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=given,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._unread: list[Forked] = []  # forks whose answer has not been read, in their order

    def fork(self, given: dict[str, str], log: int) -> "Forked":
        """A worker; it is asked for, and not waited for: the lead may still be importing."""
        asked = {"environment": given, "path": _search_path(), "folder": str(Path.cwd())}
        message = json.dumps({"fork": asked}).encode()
        child_in, stdin = os.pipe()
        stdout, child_out = os.pipe()
        worker = Forked(self, stdin, stdout)
        try:
            with self._lock:
                socket.send_fds(self.channel, [message], [child_in, child_out, log])
                self._unread.append(worker)
        except OSError:
            worker.close()
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        return worker

    def read_forks(self) -> None:
        """Wait for the numbers of the processes that were asked for."""
        with self._lock:
            self._read_forks()

    def wait(self, pid: int, seconds: float) -> int | None:
        """The exit code of a worker; None where it still runs then."""
        with self._lock:
            self._read_forks()
            self.channel.sendall(json.dumps({"wait": pid, "seconds": seconds}).encode())
            return self._answer()["code"]

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()

    def _read_forks(self) -> None:
        while self._unread:
            answer = self._answer()
            self._unread.pop(0).number = answer["pid"]

    def _answer(self) -> dict[str, Any]:
        text = self.channel.recv(LONGEST)
        if not text:
            raise OSError("The process that workers are forked from has ended.")
        return json.loads(text)


class Forked:
    """A forked worker, with what `Popen` has of a started one."""

    def __init__(self, lead: Lead, stdin: int, stdout: int) -> None:
        self.lead = lead
        self.stdin: IO[str] = os.fdopen(stdin, "w", encoding="utf-8")
        self.stdout: IO[str] = os.fdopen(stdout, encoding="utf-8")
        self.number: int | None = None  # not known yet; 0 where it could not be forked
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        if self.number is None:
            with contextlib.suppress(OSError):
                self.lead.read_forks()
        return self.number or 0

    def wait(self, timeout: float = 3600.0) -> int:
        """Its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if self.returncode is None and not self.pid:
            self.returncode = 1
        if self.returncode is None:
            try:
                self.returncode = self.lead.wait(self.pid, timeout)
            except OSError:  # the lead was killed: nobody knows how its workers end, only that
                self.returncode = _gone(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("worker", timeout)
        return self.returncode

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        self.stdin.close()
        self.stdout.close()


def _gone(pid: int, seconds: float) -> int | None:
    """-9 once there is no such process; None where there is one then."""
    end = time.monotonic() + seconds
    while True:
        try:
            os.kill(pid, 0)
        except OSError:
            return -signal.SIGKILL
        if time.monotonic() >= end:
            return None
        time.sleep(0.01)


def _end() -> None:
    for lead in _leads.values():
        if lead is not None and lead.owner == os.getpid():
            lead.end()


class _Session:
    pass


# At exit finalizers are called in reverse order: this one after those of the executors.
_session = _Session()
weakref.finalize(_session, _end)
