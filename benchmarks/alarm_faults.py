"""Faults put into healthy runs by `benchmarks.false_alarms`, their severity drawn at random."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from benchmarks.alarm_cases import taken
from fitwell import store
from fitwell.data import split
from fitwell.data.types import Data, fingerprint
from fitwell.errors import SettingError
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.spec import Column
from fitwell.train import train_once

Made = tuple[Data, Recipe]
MODELS = "benchmarks.alarm_models"


@dataclass(frozen=True)
class Fault:
    """What is done to a healthy run.

    Args:
        causes: names of the findings that say what is wrong.
        suits: whether it can be done to data and recipe at all.
        make: (data, recipe, random numbers) -> both with the fault.
        harms: whether the score must fall for the run to count as sick; else the fault is a fact of the
            data (a leak raises the score).
        truth: (data before, data, recipe) -> whether the run is sick, where a score is no measure of it.
    """

    causes: tuple[str, ...]
    suits: Callable[[Data, Recipe], bool]
    make: Callable[[Data, Recipe, Generator], Made]
    harms: bool = True
    truth: Callable[[Data, Data, Recipe], bool] | None = None


def _any(data: Data, recipe: Recipe) -> bool:
    return True


def _mlp(data: Data, recipe: Recipe) -> bool:
    return recipe["model.name"] == "mlp"


def _classes(data: Data, recipe: Recipe) -> bool:
    return data.spec.task == "classification"


def _numbers(data: Data, recipe: Recipe) -> bool:
    return data.spec.task == "regression"


def _table(data: Data, recipe: Recipe) -> bool:
    return data.spec.kind == "table" and data.inputs.dtype.kind == "f"


def _both(*tests: Callable[[Data, Recipe], bool]) -> Callable[[Data, Recipe], bool]:
    return lambda data, recipe: all(test(data, recipe) for test in tests)


def edited(**changes: Callable[[Recipe, Generator], object]) -> Callable[..., Made]:
    """Settings by `section__name`, each drawn from the recipe's and random numbers."""

    def make(data: Data, recipe: Recipe, random: Generator) -> Made:
        values = {name.replace("__", "."): draw(recipe, random) for name, draw in changes.items()}
        return data, recipe.edit({name: v for name, v in values.items() if name in recipe})

    return make


def built(name: str) -> Callable[[Data, Recipe, Generator], Made]:
    """Another network, with everything else by default for it."""

    def make(data: Data, recipe: Recipe, random: Generator) -> Made:
        store.trust_model(f"{MODELS}:{name}")
        kept = {n: v for n, v in recipe.items() if n.startswith(("train.epochs", "train.seed"))}
        return data, complete({**kept, "model.name": f"{MODELS}:{name}"}, data.spec)

    return make


def _times(name: str, low: float, high: float) -> Callable[[Recipe, Generator], float]:
    """A setting times ten to a power between the two."""
    return lambda recipe, random: float(recipe[name]) * 10 ** random.uniform(low, high)  # type: ignore[arg-type]


def _fixed(value: object) -> Callable[[Recipe, Generator], object]:
    return lambda recipe, random: value


def _epochs(recipe: Recipe, random: Generator) -> int:
    return max(1, round(int(recipe["train.epochs"]) * random.uniform(0.02, 0.08)))  # type: ignore[arg-type]


def flipped(data: Data, recipe: Recipe, random: Generator) -> Made:
    """A tenth to a third of the labels are others."""
    classes = len(data.spec.classes)
    wrong = random.random(len(data)) < random.uniform(0.1, 0.33)
    others = (data.targets + random.integers(1, classes, len(data))) % classes
    return _told(data, targets=np.where(wrong, others, data.targets)), recipe


def shuffled(data: Data, recipe: Recipe, random: Generator) -> Made:
    """Targets that belong to other examples."""
    return _told(data, targets=random.permutation(data.targets)), recipe


def rare(data: Data, recipe: Recipe, random: Generator) -> Made:
    """Of one class few examples are left: 20 at least, of which a recall is known to a fifth."""
    chosen = random.integers(len(data.spec.classes))
    own = np.flatnonzero(data.targets == chosen)
    kept = random.permutation(own)[: max(20, round(len(own) * random.uniform(0.05, 0.25)))]
    rows = np.sort(np.concatenate([np.flatnonzero(data.targets != chosen), kept]))
    return taken(data, rows), recipe.edit({"score.name": "balanced_accuracy"})


def overlooked(before: Data, data: Data, recipe: Recipe) -> bool:
    """Whether the recall of the rare class on the examples that were left out, which are many, is worse
    than that of the others by 0.2: what the rule calls clear."""
    place = {key: row for row, key in enumerate(before.keys)}
    kept = np.array([place[key] for key in data.keys])
    left = np.setdiff1d(np.arange(len(before)), kept)
    seed = int(recipe["train.seed"])  # type: ignore[arg-type]
    parts = split.fold_rows(data, recipe.section("data"), fold=0, repeat=0, seed=seed)
    tested = np.concatenate([kept[parts.held_out], left])
    rows = split.Rows(kept[parts.train], kept[parts.validation], tested)
    run = train_once(before, rows, recipe, seed=seed, fold=0, probes=False, threads=1)
    part = run.predictions["held_out"]
    right, own = part.prediction == part.target, np.isin(part.index, left)
    return bool(right[own].mean() < right[~own].mean() - 0.2)


