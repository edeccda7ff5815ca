"""Recipe + data + rows -> everything that a training needs, built and ready."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fitwell import models
from fitwell.data import preprocess
from fitwell.data.batches import Batches
from fitwell.data.preprocess import Preprocess
from fitwell.data.split import Rows
from fitwell.data.types import Data
from fitwell.metrics import METRICS, Metric
from fitwell.nn.losses import LOSSES, Loss, training_loss
from fitwell.optim import OPTIMIZERS, parameter_groups
from fitwell.recipe import Recipe
from fitwell.schedules import SCHEDULES, Schedule
from fitwell.spec import Spec
from fitwell.tasks import Task, task_of
from fitwell.train.machine import (
    choose_device,
    choose_precision,
    has_convolutions,
    spare_compiler,
    step_of,
)

EVALUATION_BATCH = 512


@dataclass
class Job:
    """One training, ready to run.

    Args:
        average: the averaged copy of the weights (EMA), or None; where there is one, it is what is
            evaluated and kept.
        loss: what is recorded of every part; `training_loss` is what is minimised, with its class
            weights.
        parts: the parts that are evaluated, in their own order: train (a fixed sample as large as
            the validation part), validation, held_out; each only where it has rows.
    """

    recipe: Recipe
    task: Task
    metric: Metric
    metric_name: str
    model: nn.Module
    average: AveragedModel | None
    loss: Loss
    training_loss: Loss
    optimizer: Optimizer
    step: Callable[[], object]  # of the optimizer
    schedule: Schedule
    batches: Batches
    parts: dict[str, Batches]
    preprocess: Preprocess
    device: torch.device
    precision: str
    epochs: int
    total_steps: int

    @property
    def evaluated(self) -> nn.Module:
        return self.model if self.average is None else self.average.module


def build_job(data: Data, rows: Rows, recipe: Recipe, *, seed: int) -> Job:
    """Seed, build the model, and lay the data out for it."""
    spare_compiler()
    torch.manual_seed(seed)
    device = choose_device(str(recipe["train.device"]))
    model = build_model(recipe, data.spec).to(device)
    convolutional = has_convolutions(model) and len(data.spec.input_shape) == 3
    if convolutional:
        model = model.to(memory_format=torch.channels_last)
    settings = recipe.section("train")
    ema = float(settings["ema"])
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None
    fitted = preprocess.fit(data, rows.train)

    def part(rows: np.ndarray, *, batch_size: int, shuffle: bool) -> Batches:
        return Batches(
            data.inputs,
            data.targets,
            rows,
            batch_size=batch_size,
            seed=seed,
            device=device,
            preprocess=fitted,
            channels_last=convolutional,
            shuffle=shuffle,
        )

    evaluated = {
        "train": train_sample(rows, seed),
        "validation": rows.validation,
        "held_out": rows.held_out,
    }
    optim = recipe.section("optim")
    groups = parameter_groups(model, float(optim.get("weight_decay", 0.0)))
    epochs = int(settings["epochs"])
    batches = part(rows.train, batch_size=int(settings["batch_size"]), shuffle=True)
    task = task_of(data.spec)
    pixels = batches.batch_size * math.prod(data.spec.input_shape[1:])
    metric = str(recipe["score.name"])
    optimizer = OPTIMIZERS[str(optim["name"])](groups, **_settings(recipe, "optim"))
    loss = build_loss(recipe)
    return Job(
        recipe=recipe,
        task=task,
        metric=METRICS[metric],
        metric_name=metric,
        model=model,
        average=average,
        loss=loss,
        training_loss=training_loss(loss, class_counts(data, rows.train).to(device)),
        optimizer=optimizer,
        step=step_of(optimizer),
        schedule=SCHEDULES[str(recipe["schedule.name"])](**_settings(recipe, "schedule")),
        batches=batches,
        parts={
            name: part(chosen, batch_size=EVALUATION_BATCH, shuffle=False)
            for name, chosen in evaluated.items()
            if len(chosen)
        },
        preprocess=fitted,
        device=device,
        precision=choose_precision(str(settings["precision"]), device, model, pixels),
        epochs=epochs,
        total_steps=epochs * len(batches),
    )


def check_buildable(recipe: Recipe, spec: Spec) -> None:
    """Refuse a device that is not there, and a model, loss or optimizer that cannot be built, before
    anything is written.
    """
    choose_device(str(recipe["train.device"]))
    with torch.random.fork_rng():
        model = build_model(recipe, spec)
    OPTIMIZERS[str(recipe["optim.name"])](model.parameters(), **_settings(recipe, "optim"))
    training_loss(build_loss(recipe), torch.tensor(spec.class_counts))


def build_model(recipe: Recipe, spec: Spec) -> nn.Module:
    """The model of the recipe, with a head as its loss wants it."""
    head = task_of(spec).head(spec, str(recipe["loss.name"]))
    return models.build(
        str(recipe["model.name"]), replace(spec, head=head), _settings(recipe, "model")
    )


def build_loss(recipe: Recipe) -> Loss:
    """The loss of the recipe as it is recorded: without class weights."""
    return LOSSES[str(recipe["loss.name"])](**_settings(recipe, "loss"))


def class_counts(data: Data, rows: np.ndarray) -> Tensor:
    """[class] examples among `rows`; empty for numbers."""
    classes = len(data.spec.classes)
    counted = data.targets[rows] if classes else np.empty(0, np.int64)
    return torch.from_numpy(np.bincount(counted, minlength=classes))


def train_sample(rows: Rows, seed: int) -> np.ndarray:
    """A fixed sample of the training rows, as large as the validation part (or the held-out one)."""
    size = len(rows.validation) or len(rows.held_out) or len(rows.train)
    if size >= len(rows.train):
        return rows.train
    return np.sort(np.random.default_rng([seed, 77]).choice(rows.train, size, replace=False))


def _settings(recipe: Recipe, section: str) -> dict:
    return {k: v for k, v in recipe.section(section).items() if k != "name"}
