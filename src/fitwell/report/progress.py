"""What runs now: a live display on a terminal, plain lines elsewhere. On stderr.

Work reports through one callback, `progress(event, **facts)`, and never knows who listens:

`phase` name, total (trials of the phase; 0 or absent where not known), round
`start` name, fold: a trial that begins
`trial` name, score, fold, metric, waiting, failure; done, total (counted where absent)
`left`  total: trials of the phase that are left, where fewer than announced
`epoch` epoch, epochs, loss, score, examples_per_second, lr, waiting, seconds_left
`best`  score, metric
`note`  text
`end`   the phase is over

A display must never end a run: unknown events and missing facts are left out, not refused.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from fitwell.report.wording import duration, higher_is_better, metric_word, number, short

PHASES = {
    "baseline": "Baseline on every fold",
    "folds": "Folds",
    "evidence": "Evidence",
    "screen": "Screening remedies",
    "search": "Searching",
    "confirm": "Confirming with fresh folds and seeds",
    "final": "Final model",
    "fit": "Training",
    "lr-find": "Range test",
}


@dataclass
class Standing:
    """Where the work stands, from the events so far; both displays read it."""

    phase: str = ""
    total: int = 0
    done: int = 0
    started: float = 0.0
    latest: str = ""
    running: list[str] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)  # of the phase, by variant
    best: float | None = None
    metric: str = ""
    waiting: float | None = None
    seconds_left: float | None = None
    epoch: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def update(self, event: str, facts: dict[str, Any]) -> None:
        """Take one event in."""
        if event == "phase":
            name = str(facts.get("name", ""))
            turn = facts.get("round")
            self.phase = PHASES.get(name, name) + (f", round {turn}" if turn else "")
            self.total, self.done = int(facts.get("total") or 0), 0
            self.started, self.latest, self.epoch = time.monotonic(), "", {}
            self.running, self.scores = [], {}
            self.seconds_left = None
        elif event == "start":
            self.running.append(place_words(facts))
        elif event == "left":
            self.total = self.done + int(facts.get("total") or 0)
            self.seconds_left = self._estimate()
        elif event == "trial":
            if (place := place_words(facts)) in self.running:
                self.running.remove(place)
            self.done = int(facts.get("done") or self.done + 1)
            self.total = int(facts.get("total") or self.total)
            if self.total:  # trials that were announced by nobody
                self.total = max(self.total, self.done)
            self.metric = str(facts.get("metric") or self.metric)
            self.latest = trial_words(facts)
            self._waiting(facts)
            self._arm(str(facts.get("name", "")), facts.get("score"))
            given = facts.get("seconds_left")
            self.seconds_left = given if given is not None else self._estimate()
        elif event == "epoch":
            self.epoch = facts
            self._waiting(facts)
            if not self.total:
                self.seconds_left = facts.get("seconds_left")
        elif event == "best":
            self.metric = str(facts.get("metric") or self.metric)
            self._better(facts.get("score"))
        elif event == "note":
            self.notes.append(str(facts.get("text", "")))

    def _estimate(self) -> float | None:
        """Seconds left of the phase: its pace so far, carried on."""
        if not self.total or not self.done:
            return None
        return (time.monotonic() - self.started) / self.done * max(0, self.total - self.done)

    def _waiting(self, facts: dict[str, Any]) -> None:
        share = facts.get("waiting")
        if share is not None:
            self.waiting = share if self.waiting is None else 0.8 * self.waiting + 0.2 * share

    def _arm(self, name: str, score: float | None) -> None:
        """A variant is worth the mean of its trials in this phase."""
        if score is not None and self.total:
            self.scores.setdefault(name, []).append(score)

    @property
    def leading(self) -> float | None:
        """The best of what is kept and of the variants on trial."""
        means = [sum(scores) / len(scores) for scores in self.scores.values()]
        known = [*means, *([] if self.best is None else [self.best])]
        best = max if higher_is_better(self.metric or "accuracy") else min
        return best(known) if known else None

    def _better(self, score: float | None) -> None:
        if score is None:
            return
        sign = 1 if higher_is_better(self.metric or "accuracy") else -1
        if self.best is None or sign * score > sign * self.best:
            self.best = score


def place_words(facts: dict[str, Any]) -> str:
    """Which trial: the variant in short, and the fold where it is one of several, of which repeat after the
    first.

    >>> place_words({"name": "optim.lr: 0.1 -> 0.3", "fold": 0, "repeat": 2})
    'lr: 0.1 → 0.3, repeat 2, fold 0'
    """
    words = [short(str(facts.get("name", "trial")))]
    if facts.get("fold") is not None:
        words += [f"repeat {facts['repeat']}"] if facts.get("repeat") else []
        words.append(f"fold {facts['fold']}")
    return ", ".join(words)


def trial_words(facts: dict[str, Any]) -> str:
    """One ended trial.

    >>> trial_words({"name": "lr x 3", "fold": 0, "score": 0.91, "metric": "accuracy"})
    'lr x 3, fold 0: accuracy 0.910'
    """
    if facts.get("failure"):
        return f"{place_words(facts)}: failed"
    if "score" not in facts:
        return place_words(facts)
    metric = f"{metric_word(facts['metric'])} " if facts.get("metric") else ""
    return f"{place_words(facts)}: {metric}{number(facts.get('score'))}"


def epoch_line(facts: dict[str, Any]) -> str:
    """One epoch: number, loss, score, examples a second, rate, time left, share waiting for data.

    >>> epoch_line({"epoch": 3, "epochs": 10, "loss": 0.51, "score": 0.83, "lr": 0.05,
    ...             "examples_per_second": 21034.5, "waiting": 0.014, "seconds_left": 12.0})
    'epoch  3/10  loss 0.510  score 0.830  21,034 examples/s  lr 0.05  12 s left  1 % waiting'
    """
    width = len(str(facts.get("epochs", "")))
    parts = [f"epoch {facts.get('epoch', 0):>{width}}/{facts.get('epochs', '?')}"]
    parts += [f"{k} {number(facts[k])}" for k in ("loss", "score") if facts.get(k) is not None]
    if facts.get("examples_per_second"):
        parts.append(f"{facts['examples_per_second']:,.0f} examples/s")
    if facts.get("lr") is not None:
        parts.append(f"lr {facts['lr']:.3g}")
    if facts.get("seconds_left") is not None:
        parts.append(f"{duration(facts['seconds_left'])} left")
    if facts.get("waiting") is not None:
        parts.append(f"{facts['waiting']:.0%} waiting".replace("%", " %"))
    return "  ".join(parts)


class LineProgress:
    """A line an event: for log files, pipes and notebooks."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file or sys.stderr
        self.standing = Standing()

    def __call__(self, event: str, **facts: Any) -> None:
        standing = self.standing
        standing.update(event, facts)
        if event == "phase":
            count = f" ({standing.total} trials)" if standing.total else ""
            self._write(f"{standing.phase}{count}")
        elif event == "trial":
            left = duration(standing.seconds_left) if standing.seconds_left is not None else ""
            count = f"{standing.done}/{standing.total}" if standing.total else f"{standing.done}"
            self._write(f"  {count}  {standing.latest}{f'  {left} left' if left else ''}")
        elif event == "epoch":
            self._write(f"  {epoch_line(facts)}")
        elif event == "best" and standing.best is not None:
            self._write(f"  best so far {number(standing.best)}")
        elif event == "note":
            self._write(f"  {standing.notes[-1]}")

    def _write(self, line: str) -> None:
        print(line, file=self.file, flush=True)


