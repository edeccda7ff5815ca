"""An executor whose trials are made up instead of trained; finished ones are reused as ours do."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from fitwell.data import read
from fitwell.errors import Interrupted
from fitwell.record import Run
from fitwell.trials.reusing import End, OnStart, Reusing
from fitwell.trials.trial import Task, save


class Instead(Reusing):
    """A test says in `made` what a trial gives.

    `ran` are the tasks that were not reused, in order; after `stop_after` of them Ctrl-C is pressed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(read("wine", {}), folder, threads=1)
        self.workers = 2
        self.ran: list[Task] = []
        self.stop_after = 10**9
        self.seconds = 0.0  # that a trial says it took

    def made(self, task: Task) -> Run:
        raise NotImplementedError

    def run_elsewhere(
        self, tasks: Sequence[Task], open_: deque[int], end: End, begin: OnStart
    ) -> None:
        while open_:
            task = tasks[index := open_.popleft()]
            if len(self.ran) >= self.stop_after:
                raise Interrupted("stopped by the test")
            self.ran.append(task)
            begin(task)
            end(index, save(self.made(task), task, self.place(task)))
