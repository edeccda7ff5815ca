"""Language: tiny Shakespeare by the character, within minutes; and a step beside a bare torch loop.

`python -m benchmarks.language`: nats a character of the last tenth of the text after a training of at most
3 and of at most 30 minutes on two threads, 3 seeds each, with the counting reference of the same part, and
of an LSTM instead of the GRU; the seconds of a step of both here, rows and probes on, over those of a plain
torch loop of the same precision on the same tensors, and over those at float32; and those of two recurrent
layers as a module each, over torch's two in one.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import common
from benchmarks.step import fitwell_seconds
from fitwell.api import training
from fitwell.data import read, split
from fitwell.nn.recurrent import Recurrent
from fitwell.resolve import complete
from fitwell.train.job import build_job
from fitwell.train.loop import State
from fitwell.train.machine import autocast

TEXT = common.DATA / "tiny_shakespeare" / "input.txt"
THREADS = 2
# What is trained within so many minutes; the schedule ends with its epochs, well within them.
RECIPES: dict[str, dict[str, Any]] = {
    "3 minutes": {"train.epochs": 4, "train.max_seconds": 170.0},
    "3 minutes, lstm": {"model.name": "lstm", "train.epochs": 4, "train.max_seconds": 170.0},
    "30 minutes": {
        "model.width": 512,
        "model.dropout": 0.4,
        "optim.lr": 2e-3,
        "train.epochs": 10,
        "train.max_seconds": 1700.0,
    },
}
LIMITS = {
    "3 minutes": {"nats": "at most 1.88"},
    "30 minutes": {"nats": "at most 1.55"},
    "step, lstm": {"over a bare loop": "at most 1.03"},
    "step, gru": {"over a bare loop": "at most 1.03"},
}
STEPS, ROUNDS = 10, 9


def main() -> None:
    result = common.load("language", timed=True)
    result["limits"] = LIMITS
    torch.set_num_threads(THREADS)
    timed = {"lstm": partial(steps, "lstm"), "gru": partial(steps, "gru"), "two layers": layers}
    for name, measure in timed.items():
        for number, row in enumerate(measure() if not common.done(result, case=name) else ()):
            common.add(result, {"case": name, "round": number, **row})
    for name in RECIPES:
        for seed in range(3):
            if not common.done(result, case=name, seed=seed):
                row = trained({**RECIPES[name], "train.seed": seed})
                common.add(result, {"case": name, "seed": seed, **row})
                print(name, seed, row, flush=True)
    result["summary"] = summary(result["rows"])
    common.save(result)


def trained(settings: dict[str, Any]) -> dict[str, Any]:
    """Scores of the last tenth, and what the training took."""
    settings = {**settings, "train.threads": THREADS}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = training.fit(str(TEXT), settings=settings, out=Path(folder) / "run", examples=False)
        seconds = time.perf_counter() - started
    counted = {r["model"]: r["held_out"] for r in run.evidence if r["experiment"] == "reference"}
    return {
        "nats": run.scores["validation"]["nats"],
        "train nats": run.scores["train"]["nats"],
        "markov": counted["markov"],
        "steps": len(run.steps),
        "seconds": run.seconds,
        "seconds with reading and report": seconds,
        "precision": run.environment["precision"],
    }


def steps(model: str) -> list[dict[str, float]]:
    """Seconds of some steps, ours and bare, in turns on the same batches; ours also at float32."""
    data = read(str(TEXT), {})
    jobs = {}
    for precision in ("auto", "float32"):
        asked = {"model.name": model, "train.precision": precision, "train.epochs": 100}
        recipe = complete({"source": str(TEXT), **asked}, data.spec)
        rows = split.fit_rows(data, recipe.section("data"), 0)
        jobs[precision] = build_job(data, rows, recipe, seed=0)
    arms = {
        "ours": partial(fitwell_seconds, jobs["auto"], State(), STEPS),
        "bare": partial(_bare, jobs["auto"]),
        "float32": partial(fitwell_seconds, jobs["float32"], State(), STEPS),
    }
    return [
        {
            **row,
            "over a bare loop": row["ours"] / row["bare"],
            "over float32": row["ours"] / row["float32"],
        }
        for row in common.alternated(arms, ROUNDS)
    ]


def layers() -> list[dict[str, float]]:
    """Seconds of two LSTM layers, forward and back, as a module each and as one of torch."""
    x = torch.randn(64, 64, 256)
    lengths = torch.full((64,), 64)
    own, whole = (
        Recurrent("lstm", 256, 256, rates=[0.0, 0.0]),
        nn.LSTM(256, 256, 2, batch_first=True),
    )

    def seconds(forward: Callable[[], torch.Tensor]) -> float:
        started = time.perf_counter()
        for _ in range(STEPS):
            forward().sum().backward()
        return time.perf_counter() - started

    arms = {
        "a module each": partial(seconds, lambda: own(x, lengths)[0]),
        "one": partial(seconds, lambda: whole(x)[0]),
    }
    rows = common.alternated(arms, ROUNDS)
    return [{**row, "over one": row["a module each"] / row["one"]} for row in rows]


class _Plain(nn.Module):
    """Embedding, torch's own layer and a linear head, as anybody would write it."""

    def __init__(self, cell: type[nn.Module], symbols: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.layer = cell(width, width, batch_first=True)
        self.head = nn.Linear(width, symbols)

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        out, state = self.layer(self.embedding(x), state)
        return self.head(out), state


def _bare(job: Any) -> float:
    """A plain loop: streams cut by hand, state carried and detached, clipped, fused AdamW."""
    name, width = str(job.recipe["model.name"]), int(job.recipe["model.width"])
    symbols = job.model.head[-1].out_features
    model = _Plain({"lstm": nn.LSTM, "gru": nn.GRU}[name], symbols, width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    size, context = job.batches.batch_size, job.context
    tokens = job.batches.flat[1:-1].long()
    streams = tokens[: len(tokens) // size * size].view(size, -1)
    state = None
    started = time.perf_counter()
    for step in range(STEPS):
        at = step * context
        x, y = streams[:, at : at + context], streams[:, at + 1 : at + context + 1]
        with autocast(job.precision, job.device):
            outputs, state = model(x, state)
        state = tuple(s.detach() for s in state) if name == "lstm" else state.detach()
        F.cross_entropy(outputs.float().flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each case's figures over seeds, or rounds."""
    told = ("over a bare loop", "over float32", "over one", "nats", "markov", "steps", "seconds")
    found: dict[str, dict[str, Any]] = {}
    for case in dict.fromkeys(row["case"] for row in rows):
        alike = [row for row in rows if row["case"] == case]
        title = case if "nats" in alike[0] else f"step, {case}"
        found[title] = {n: common.spread([r[n] for r in alike]) for n in told if n in alike[0]}
    return found


if __name__ == "__main__":
    main()
