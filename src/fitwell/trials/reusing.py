"""What every executor does: trials have a folder each, and those that are finished are not run again."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

from fitwell.data.types import Data
from fitwell.errors import Interrupted, going_on
from fitwell.record import Run
from fitwell.trials.trial import Task, finished, run_trial, save

OnDone = Callable[[Task, Run], None]
OnStart = Callable[[Task], None]
End = Callable[[int, Run], None]
ATTEMPTS = 2  # a trial whose worker dies is tried once more


class Executor(Protocol):
    """Runs tasks and gives their runs in the order of the tasks."""

    folder: Path

    @property
    def workers(self) -> int: ...

    def run(
        self, tasks: Sequence[Task], done: OnDone | None = None, started: OnStart | None = None
    ) -> list[Run]: ...

    def missing(self, tasks: Sequence[Task]) -> list[Task]: ...


class Reusing:
    """The part of an executor that is the same wherever trials run; a context manager.

    Args:
        data: what to train on.
        folder: the run folder; trials stand in `folder/trials/`, and finished ones are reused.
        threads: of a trial.
    """

    def __init__(self, data: Data, folder: Path, threads: int) -> None:
        self.data = data
        self.folder = Path(folder)
        self.threads = threads
        self._lost: dict[tuple[object, ...], Run] = {}  # trials that this executor gave up

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of whatever runs trials."""

    def place(self, task: Task) -> Path:
        return self.folder / "trials" / task.folder_name

    def missing(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that no finished trial folder holds yet."""
        return [t for t in tasks if finished(t, self.place(t)) is None]

    def run(
        self, tasks: Sequence[Task], done: OnDone | None = None, started: OnStart | None = None
    ) -> list[Run]:
        """Run what is not finished yet; `done` is called for each as it ends, reused ones first.

        `started` is called for each that is not reused, as it begins.

        Raises:
            Interrupted: Ctrl-C. Finished trials are kept and reused when the work is taken up
                again.
        """
        runs: dict[int, Run] = {}
        begin = started or (lambda task: None)
        open_: deque[int] = deque()

        def end(index: int, run: Run) -> None:
            runs[index] = run
            if done:
                done(tasks[index], run)

        for index, task in enumerate(tasks):
            run = finished(task, self.place(task)) or self._lost.get(_key(task))
            if run is None:
                open_.append(index)
            else:
                end(index, run)
        try:
            if open_:
                self.run_elsewhere(tasks, open_, end, begin)
            while open_:
                begin(tasks[index := open_.popleft()])
                end(index, self._run_here(tasks[index]))
        except (KeyboardInterrupt, Interrupted):
            self.close()
            raise Interrupted(
                f"Interrupted. Every trial that has ended is saved in {self.folder}; "
                f"`{going_on(self.folder)}` goes on from there."
            ) from None
        except BaseException:
            self.close()
            raise
        return [runs[i] for i in range(len(tasks))]

    def run_elsewhere(
        self, tasks: Sequence[Task], open_: deque[int], end: End, begin: OnStart
    ) -> None:
        """Empty `open_`, or leave in it what must run in this process."""
        raise NotImplementedError

    def failed(self, task: Task, why: str, *, lost: bool = False) -> Run:
        """A trial that gave nothing, written with the reason.

        Args:
            lost: by its worker: taken up again by another call, it is tried again.
        """
        run = Run(spec=self.data.spec, status="failed", failure=why)
        if lost:
            run.environment["worker_lost"] = True
        run = save(run, task, self.place(task))
        if lost:
            self._lost[_key(task)] = run
        return run

    def _run_here(self, task: Task) -> Run:
        return run_trial(self.data, task, self.place(task), threads=self.threads)


def _key(task: Task) -> tuple[object, ...]:
    """Its place, and what must be the same for its run to be reused."""
    return task.folder_name, task.recipe, task.seed
