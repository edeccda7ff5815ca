"""A worker process: `python -m fitwell.trials.worker`, JSON lines on stdin and stdout.

It is started as a program of its own, not by multiprocessing: nothing of the parent's `__main__` is
imported again, so scripts without a guard and notebook kernels work, and Windows needs nothing
else. On Linux it is forked from a process that was started so (`fitwell.trials.lead`).

In:  {"data": folder, "threads": n}, then {"id", "task", "folder"} a trial.
Out: {"ready": true}, then {"id", "done": true}, {"id", "unimportable": why}, {"id", "failed": why} or
{"id", "unwritten": why} (a full disk, which is not the trial's fault). It ends when stdin closes, also
in the middle of a trial: so a killed parent leaves no process behind.
"""

import json
import os
import queue
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

Message = dict[str, Any]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    replies = _protect_stdout()
    messages: queue.Queue[Message] = queue.Queue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    start = messages.get()

    import torch

    from fitwell.trials.handover import read_data

    torch.set_num_threads(start["threads"])
    data = read_data(Path(start["data"]))
    import fitwell.train  # noqa: F401  (pay for the imports before the first trial)

    _say(replies, {"ready": True})
    while True:
        message = messages.get()
        _say(replies, {"id": message["id"], **answer(data, message, start["threads"])})


def answer(data: Any, message: Message, threads: int) -> Message:
    """Run the trial of a message into its folder; how it went."""
    from fitwell.errors import FolderError
    from fitwell.trials.trial import Task, run_trial

    task = Task.from_json(message["task"])
    why = unimportable(str(task.recipe.get("model.name", "")))
    if why:
        return {"unimportable": why}
    try:
        run_trial(data, task, Path(message["folder"]), threads=threads)
    except MemoryError:
        raise  # dies, and the parent tries once more in a fresh process
    except FolderError as error:
        return {"unwritten": error.message}
    except Exception as error:  # the parent must hear of it: a worker has no terminal
        return {"failed": getattr(error, "message", "") or f"{type(error).__name__}: {error}"}
    return {"done": True}


def unimportable(model: str) -> str:
    """Why this process cannot import a user's own model; empty if it can, or needs not."""
    if ":" not in model:
        return ""
    from fitwell.errors import SettingError
    from fitwell.models.custom import load_builder

    if model.startswith("__main__:"):
        return f"{model} is defined in the running script or notebook."
    try:
        load_builder(model)
    except SettingError as error:
        return error.message
    return ""


def _protect_stdout() -> TextIO:
    """The pipe to the parent, out of reach of what a user's model prints."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(pipe, "w", encoding="utf-8", buffering=1)


def _say(replies: TextIO, message: Message) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _read(messages: "queue.Queue[Message]") -> None:
    folder = ""
    for line in sys.stdin:
        message = json.loads(line)
        folder = message.get("data", folder)
        messages.put(message)
    # The parent closed the pipe, or was killed: then nobody else removes what it handed over.
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