class LiveProgress:
    """A few lines that keep themselves current; what is worth keeping scrolls by above them."""

    def __init__(self, console: Any) -> None:
        from rich.live import Live

        self.console = console
        self.standing = Standing()
        self.lock = threading.Lock()
        self.live = Live(
            get_renderable=self._render, console=console, refresh_per_second=4, transient=True
        )

    def __call__(self, event: str, **facts: Any) -> None:
        from rich.text import Text

        with self.lock:
            before = self.standing.phase, self.standing.done, self.standing.started
            self.standing.update(event, facts)
        if event in ("phase", "end") and before[0] and (event == "end" or before[1]):
            self._keep(*before)
            if event == "end":
                self.standing.phase = ""
        elif event == "note":
            self.console.print(Text(self.standing.notes[-1], "dim"))
        elif event == "trial" and facts.get("failure"):
            self.console.print(Text(f"{self.standing.latest} ({facts['failure']})", "yellow"))

    def _keep(self, phase: str, done: int, started: float) -> None:
        from rich.text import Text

        count = f", {done} trial{'s' if done != 1 else ''}" if done else ""
        took = duration(time.monotonic() - started)
        self.console.print(Text(f"✓ {phase}{count}, {took}", "dim"))

    def _render(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        with self.lock:
            now = self.standing
            if not now.phase and not now.epoch:
                return Text("Getting ready …", "dim")
            head = Table.grid(padding=(0, 2, 0, 0))
            total, done = now.total, now.done
            if not total and now.epoch:
                total, done = now.epoch.get("epochs", 0), now.epoch.get("epoch", 0)
            bar = ProgressBar(total=total or None, completed=done, width=24, pulse=not total)
            head.add_row(Text(now.phase or "Training", "bold"), bar, f"{done}/{total or '?'}")
            said = [f"{duration(time.monotonic() - now.started)} gone"] if now.started else []
            if now.seconds_left is not None:
                said.append(f"about {duration(now.seconds_left)} left")
            if (best := now.leading) is not None:
                said.append(f"best so far {number(best)}")
            if now.waiting is not None:
                said.append(f"{now.waiting:.0%} waiting for data".replace("%", " %"))
            lines: list[Any] = [head, Text("   ".join(said), "dim")]
            if now.epoch:
                # Time left and waiting stand above it.
                here = {k: v for k, v in now.epoch.items() if k not in ("seconds_left", "waiting")}
                lines.append(Text(epoch_line(here), overflow="ellipsis", no_wrap=True))
            if now.running:
                lines.append(
                    Text(f"runs   {'; '.join(now.running)}", overflow="ellipsis", no_wrap=True)
                )
            if now.latest:
                lines.append(Text(f"ended  {now.latest}", "dim", overflow="ellipsis", no_wrap=True))
            return Group(*lines)


def silent(event: str, **facts: Any) -> None:
    """The display of `--quiet`."""


@contextmanager
def display(*, quiet: bool = False, lines: bool = False) -> Iterator[Any]:
    """The progress callback that suits stderr: live on a terminal, lines elsewhere.

    Args:
        quiet: show nothing.
        lines: plain lines on a terminal too (`--verbose`).
    """
    if quiet:
        yield silent
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if lines or not console.is_terminal or console.is_dumb_terminal:
        yield LineProgress()
        return
    progress = LiveProgress(console)
    with progress.live:
        yield progress
