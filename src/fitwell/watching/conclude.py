"""What a watched loop shows beyond its steps: evidence rows, and the run that the findings read."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitwell.nn.inits import is_norm
from fitwell.probes import describe_inputs, describe_outputs, linearity, weight_layers
from fitwell.probes.loss_graph import LossReading
from fitwell.record import Row, Run
from fitwell.watching.checks import not_in_optimizer, unwrapped
from fitwell.watching.sample import Sample, outputs_of

_DECOUPLED = ("AdamW", "Muon")  # torch's optimizers whose weight decay goes beside the gradient
_OF_CLASSES = ("cross_entropy", "nll")
_OF_ONE = ("binary_cross_entropy", "bce_of_probabilities")
_MOST_ROWS = 4096  # of outputs that have places as well as examples


@dataclass
class Seen:
    """What was seen of a loop beside the rows of its steps.

    Args:
        losses, updates: how many losses were told, and how many steps the optimizers made.
        reading: of the first loss that came with its graph.
        forces: spread of the sizes of a gradient's numbers that are not zero, over their mean.
        outputs, outputs_training: what the model says to the kept calls at last, in evaluation mode and
            as it is trained.
        penalties: layer -> root mean square of the penalties' gradient and of the rest, at the step
            that is measured.
    """

    losses: int = 0
    updates: int = 0
    reading: LossReading | None = None
    forces: list[float] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    outputs_training: list[Any] = field(default_factory=list)
    penalties: dict[str, tuple[float, float]] = field(default_factory=dict)

    def force(self, gradient: Tensor) -> None:
        """Note how evenly the loss pushes the outputs."""
        sizes = gradient.detach().float().abs()
        sizes = sizes[sizes > 0]
        if len(sizes) > 1:
            self.forces.append(float(sizes.std() / sizes.mean()))

    @torch.no_grad()
    def weigh_penalties(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        """Part the gradient of each layer into that of penalties on its weights, and the rest.

        Penalties in the loss are told from the gradient itself, by least squares on the weights (L2) and
        their signs (L1); weight decay is the optimizer's setting.
        """
        decay = {
            id(p): (float(group.get("weight_decay") or 0.0), type(o).__name__ in _DECOUPLED)
            for o in optimizers
            for group in o.param_groups
            for p in group["params"]
        }
        in_loss = self.reading is not None and self.reading.penalty
        self.penalties = {}
        for name, weights in weight_layers(model).items():
            weight = max(weights, key=lambda w: w.numel())
            if weight.grad is None or not weight.requires_grad:
                continue
            rate, decoupled = decay.get(id(weight), (0.0, False))
            gradient = weight.grad.detach().flatten().float()
            w = weight.detach().flatten().float()
            penalty = torch.zeros_like(w)
            if in_loss:
                shapes = torch.stack([w, w.sign()], 1)
                penalty = shapes @ torch.linalg.lstsq(shapes, gradient[:, None]).solution[:, 0]
            rest = _rms(gradient - penalty)
            if rate and not decoupled:
                penalty = penalty + rate * w
            if in_loss or (rate and not decoupled):
                self.penalties[name] = (_rms(penalty), rest)

    def with_penalties(self, rows: list[Row]) -> list[Row]:
        """The probe rows of a step, with what `weigh_penalties` found."""
        for row in rows:
            if row["layer"] in self.penalties:
                row["penalty_rms"], row["data_rms"] = self.penalties[row["layer"]]
        return rows


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
            "dropout_before_norm": dropout_before_norm(model),
        }
    ]
    table = sample.table()
    if table is not None:
        evidence += [row for row in [describe_inputs(table)] if row is not None]
    evidence += _linearity(sample)
    said, asked = _paired(seen, sample, seen.outputs)
    scores: dict[str, float] = {}
    reading = seen.reading or LossReading()
    if said is not None:
        evidence += _outputs(seen, reading, said, asked)
        scores, fit = fit_of(reading.name, said, asked)
        if fit is not None:
            row: Row = {"experiment": "sample", "examples": len(said), "fit": fit, **scores}
            training, _ = _paired(seen, sample, seen.outputs_training)
            if training is not None:
                row["fit_training"] = fit_of(reading.name, training, asked)[1]
            evidence.append(row)
        first = next((row["loss"] for row in run.steps[:1] if row["loss"] is not None), None)
        if reading.name in _OF_CLASSES and first is not None and not reading.penalty:
            classes = said.shape[1]
            evidence.append({"experiment": "first_loss", "loss": first, "classes": classes})
    if measure and table is not None and asked is not None:
        evidence += references(table, said, asked, reading.name)
    losses = [row["loss"] for row in run.steps if row["loss"] is not None]
    epochs = list(run.epochs)
    if not epochs and losses:
        late = losses[-max(1, len(losses) // 20) :]
        train = {"loss": sum(late) / len(late), **scores}
        epochs = [{"epoch": 0, "train": train, "validation": None}]
    status = "failed" if run.failure else run.status
    kept = {**run.scores, **({"train": scores} if scores else {})}
    return replace(run, evidence=evidence, epochs=epochs, scores=kept, status=status)


def _linearity(sample: Sample) -> list[Row]:
    """Of a model that takes one tensor."""
    call, model = sample.calls[0] if sample.calls else None, sample.model
    if (
        call is None
        or model is None
        or len(call.args) != 1
        or call.kwargs
        or not isinstance(call.args[0], Tensor)
    ):
        return []
    try:
        row = linearity(unwrapped(model), call.args[0])
    except (
        Exception
    ):  # a model that is somebody else's: it may not like what lies between two inputs
        return []
    return [] if row is None else [row]


def _paired(
    seen: Seen, sample: Sample, outputs: list[Any]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """[row, output] what is said now, and [row] or [row, output] what was asked for, of all kept calls.

    Outputs with places (of pixels, of words) become a row a place.
    """
    said, asked = [], []
    for call, output in zip(sample.calls, outputs, strict=False):
        tensors = outputs_of(output)
        if call.output is None or call.output >= len(tensors):
            continue
        tensor = tensors[call.output].detach().float().cpu()
        if tensor.dim() > 2 and seen.reading is not None and seen.reading.name in _OF_CLASSES:
            tensor = tensor.movedim(1, -1).flatten(0, -2)
        said.append(
            tensor.reshape(len(tensor), -1).numpy()
            if tensor.dim()
            else tensor.reshape(1, 1).numpy()
        )
        if call.target is not None:
            target = call.target
            if tensor.dim() > 2 or target.ndim > 1:
                target = target.reshape(len(said[-1]), -1)
                target = target[:, 0] if target.dtype.kind == "i" else target
            asked.append(target)
    if not said or len({part.shape[1] for part in said}) > 1:
        return None, None
    whole = len(asked) == len(said) and len({part.shape[1:] for part in asked}) == 1
    rows = slice(0, _MOST_ROWS)
    return np.concatenate(said)[rows], np.concatenate(asked)[rows] if whole else None


def _outputs(
    seen: Seen, reading: LossReading, said: np.ndarray, asked: np.ndarray | None
) -> list[Row]:
    if not np.isfinite(said).all():
        return []
    target = np.zeros(len(said), np.int64) if asked is None else asked
    rows = describe_outputs(said, target, reading.name)
    for row in rows:
        row["before"] = reading.before
    rows[0]["one_hot"] = asked is not None and _one_hot(asked)
    rows[0]["force_spread"] = float(np.median(seen.forces)) if seen.forces else None
    if reading.name in _OF_ONE:
        rows = rows[:1]  # 0 and 1 are no numbers to be reached
    return [{**row, "part": "train"} for row in rows]


def _one_hot(asked: np.ndarray) -> bool:
    """Whether the numbers asked for are classes: one 1 among zeros."""
    if asked.ndim != 2 or asked.shape[1] < 2 or asked.dtype.kind != "f":
        return False
    near = np.abs(asked - asked.round()) < 1e-3
    return bool(
        near.all() and np.isin(asked.round(), (0, 1)).all() and (asked.round().sum(1) == 1).all()
    )


def fit_of(
    name: str, said: np.ndarray, asked: np.ndarray | None
) -> tuple[dict[str, float], float | None]:
    """Scores of the kept examples, and how much of what there is to fit is fitted: from 0, always saying
    the same, to 1."""
    if asked is None or not np.isfinite(said).all():
        return {}, None
    if name in _OF_CLASSES and asked.ndim == 1:
        known = asked >= 0
        if known.sum() < 2:
            return {}, None
        right = float((said.argmax(1) == asked)[known].mean())
        usual = float(np.bincount(asked[known]).max() / known.sum())
        return {"accuracy": right}, (right - usual) / (1 - usual) if usual < 1 else None
    if name in _OF_ONE and asked.shape[-1] == 1:
        border = 0.0 if name == "binary_cross_entropy" else 0.5
        right = float(((said > border) == (asked > 0.5)).mean())
        usual = max(float(asked.mean()), 1 - float(asked.mean()))
        return {"accuracy": right}, (right - usual) / (1 - usual) if usual < 1 else None
    if name == "mse" and _one_hot(asked):
        classes = asked.argmax(1)
        right = float((said.argmax(1) == classes).mean())
        usual = float(np.bincount(classes).max() / len(classes))
        return {"accuracy": right}, (right - usual) / (1 - usual) if usual < 1 else None
    if name == "mse" and asked.shape == said.shape:
        spread = float(asked.var(0).mean())
        error = float(np.square(said - asked).mean())
        return {"rmse": error**0.5}, 1 - error / spread if spread > 0 else None
    return {}, None


def references(
    table: np.ndarray, said: np.ndarray | None, asked: np.ndarray, name: str
) -> list[Row]:
    """Rows "reference" of simple models on the kept examples, two halves of them in turn."""
    from fitwell import data as fitwell_data
    from fitwell.data.split import Rows
    from fitwell.experiments.reference import reference_models

    target = asked.argmax(1) if _one_hot(asked) else asked.reshape(len(asked), -1)[:, 0]
    regression = name == "mse" and not _one_hot(asked)
    if len(target) != len(table) or len(target) < 20 or table.dtype.kind != "f":
        return []
    if not regression:
        kept = np.isin(target, np.flatnonzero(np.bincount(target.astype(int).clip(0)) >= 2))
        table, target = table[kept & (target >= 0)], target[kept & (target >= 0)].astype(int)
        target = np.array([f"class {value}" for value in target])
    data = fitwell_data.read((table.reshape(len(table), -1), target), {})
    order = np.random.default_rng(0).permutation(len(target))
    halves = np.array_split(order, 2)
    metric = "rmse" if regression else "accuracy"
    found: list[Row] = []
    for fold, (train, held_out) in enumerate((halves, halves[::-1])):
        rows = Rows(np.sort(train), np.empty(0, np.int64), np.sort(held_out))
        found += reference_models(data, rows, metric=metric, fold=fold)
    return found


def dropout_before_norm(model: nn.Module) -> list[str]:
    """Names of the batch normalisations that follow a dropout with nothing but layers without memory
    between: their running variance is that of training, which dropout makes larger."""
    found, dropped = [], ""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            dropped = name
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and dropped:
            found.append(name)
            dropped = ""
        elif is_norm(module):
            dropped = ""
    return found


def _rms(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values)) / max(1, values.numel()) ** 0.5