def copied(data: Data, recipe: Recipe, random: Generator) -> Made:
    """A fifth to a half of the examples stand twice."""
    again = random.choice(len(data), round(len(data) * random.uniform(0.2, 0.5)), replace=False)
    rows = random.permutation(np.concatenate([np.arange(len(data)), again]))
    found = taken(data, rows)
    keys = np.array([f"{key} {place}" for place, key in enumerate(found.keys)])
    return replace(found, keys=keys), recipe


def constant(data: Data, recipe: Recipe, random: Generator) -> Made:
    """All but one in five hundred targets are the same number."""
    other = random.random(len(data)) < 0.002
    usual = np.full_like(data.targets, np.median(data.targets))
    return _told(data, targets=np.where(other, data.targets, usual)), recipe


def few(data: Data, recipe: Recipe, random: Generator) -> Made:
    """Too few examples for anything to be seen."""
    count = max(int(random.integers(30, 60)), 6 * len(data.spec.classes))
    batch = min(int(recipe["train.batch_size"]), count // 2)  # type: ignore[arg-type]
    kept = np.sort(random.permutation(len(data))[:count])
    return taken(data, kept), recipe.edit({"train.batch_size": batch})


def memorised(data: Data, recipe: Recipe, random: Generator) -> Made:
    """Columns of noise, almost as many as examples, and nothing that holds the network back."""
    count = min(600, round(len(data) * random.uniform(0.4, 1.0)))
    noise = random.normal(size=(len(data), count)).astype(np.float32)
    inputs = np.concatenate([data.inputs, noise], axis=1)
    columns = (*data.spec.columns, *(Column(f"noise {i + 1}") for i in range(count)))
    shape = (data.spec.input_shape[0] + count,)
    more = replace(
        data,
        spec=replace(data.spec, columns=columns, input_shape=shape),
        inputs=inputs,
        fingerprint=fingerprint(inputs, data.targets),
    )
    changes = {
        "optim.weight_decay": 0.0,
        "model.dropout": 0.0,
        "loss.label_smoothing": 0.0,
        "train.patience": 0,
    }
    return more, recipe.edit({name: v for name, v in changes.items() if name in recipe})


def _told(data: Data, **changes: np.ndarray) -> Data:
    """The data with other targets."""
    found = replace(data, **changes)  # type: ignore[arg-type]
    spec = found.spec
    if spec.task == "classification":
        counts = np.bincount(found.targets, minlength=len(spec.classes))
        spec = replace(spec, class_counts=tuple(counts.tolist()))
    return replace(found, spec=spec, fingerprint=fingerprint(found.inputs, found.targets))


FAULTS: dict[str, Fault] = {
    "rate too high": Fault(
        ("lr_too_high", "exploding_gradient"), _any, edited(optim__lr=_times("optim.lr", 1.7, 3.0))
    ),
    "rate too low": Fault(("lr_too_low",), _any, edited(optim__lr=_times("optim.lr", -4, -2.5))),
    "too few epochs": Fault(
        ("stopped_too_early", "lr_too_low"), _any, edited(train__epochs=_epochs)
    ),
    "deep sigmoids": Fault(
        ("vanishing_gradient", "saturated_activation"),
        _mlp,
        edited(
            model__activation=_fixed("sigmoid"),
            model__norm=_fixed("none"),
            model__depth=lambda recipe, random: int(random.integers(5, 9)),
        ),
    ),
    "equal weights": Fault(
        ("bad_init",),
        _any,
        edited(model__init=lambda _, random: str(random.choice(["zeros", "ones", "constant"]))),
    ),
    "no activation": Fault(
        ("linear_network", "underfitting"),
        _mlp,
        built("no_activation"),
    ),
    "one unit": Fault(
        ("underfitting", "cannot_fit_one_batch"), _mlp, edited(model__width=_fixed(1))
    ),
    "decay": Fault(
        ("over_regularised",),
        _any,
        edited(optim__weight_decay=lambda _, random: float(10 ** random.uniform(-0.7, 0.5))),
    ),
    "learned by heart": Fault(("overfitting",), _table, memorised),
    "flipped labels": Fault(("label_noise",), _classes, flipped, harms=False),
    "rare class": Fault(("class_imbalance",), _classes, rare, harms=False, truth=overlooked),
    "copies": Fault(("leakage",), _any, copied, harms=False),
    "constant target": Fault(("bad_target",), _numbers, constant, harms=False),
    "shuffled targets": Fault(("no_better_than_trivial",), _any, shuffled),
    "few examples": Fault(("cannot_tell",), _any, few, harms=False),
    "softmax before the loss": Fault(
        ("head_loss_mismatch",), _both(_mlp, _classes), built("softmax_head")
    ),
    "sigmoid at the end": Fault(
        ("unreachable_targets",), _both(_mlp, _numbers), built("sigmoid_head")
    ),
    "body detached": Fault(("no_gradient",), _mlp, built("detached")),
    "dead units": Fault(("dying_relu", "bad_init"), _mlp, built("dead_units")),
    "saturated units": Fault(("saturated_activation",), _mlp, built("saturated_units")),
    "one number": Fault(
        ("cannot_fit_one_batch", "underfitting"), _both(_mlp, _classes), built("one_number")
    ),
}


def made(name: str, data: Data, recipe: Recipe, random: Generator) -> Made | None:
    """The fault done to a run; None where it does not suit it."""
    fault = FAULTS[name]
    if not fault.suits(data, recipe):
        return None
    try:
        changed, edit = fault.make(data, recipe, random)
    except SettingError:
        return None
    return None if edit == recipe and changed is data else (changed, edit)
