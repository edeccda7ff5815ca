"""What a person waits for before anything happens, and what it takes in memory.

`fitwell --help` and a misspelt setting (whole processes), 70,000 IDX images loaded, and the peak
memory of a LeNet epoch on 60,000 images above a bare `import torch, torchvision`.
"""

import subprocess
import sys
import time

from benchmarks import common

LOAD = (
    "import time; from fitwell import data; t = time.perf_counter();"
    "x = data.read({path!r}, {{}}); print(time.perf_counter() - t, len(x.targets))"
)
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
BARE = "import torch, torchvision;" + PEAK
TRAIN = (
    "import torch, torchvision; from fitwell import data as d; from fitwell.data import split;"
    "from fitwell.resolve import complete; from fitwell.train import train_once;"
    "x = d.read({path!r}, {{}});"
    "r = complete({{'model.name': 'lenet', 'train.epochs': 1}}, x.spec);"
    "train_once(x, split.fit_rows(x, r.section('data'), 0), r);" + PEAK
)
LIMITS = {
    "help, s": 0.3,
    "misspelt setting, s": 0.3,
    "70,000 IDX images loaded, s": 1.5,
    "LeNet on 60,000 above bare import, MB": 350,
}


def seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(arguments, capture_output=True, check=False)
    return time.perf_counter() - started


def printed(code: str) -> float:
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(out.stdout.split()[0])


def main() -> None:
    result = common.load("startup", timed=True)
    result["limits"] = {name: {"value": f"at most {most}"} for name, most in LIMITS.items()}
    program = [sys.executable, "-m", "fitwell"]
    path = str(common.FASHION)
    for number in range(5):
        if common.done(result, round=number):
            continue
        bare = printed(BARE)
        row = {
            "round": number,
            "help, s": seconds([*program, "--help"]),
            "misspelt setting, s": seconds([*program, "fit", "digits", "optim.momentun=1"]),
            "70,000 IDX images loaded, s": printed(LOAD.format(path=path)),
            "LeNet on 60,000 above bare import, MB": printed(TRAIN.format(path=path)) - bare,
        }
        common.add(result, row)
    names = list(LIMITS)
    result["summary"] = {
        name: {"value": common.spread([row[name] for row in result["rows"]])} for name in names
    }
    common.save(result)
    for name in names:
        print(name, result["summary"][name]["value"]["median"])


if __name__ == "__main__":
    main()
