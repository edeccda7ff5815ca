"""What a watched loop shows beyond its steps: evidence rows, and the run that the findings read."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitwell.nn.inits import is_norm
from fitwell.probes import describe_inputs, describe_outputs, linearity, mixing
from fitwell.probes.loss_graph import LossReading
from fitwell.record import Predictions, Row, Run
from fitwell.watching.checks import not_in_optimizer, unwrapped
from fitwell.watching.fitting import (
    OF_CLASSES,
    OF_ONE,
    fit_of,
    is_one_hot,
    numbered,
    references,
)
from fitwell.watching.learning import LEARNING, TRAIN, Learning, predictions_of, probabilities_of
from fitwell.watching.likeness import Likeness, classes_a_batch
from fitwell.watching.sample import Call, Sample, copied, outputs_of, untouched

_OTHER_SIZE = 1.5  # times: a dropout before all else changes less
_FEWEST_OTHERS = 3  # batches beside the first
_MOST_ROWS = 4096  # of outputs that have places as well as examples, over all kept calls
_MOST_NUMBERS = 2**22  # likewise: of 50,000 words at each place 83 rows do


@dataclass(frozen=True)
class Said:
    """What the model says to a kept call, as far as its loss takes it.

    Args:
        rows: [row, output]; of outputs with places (of pixels, of words) a row a place.
        places: which of the places these are, where some were drawn; None: all.
    """

    call: Call
    rows: np.ndarray
    places: np.ndarray | None = None


@dataclass
class Seen:
    """What was seen of a loop beside the rows of its steps.

    Args:
        losses, updates: how many losses were told, and how many steps the optimizers made.
        reading: of the first loss that came with its graph.
        first_loss: of classes, a mean over the examples of the first call whatever the loop makes of it.
        evaluated: how many passes without gradients there were, by mode; see `Passes`.
        passes: in training, with a gradient and without; see `Passes`.
        likeness: of what is evaluated to what is trained on.
        carried: whether gradients are not cleared between steps.
        forces: of each kept call the spread of the sizes of its gradient's numbers that are not zero, over
            their mean: how evenly the loss pushes.
        learning: what was said of the kept examples while it learned.
        outputs, outputs_training: what the model says to the kept calls at last, in evaluation mode and
            as it is trained.
    """

    losses: int = 0
    updates: int = 0
    reading: LossReading | None = None
    first_loss: float | None = None
    evaluated: dict[str, int] = field(default_factory=dict)
    passes: tuple[int, int] = (0, 0)
    likeness: Likeness | None = None
    carried: bool = False
    forces: list[float] = field(default_factory=list)
    learning: Learning = field(default_factory=Learning)
    outputs: list[Said | None] = field(default_factory=list)
    outputs_training: list[Said | None] = field(default_factory=list)

    def epoch(self, sample: Sample, loss: float | None) -> None:
        """Note what is said of the kept examples at the end of an epoch, and its validation loss."""
        reading = self.reading or LossReading()
        if _one_each(sample):
            said, asked = _paired(self.outputs)
            self.learning.add(probabilities_of(reading.name, said, asked), loss)

    def force(self, gradient: Tensor) -> None:
        """Note how evenly the loss pushes the outputs."""
        sizes = gradient.detach().float().abs()
        sizes = sizes[sizes > 0]
        if len(sizes) > 1:
            self.forces.append(float(sizes.std() / sizes.mean()))


def conclude(
    run: Run,
    seen: Seen,
    sample: Sample,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    *,
    measure: bool = False,
) -> Run:
    """The run with what its end shows: evidence, scores of the kept examples, the epoch that is open.

    Args:
        measure: fit reference models to the kept examples.
    """
    evidence: list[Row] = [
        {
            "experiment": "loop",
            "losses": seen.losses,
            "updates": seen.updates if optimizers else None,
            "missing": not_in_optimizer(model, optimizers) if optimizers else [],
            "failure": sample.failure,
            "carried": seen.carried,
            "evaluated": dict(seen.evaluated),
            "passes_used": seen.passes[0],
            "passes_idle": seen.passes[1],
            "scale_evaluated": seen.likeness.scale if seen.likeness else None,
            "shift_evaluated": seen.likeness.shift if seen.likeness else None,
            "classes_a_batch": classes_a_batch(_labels(sample)),
            "same_batch": _same_batch(sample),
            "dropout": max(map(_dropped, model.modules())),
            "normalised": _normalised(sample),
            "dropout_before_norm": dropout_before_norm(model),
        }
    ]
    table = sample.table()
    raw = None if table is None or scales_within(sample, run.probes) else table
    found = [None if raw is None else describe_inputs(raw), *_of_model(sample)]
    evidence += [row for row in found if row is not None]
    reading = seen.reading or LossReading()
    said, asked = _paired(seen.outputs)
    scores: dict[str, float] = {}
    if said is not None:
        evidence += _outputs(seen, reading, said, asked)
        scores, fit = fit_of(reading.name, said, asked)
        if fit is not None:
            training, _ = _paired(seen.outputs_training)
            fit_training = None
            if training is not None:
                fit_training = fit_of(reading.name, training, asked)[1]
            row: Row = {"experiment": "sample", "examples": len(said), "fit": fit, **scores}
            evidence.append(row | {"fit_training": fit_training})
        if seen.first_loss is not None and reading.name in OF_CLASSES:
            row = {"experiment": "first_loss", "loss": seen.first_loss, "classes": said.shape[1]}
            evidence.append(row)
    if measure and table is not None and asked is not None:
        evidence += references(table, asked, reading.name)
    losses = [row["loss"] for row in run.steps if row["loss"] is not None]
    epochs = list(run.epochs)
    if not epochs and losses:
        late = losses[-max(1, len(losses) // 20) :]
        train = {"loss": sum(late) / len(late), **scores}
        epochs = [{"epoch": 0, "train": train, "validation": None}]
    status = "failed" if run.failure else run.status
    kept = {**run.scores, **({"train": scores} if scores else {})}
    known = {**run.predictions, **_predictions(seen, sample, said, asked)}
    return replace(
        run, evidence=evidence, epochs=epochs, scores=kept, predictions=known, status=status
    )


def _predictions(
    seen: Seen, sample: Sample, said: np.ndarray | None, asked: np.ndarray | None
) -> dict[str, Predictions]:
    """Of the kept examples: at last, and on average while the network learned."""
    if not _one_each(sample):
        return {}
    last = probabilities_of((seen.reading or LossReading()).name, said, asked)
    batches = [len(call.target) for call in sample.calls if call.target is not None]
    found = {
        part: predictions_of(chances, asked, batches)
        for part, chances in ((TRAIN, last), (LEARNING, seen.learning.mean))
    }
    return {part: predictions for part, predictions in found.items() if predictions is not None}


def _one_each(sample: Sample) -> bool:
    """Whether each kept example has one target."""
    return all(
        (x := call.inputs) is not None
        and x.dim() > 0
        and call.target is not None
        and call.target.size == len(x)
        for call in sample.calls
    )


def _same_batch(sample: Sample) -> int | None:
    """How many examples each kept call had, where all had the same."""
    first, *others = [call.inputs for call in sample.calls] or [None]
    if first is None or len(others) < _FEWEST_OTHERS or not first.dim():
        return None
    same = all(x is not None and x.shape == first.shape and torch.equal(x, first) for x in others)
    return len(first) if same else None


def _labels(sample: Sample) -> list[np.ndarray]:
    """[batch][example] classes of the kept calls that have them."""
    targets = [call.target for call in sample.calls if call.target is not None]
    return [target for target in targets if target.ndim == 1 and target.dtype.kind == "i"]


def scales_within(sample: Sample, probes: Sequence[Row]) -> bool:
    """Whether a model scales what it is given itself: its first layer saw numbers of another size than went
    into the model, in the same call."""
    given = sample.calls[0].inputs if sample.calls else None
    first = [row for row in probes if row["kind"] == "step" and row["step"] == row["index"] == 0]
    if given is None or not first or not first[0]["input_rms"]:
        return False
    size = float(given.float().square().mean().sqrt())
    return not 1 / _OTHER_SIZE < size / first[0]["input_rms"] < _OTHER_SIZE


def _dropped(module: nn.Module) -> float:
    return module.p if isinstance(module, nn.modules.dropout._DropoutNd) else 0.0


def _normalised(sample: Sample) -> int | None:
    """The fewest numbers of a channel that a batch normalisation takes mean and variance of in the first
    kept call; None: there is none, or it cannot be told."""
    call, model = sample.calls[0] if sample.calls else None, sample.model
    if call is None or model is None:
        return None
    model, counts = unwrapped(model), list[int]()

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counts.append(inputs[0].numel() // inputs[0].shape[1])

    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    handles = [norm.register_forward_pre_hook(note) for norm in norms if sample.modes.get(norm)]
    try:
        if handles:
            with untouched(model, "cpu" if call.inputs is None else call.inputs.device.type, {}):
                model(*copied(call.args), **copied(call.kwargs))
    except Exception:  # of a model that is somebody else's
        return None
    finally:
        for handle in handles:
            handle.remove()
    return min(counts, default=None)


def _of_model(sample: Sample) -> list[Row | None]:
    """Whether a model that takes one tensor is linear, and mixes the examples of its batch."""
    call, model = sample.calls[0] if sample.calls else None, sample.model
    if call is None or model is None or len(call.args) != 1 or call.kwargs:
        return []
    x, model = call.args[0], unwrapped(model)
    if not isinstance(x, Tensor):
        return []
    kind = x.device.type

    def run(x: Tensor, seed: int) -> Any:
        with untouched(model, kind, {}):
            torch.manual_seed(seed)
            return model(x)

    def mixed() -> Row | None:
        # Only where a target stands for each does the first axis count the examples.
        single = x.dim() > 1 and call.target is not None and call.target.size == len(x)
        return mixing(run, x) if single else None

    def linear() -> Row | None:
        with untouched(model, kind, {}):
            return linearity(model, x)

    found: list[Row | None] = []
    for look in (linear, mixed):
        with suppress(
            Exception
        ):  # a model of somebody else's may not like halves, or half-way inputs
            found.append(look())
    return found


def said_to(reading: LossReading | None, sample: Sample) -> Callable[[Call, Any], Said | None]:
    """What is kept of the outputs of a call: those that its loss takes; of many places some that are drawn.

    Returns:
        (call, outputs) -> `Said`, or None where it is not known which of them the loss takes.
    """
    name = (reading or LossReading()).name

    def keep(call: Call, output: Any) -> Said | None:
        tensors = outputs_of(output)
        if call.output is None or call.output >= len(tensors):
            return None
        tensor, given = tensors[call.output].detach(), call.inputs
        places: np.ndarray | None = None
        joined = given is not None and given.dim() > 0 and len(given) < len(tensor)
        if name in OF_CLASSES and (tensor.dim() > 2 or (tensor.dim() == 2 and joined)):
            tensor = tensor.movedim(call.classes, -1).flatten(0, -2)
            number = next(i for i, each in enumerate(sample.calls) if each is call)
            places = drawn(*tensor.shape, calls=len(sample.calls), seed=number)
            tensor = tensor[torch.from_numpy(places).to(tensor.device)]
        rows = tensor.float().cpu().reshape(len(tensor) if tensor.dim() else 1, -1).numpy()
        return Said(call, rows, places)

    return keep


def _paired(outputs: Sequence[Said | None]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """[row, output] what is said now, and [row] or [row, output] what was asked for, of all kept calls."""
    known = [own for own in outputs if own is not None]
    said, asked = [own.rows for own in known], []
    for own in known:
        target = own.call.target
        if target is None:
            continue
        target = target.reshape(-1) if target.dtype.kind == "i" else target.reshape(own.rows.shape)
        asked.append(target if own.places is None else target[own.places])
    if not said or len({part.shape[1] for part in said}) > 1:
        return None, None
    return np.concatenate(said), np.concatenate(asked) if len(asked) == len(said) else None


def drawn(rows: int, numbers: int, *, calls: int, seed: int) -> np.ndarray:
    """Which rows of so many numbers stand for one of the calls."""
    most = max(1, min(_MOST_ROWS, _MOST_NUMBERS // numbers) // calls)
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _outputs(
    seen: Seen, reading: LossReading, said: np.ndarray, asked: np.ndarray | None
) -> list[Row]:
    if not np.isfinite(said).all():
        return []
    target = np.zeros(len(said), np.int64) if asked is None else asked
    rows = describe_outputs(said, target, reading.name)
    rows[0]["one_hot"] = asked is not None and is_one_hot(asked)
    rows[0]["numbered"] = None if asked is None else numbered(asked)
    rows[0]["force_spread"] = float(np.median(seen.forces)) if seen.forces else None
    if reading.name in OF_ONE:
        rows = rows[:1]  # 0 and 1 are no numbers to be reached
    facts = {"part": "train", "before": reading.before, "pairs": reading.pairs}
    return [{**row, **facts} for row in rows]


def dropout_before_norm(model: nn.Module) -> list[str]:
    """Names of the batch normalisations that come next, among normalisations, after a dropout, in the
    order in which the model defines its modules: the spread that they keep is that of training, which
    dropout makes larger.

    >>> dropout_before_norm(nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2), nn.BatchNorm1d(2)))
    ['2']
    """
    found, dropped = [], False
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            dropped = True
        elif is_norm(module):
            if dropped and isinstance(module, nn.modules.batchnorm._BatchNorm):
                found.append(name)
            dropped = False
    return found
