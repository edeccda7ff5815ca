"""The process that workers are forked from: `python -m fitwell.trials.lead FD`, on Linux.

Importing torch costs seconds. This process does it once, computes nothing, and becomes a worker (see
`fitwell.trials.worker`) as often as its parent asks: in milliseconds, and with the memory of the imports
shared. It has one thread, so nothing can be held by another one at a fork.

In:  {"fork": {"environment", "path", "folder"}} with three file descriptors for stdin, stdout and stderr;
     {"wait": pid, "seconds": s}
Out: {"pid": n} a fork, 0 where there is none; {"code": n} as `Popen.returncode` has it, None where the
     worker still runs.
It ends when its parent's end of the socket closes; its workers end when their stdin does.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any

from fitwell.trials.forking import LONGEST

Message = dict[str, Any]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    channel = socket.socket(fileno=int(sys.argv[1]))
    import fitwell.train
    import fitwell.trials.handover
    import fitwell.trials.trial  # noqa: F401  (paid for once, before any fork)

    while True:
        text, files, _, _ = socket.recv_fds(channel, LONGEST, 3)
        if not text:
            return
        message = json.loads(text)
        if "fork" in message:
            answer = _fork(message["fork"], files, channel)
        else:
            answer = {"code": _wait(message["wait"], message["seconds"])}
        with contextlib.suppress(OSError):  # a parent that has ended is heard of as no text
            channel.sendall(json.dumps(answer).encode())


def _fork(given: Message, files: list[int], channel: socket.socket) -> Message:
    try:
        pid = os.fork()
    except OSError:  # too many processes, or no memory
        pid = -1
    if pid == 0:
        try:
            channel.close()
            _become_worker(given, files)
        finally:
            os._exit(1)
    for file in files:
        os.close(file)
    return {"pid": max(pid, 0)}


def _become_worker(given: Message, files: list[int]) -> None:
    os.setsid()
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)
    os.environ.clear()
    os.environ.update(given["environment"])
    sys.path[:] = given["path"]
    with contextlib.suppress(OSError):  # a folder that is gone
        os.chdir(given["folder"])
    # Python's own streams stand on the lead's files, and have read ahead of them.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    from fitwell.trials import worker

    try:
        worker.main()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        raise


def _wait(pid: int, seconds: float) -> int | None:
    """The exit code of a worker, negative for a signal; None where it has not ended by then."""
    end = time.monotonic() + seconds
    while True:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return 0  # waited for before
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.005)


if __name__ == "__main__":
    main()
