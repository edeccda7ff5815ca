"""What a trained recurrent network makes of order, as evidence: rows of a run's end."""

import math

import numpy as np
import torch
from torch import Tensor

from fitwell.data.batches import Batch
from fitwell.nn.modes import evaluating
from fitwell.probes import in_any_order, reader_of, through_time
from fitwell.record import Row, Run
from fitwell.spec import NO_WORD
from fitwell.train.evaluate import evaluate_part
from fitwell.train.job import Job

_EXAMPLES = 64  # of the training part, whose gradient is taken
_LAST = "nats of the last token"


def order_of_steps(job: Job, run: Run) -> list[Row]:
    """Rows "through_time" and "shuffled_order" of a recurrent network; none of others.

    `shuffled_order`: the held-out examples (else those of the validation part; never a test part) with
    the steps of each in an order drawn at random, beside the true order: `score` and `score_shuffled`,
    `loss` and `loss_shuffled`, the mean `rise` of the loss, example by example, and its standard `error`.
    Of language only the last token of each chunk is asked, and the one before it stays where it is: what
    is told is what comes from further back.
    """
    if reader_of(job.evaluated) is None:
        return []
    rows = [_gradient(job, job.parts["train"].first(_EXAMPLES))]
    part = next((part for part in ("held_out", "validation") if part in run.predictions), None)
    if part is not None:
        rows.append((_last_tokens if job.task.name == "language" else _scores)(job, run, part))
    return [row for row in rows if row is not None]


def _gradient(job: Job, batch: Batch) -> Row | None:
    y = _last_asked(batch.y) if job.task.name == "language" else batch.y
    return through_time(job.evaluated, lambda said: job.loss(said.float(), y).sum(), batch.x)


def _scores(job: Job, run: Run, part: str) -> Row | None:
    with in_any_order(job.evaluated, run.seed):
        shuffled = evaluate_part(job, part)
    facts = {
        "metric": job.metric_name,
        "score": run.scores[part][job.metric_name],
        "score_shuffled": shuffled.scores[job.metric_name],
    }
    return _row(part, facts, run.predictions[part].loss, shuffled.loss)


def _last_tokens(job: Job, run: Run, part: str) -> Row | None:
    batches = job.parts[part]
    batch = batches.first(batches.batch_size)
    y = _last_asked(batch.y)

    def losses() -> np.ndarray:
        with evaluating(job.evaluated), torch.inference_mode():
            return job.loss(job.evaluated(batch.x).float(), y).double().cpu().numpy()

    true = losses()
    with in_any_order(job.evaluated, run.seed, kept=1):
        shuffled = losses()
    facts = {
        "metric": _LAST,
        "score": float(true.mean()),
        "score_shuffled": float(shuffled.mean()),
    }
    return _row(part, facts, true, shuffled)


def _last_asked(y: Tensor) -> Tensor:
    """[batch, token] targets without all but the last of each that is asked."""
    places = torch.arange(1, y.shape[1] + 1, device=y.device)
    asked = (y != NO_WORD) * places
    return torch.where(asked == asked.amax(1, keepdim=True), y, NO_WORD)


def _row(part: str, facts: Row, true: np.ndarray, shuffled: np.ndarray) -> Row | None:
    """The row of one part; None where losses are not finite, and where none differs: a network that reads
    its steps one at a time, or not at all, has no order to deal out."""
    true, shuffled = true.astype(float), shuffled.astype(float)
    rises = shuffled - true
    if len(rises) < 2 or not np.isfinite(rises).all() or not rises.any():
        return None
    return {
        "experiment": "shuffled_order",
        "part": part,
        **facts,
        "loss": float(np.mean(true)),
        "loss_shuffled": float(np.mean(shuffled)),
        "rise": float(rises.mean()),
        "error": float(rises.std(ddof=1)) / math.sqrt(len(rises)),
        "examples": len(rises),
    }
