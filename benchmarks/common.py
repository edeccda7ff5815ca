"""What every benchmark shares: where the data is, what the machine is, and results that are kept.

A benchmark saves each row as it is measured, so that one that is longer than a sitting goes on where
it stopped: `done` says what is there already. Seconds of two machines are never mixed: what is timed
has a file for each processor. Scores may come from several; each row says from which.
"""

import json
import os
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fitwell.launched import num_cores

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("FITWELL_BENCH_DATA", ROOT.parent / "shared" / "data"))
FASHION = DATA / "fashion_mnist"
Job = tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]  # a function and what it is called with


def machine() -> dict[str, Any]:
    """Processor, cores and versions: what a number needs beside it."""
    import torch

    from fitwell.train.machine import environment

    facts = environment(torch.device("cpu"), "see rows")
    facts["versions"]["fitwell"] = version("fitwell")
    return facts


def load(name: str, *, timed: bool = False) -> dict[str, Any]:
    """What was measured so far: by this processor where the figures are seconds or bytes."""
    facts = machine()
    file = f"{name}-{_slug(_processor())}.json" if timed else f"{name}.json"
    path = RESULTS / file
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    return {
        "benchmark": name,
        "file": file,
        "command": f"python -m benchmarks.{name}",
        "machine": facts,
        "rows": [],
        "summary": {},
    }


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", re.sub(r"\(\w+\)|processor", "", text.lower())).strip("-")


def add(result: dict[str, Any], row: dict[str, Any]) -> None:
    """Keep a row, with the processor that measured it; paths of this machine as they are below the data's
    folder."""
    written = json.dumps({**row, "processor": _processor()}).replace(f"{DATA}/", "")
    result["rows"].append(json.loads(written))
    save(result)


def _processor() -> str:
    return str(machine()["machine"]["processor"])


def save(result: dict[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / result["file"]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def done(result: dict[str, Any], **key: Any) -> bool:
    """Whether a row with these entries is there already."""
    return any(all(row.get(k) == v for k, v in key.items()) for row in result["rows"])


def side_by_side(jobs: Sequence[Job]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The place of each job and its row, as they end; a process a core, of one thread. Not for timings."""
    if not jobs:
        return
    spawn = get_context("spawn")
    with ProcessPoolExecutor(num_cores(), mp_context=spawn, initializer=_one_thread) as pool:
        places = {pool.submit(work, *given): place for place, (work, given) in enumerate(jobs)}
        for ended in as_completed(places):
            yield places[ended], ended.result()


def measured(
    result: dict[str, Any],
    keys: Sequence[dict[str, Any]],
    jobs: Sequence[Job],
    summarise: Callable[[dict[str, Any]], None],
    every: int = 1,
) -> None:
    """Add the rows of these keys that are not there yet, side by side.

    Args:
        jobs: of each key, what gives its row.
        summarise: brings the summary up to date, after each so many rows and in the end.
    """
    todo = [pair for pair in zip(keys, jobs, strict=True) if not done(result, **pair[0])]
    for number, (place, row) in enumerate(side_by_side([job for _, job in todo])):
        add(result, {**todo[place][0], **row})
        if number % every == 0:
            summarise(result)
    summarise(result)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def alternated(arms: Mapping[str, Callable[[], float]], rounds: int) -> list[dict[str, float]]:
    """Seconds of each arm in each round, after one to warm up; every second round runs backwards."""
    for arm in arms.values():
        arm()
    out = []
    for number in range(rounds):
        order = [*arms.items()][:: -1 if number % 2 else 1]
        out.append({name: arm() for name, arm in order})
    return out


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, mean, standard deviation, least and most."""
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }
