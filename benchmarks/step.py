"""The training step against a bare loop: same model, settings, threads; probes and recording on.

`python -m benchmarks.step` alternates, in one process and 20 rounds, (a) the bare loop, (b) a second
hand-written one, (c) the bare loop again (A/A), (d) fitwell at float32, (e) fitwell at its own
precision, and reports medians of the ratios a round.
"""

import time
from collections.abc import Callable

import torch

from benchmarks import bare, common
from fitwell import data as fitwell_data
from fitwell.data.split import Rows
from fitwell.probes import Probes
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.train import loop
from fitwell.train.job import Job, build_job

ROUNDS = 20
CASES = {
    "lenet": {"model.name": "lenet"},
    "convnet": {"model.name": "convnet"},
    "mlp": {"model.name": "mlp", "model.width": 256, "model.depth": 1, "model.norm": "none"},
}
LIMITS = {
    "lenet": {
        "second / bare": "0.95 to 1.05",
        "fitwell float32 / bare": "at most 1.05",
        "speed-up at own precision": "at least 1.25",
    },
    "convnet": {"second / bare": "0.95 to 1.05", "speed-up at own precision": "at least 2.5"},
    "mlp": {"second / bare": "0.95 to 1.05", "fitwell float32 / bare": "at most 1.10"},
}


def fitwell_seconds(job: Job, state: loop.State, steps: int, *, probed: bool = True) -> float:
    """Seconds for so many steps of fitwell's own loop, without evaluation, rows on and probes as asked.

    The state goes on from call to call, so that probes come as rarely as in a whole training.
    """
    run = Run()
    left = steps
    probes = Probes(job.model) if probed else None

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    started = time.perf_counter()
    while left > 0:
        go_on(job, state, run, probes, stop)
    seconds = time.perf_counter() - started
    if probes is not None:
        probes.close()
    return seconds


def go_on(
    job: Job, state: loop.State, run: Run, probes: Probes | None, stop: Callable[[], bool]
) -> None:
    """fitwell's own loop from where it was, in an epoch that begins anew, until it is asked to stop."""
    state.step = 0
    loop.train(
        job,
        state,
        run,
        probes=probes,
        progress=lambda *_, **__: None,
        should_stop=stop,
        after_epoch=lambda: None,
    )


def measure(name: str, threads: int) -> list[dict]:
    torch.set_num_threads(threads)
    data = fitwell_data.read(str(common.FASHION), {"limit": 0})
    train = torch.arange(10_112).numpy()  # 79 whole batches
    rows = Rows(train, train[:0], train[:0])
    settings = {**CASES[name], "train.batch_size": 128, "optim.lr": 0.02, "train.epochs": 100}
    steps = {"mlp": 75, "lenet": 75, "convnet": 20}[name]  # below an epoch: no evaluation
    jobs = {}
    for precision in ("float32", "auto"):
        recipe = complete({**settings, "train.precision": precision}, data.spec)
        jobs[precision] = build_job(data, rows, recipe, seed=0), loop.State()
    reference = build_job(data, rows, complete(settings, data.spec), seed=0)
    model = reference.model.to(memory_format=torch.contiguous_format)
    x = torch.from_numpy(reference.preprocess.inputs(data.inputs[train]))
    y = torch.from_numpy(data.targets[train])
    arms = {
        "bare": lambda: bare.first(model, x, y, 128, steps, 0.02),
        "second": lambda: bare.second(model, x, y, 128, steps, 0.02),
        "bare_again": lambda: bare.first(model, x, y, 128, steps, 0.02),
        "fitwell_float32": lambda: fitwell_seconds(*jobs["float32"], steps),
        "fitwell_auto": lambda: fitwell_seconds(*jobs["auto"], steps),
    }
    about = {"model": name, "threads": threads, "steps": steps}
    measured = common.alternated(arms, ROUNDS)
    return [{**about, "round": number, **seconds} for number, seconds in enumerate(measured)]


def summarise(rows: list[dict]) -> dict:
    summary = {}
    for key in dict.fromkeys((r["model"], r["threads"]) for r in rows):
        mine = [r for r in rows if (r["model"], r["threads"]) == key]
        summary[f"{key[0]}, {key[1]} threads"] = {
            "second / bare": common.spread([r["second"] / r["bare"] for r in mine]),
            "A/A": common.spread([r["bare_again"] / r["bare"] for r in mine]),
            "fitwell float32 / bare": common.spread(
                [r["fitwell_float32"] / r["bare"] for r in mine]
            ),
            "speed-up at own precision": common.spread(
                [r["bare"] / r["fitwell_auto"] for r in mine]
            ),
            "bare images/s": common.spread([128 * r["steps"] / r["bare"] for r in mine]),
        }
    return summary


def main() -> None:
    result = common.load("step", timed=True)
    result["limits"] = {
        f"{name}, {threads} threads": LIMITS[name] for name in CASES for threads in (1, 2)
    }
    for threads in (1, 2):
        for name in CASES:
            if not common.done(result, model=name, threads=threads):
                for row in measure(name, threads):
                    common.add(result, row)
    result["summary"] = summarise(result["rows"])
    common.save(result)
    for key, figures in result["summary"].items():
        print(key, {k: round(v["median"], 3) for k, v in figures.items()})


if __name__ == "__main__":
    main()
