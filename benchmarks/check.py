"""`fitwell check`, the first thing a person runs on new data: a table of 1,000,000 rows, and photographs.

Whole processes, as a person starts them: seconds and peak memory. The table is generated (seed 0): ten
columns of numbers, two of categories, a date as text and a target. The photographs are caltech25's 1,847
JPEG, from an empty cache and once more from the filled one.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import common

ROWS = 1_000_000
CHECK = (
    "import resource, sys; from fitwell.cli.main import run; code = run(['check', *sys.argv[1:]]);"
    "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024); sys.exit(code)"
)
LIMITS = {"1,000,000 rows, s": 10, "1,847 photographs, empty cache, s": 15}
NAMES = (*LIMITS, "1,847 photographs, filled cache, s", "1,000,000 rows, peak MB")


def table(path: Path, rows: int = ROWS) -> None:
    """A CSV whose target goes with two of its columns."""
    import polars as pl

    rng = np.random.default_rng(0)
    columns = {f"x{i}": np.round(rng.normal(size=rows) * 10 ** (i % 3), 4) for i in range(9)}
    days = rng.integers(0, 3000, rows).astype("timedelta64[D]")
    noise = rng.normal(size=rows)
    frame = pl.DataFrame(
        {
            **columns,
            "count": rng.integers(0, 5000, rows),
            "colour": rng.choice(["red", "green", "blue", "grey"], rows),
            "town": rng.choice([f"town {i}" for i in range(150)], rows),
            "day": (np.datetime64("2015-01-01") + days).astype(str),
            "price": np.round(3 * columns["x0"] + columns["x1"] + noise, 3),
        }
    )
    frame.write_csv(path)


def measured(*arguments: str, cache: Path) -> tuple[float, float]:
    """(seconds of the whole process, its peak in MB).

    Raises:
        CalledProcessError: the check failed.
    """
    started = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", CHECK, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FITWELL_CACHE": str(cache)},
    )
    seconds = time.perf_counter() - started
    return seconds, float(out.stdout.rsplit("peak", 1)[1])


def main() -> None:
    result = common.load("check", timed=True)
    result["limits"] = {name: {"value": f"at most {most}"} for name, most in LIMITS.items()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        photographs = folder / "caltech25"
        table(folder / "million.csv")
        with tarfile.open(common.DATA / "caltech25" / "caltech25.tar") as tar:
            tar.extractall(photographs, filter="data")
        for number in range(5):
            if common.done(result, round=number):
                continue
            cache = folder / f"cache {number}"
            rows, peak = measured(str(folder / "million.csv"), "data.target=price", cache=cache)
            row = {
                "round": number,
                "1,000,000 rows, s": rows,
                "1,000,000 rows, peak MB": peak,
                "1,847 photographs, empty cache, s": measured(str(photographs), cache=cache)[0],
                "1,847 photographs, filled cache, s": measured(str(photographs), cache=cache)[0],
            }
            common.add(result, row)
    result["summary"] = {
        name: {"value": common.spread([row[name] for row in result["rows"]])} for name in NAMES
    }
    common.save(result)
    for name in NAMES:
        print(name, result["summary"][name]["value"]["median"])


if __name__ == "__main__":
    main()
