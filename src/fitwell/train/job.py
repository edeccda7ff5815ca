"""Recipe + data + rows -> everything that a training needs, built and ready."""

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from fitwell import models
from fitwell.augment import (
    Augment,
    AugmentBoxes,
    AugmentSounds,
    AugmentWords,
    multi_scale_of,
    views_of,
)
from fitwell.augment.tta import SCALES
from fitwell.data import preprocess
from fitwell.data.batches import Augmentation, Batch, Batches
from fitwell.data.preprocess import Moments, Preprocess
from fitwell.data.several import count_classes
from fitwell.data.split import Rows
from fitwell.data.token_batches import batches_for
from fitwell.data.types import Data
from fitwell.errors import SettingError
from fitwell.metrics import METRICS, Metric
from fitwell.models.parts import example_inputs
from fitwell.nn.losses import LOSSES, Loss, training_loss
from fitwell.optim import OPTIMIZERS, moving_average, parameter_groups
from fitwell.optim.sgd import start_momentum
from fitwell.options import model_settings
from fitwell.recipe import Recipe
from fitwell.schedules import SCHEDULES, Schedule
from fitwell.spec import Spec
from fitwell.tasks import Task, task_of
from fitwell.train.finetune import RATE, Freezing, with_rates
from fitwell.train.machine import (
    choose_device,
    choose_precision,
    spare_compiler,
    step_of,
    suits_channels_last,
)
from fitwell.weights import Fitted, load_pretrained, moments, network_of, poor_source

Share = Callable[[Tensor], Tensor]


@dataclass
class Job:
    """One training, ready to run.

    Args:
        average: the averaged copy of the weights (EMA), or None; where there is one, it is what is
            evaluated and kept.
        loss: what is recorded of every part; `training_loss` is what is minimised, with its class
            weights.
        freezing: which layers are trained when, or None: all of them, always.
        fitted: what became of the pretrained weights, where there are any.
        carried: the model carries its state from one batch of a text to the next.
        context: tokens of a text that it is shown at once.
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
    freezing: Freezing | None = None
    fitted: Fitted | None = None
    carried: bool = False
    context: int = 0

    @property
    def evaluated(self) -> nn.Module:
        return self.model if self.average is None else self.average.module

    def start_epoch(self, epoch: int) -> None:
        """Training mode, but for the layers that stand still in this epoch; a state that is carried from
        batch to batch begins anew."""
        self.model.train()
        if self.carried:
            self.recurrent.carry(True)
        if self.freezing is not None:
            self.freezing.start_epoch(epoch)
            start_momentum(self.optimizer)

    def end_epoch(self) -> None:
        """From here on the network is shown examples that do not follow each other."""
        if self.carried:
            self.recurrent.carry(False)

    @property
    def recurrent(self) -> Any:
        """The model as one that carries its state from batch to batch."""
        return self.model

    def values(self, outputs: Tensor, batch: Batch, mine: Share = lambda whole: whole) -> Tensor:
        """[row] what is minimised; of mixed examples, the loss of both targets by their shares.

        Args:
            outputs: [row, output] of some rows of the batch.
            mine: which rows of a tensor of the whole batch these are; all by default.
        """
        values = self.training_loss(outputs, mine(batch.y))
        if batch.mixture is None:
            return values
        partner, share = map(mine, batch.mixture)
        return share * values + (1 - share) * self.training_loss(outputs, batch.y[partner])

    def set_lr(self, lr: float) -> None:
        """The learning rate, in every group its share of it."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get(RATE, 1.0)


def build_job(
    data: Data, rows: Rows, recipe: Recipe, *, seed: int, going_on: Preprocess | None = None
) -> Job:
    """Seed, build the model, and lay the data out for it.

    Args:
        going_on: the preprocessing of a run that goes on from a checkpoint, which holds its
            weights too: what they were once started from need not be there any more.
    """
    torch.manual_seed(seed)
    device = choose_device(str(recipe["train.device"]))
    model = build_model(recipe, data.spec)
    fitted = start_from(model, recipe, data.spec) if going_on is None else None
    refuse_batches_of_one(model, recipe, data.spec)
    refuse_other_sizes(model, recipe, data.spec)
    model = model.to(device)
    channels_last = suits_channels_last(model, data.spec)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    settings = recipe.section("train")
    ema = float(settings["ema"])
    average = AveragedModel(model, multi_avg_fn=moving_average(ema)) if ema else None
    prepared = going_on or preprocess.fit(
        data,
        rows.train,
        moments_of(recipe, data, rows.train),
        scaling=recipe["data.scaling"],  # type: ignore[arg-type]
    )

    carried = settings.get("state") == "carried"
    laid_out = batches_for(data.spec, prepared, carried=carried)

    def part(
        rows: np.ndarray, *, batch_size: int, shuffle: bool, augment: Augmentation | None = None
    ) -> Batches:
        return laid_out(
            data.inputs,
            data.targets,
            rows,
            batch_size=batch_size,
            seed=seed,
            device=device,
            preprocess=prepared,
            channels_last=channels_last,
            shuffle=shuffle,
            augment=augment,
        )

    evaluated = {
        "train": train_sample(rows, seed),
        "validation": rows.validation,
        "held_out": rows.held_out,
    }
    freezing = freezing_of(model, settings)
    groups = parameter_groups(model, float(recipe.section("optim").get("weight_decay", 0.0)))
    rates = float(settings["first_lr"]), float(settings["backbone_lr"])
    groups = with_rates(groups, model, *rates)
    epochs = int(settings["epochs"])
    batches = part(
        rows.train,
        batch_size=int(settings["batch_size"]),
        shuffle=True,
        augment=augment_of(recipe, prepared, seed, data.spec.task),
    )
    task = task_of(data.spec)
    pixels = batches.batch_size * math.prod(data.spec.input_shape[1:])
    metric = str(recipe["score.name"])
    optimizer = build_optimizer(groups, recipe)
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
            name: part(chosen, batch_size=task.evaluated, shuffle=False)
            for name, chosen in evaluated.items()
            if len(chosen)
        },
        preprocess=prepared,
        device=device,
        precision=choose_precision(str(settings["precision"]), device, model, pixels),
        epochs=epochs,
        total_steps=epochs * len(batches),
        freezing=freezing,
        fitted=fitted,
        carried=carried,
        context=data.spec.input_shape[0],
    )


def check_buildable(recipe: Recipe, spec: Spec) -> None:
    """Refuse, before anything is written, a device that is not there, a model, loss or optimizer that
    cannot be built and pretrained weights that do not fit; warn of what hardly helps."""
    choose_device(str(recipe["train.device"]))
    with torch.random.fork_rng():
        model = build_model(recipe, spec)
        start_from(model, recipe, spec)
        refuse_batches_of_one(model, recipe, spec)
        refuse_other_sizes(model, recipe, spec)
    build_optimizer(model.parameters(), recipe)
    training_loss(build_loss(recipe), torch.tensor(spec.class_counts))
    source = str(recipe["model.pretrained"])
    if source and (why := poor_source(source, spec)):
        warnings.warn(why, stacklevel=2)
    frozen = float(recipe["train.freeze"])
    if (
        frozen and not source and ":" not in str(recipe["model.name"])
    ):  # whose builder may load some
        warnings.warn(
            f"train.freeze = {frozen:g}: frozen layers keep the random weights that they start from, "
            "since model.pretrained names none. Name some, or leave train.freeze out.",
            stacklevel=2,
        )


def build_model(recipe: Recipe, spec: Spec) -> nn.Module:
    """The model of the recipe, with a head as its loss wants it, its weights as they are drawn."""
    head = task_of(spec).head(spec, str(recipe["loss.name"]))
    settings = _settings(recipe, "model")
    own = {k: v for k, v in settings.items() if k not in model_settings()}
    return models.build(str(recipe["model.name"]), replace(spec, head=head), own)


def refuse_batches_of_one(model: nn.Module, recipe: Recipe, spec: Spec) -> None:
    """Refuse single examples where batch normalisation gets one number a feature from each.

    Raises:
        SettingError: it would have no variance to divide by.
    """
    if recipe["train.batch_size"] != 1:
        return
    try:
        with torch.no_grad():
            copy.deepcopy(model).train()(torch.zeros_like(example_inputs(spec, 1)))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SettingError(
            "train.batch_size = 1: batch normalisation has no variance of one example. Set "
            "train.batch_size=2 or more, or normalise otherwise (such as model.norm=layer).",
            setting="train.batch_size",
        ) from None


def refuse_other_sizes(model: nn.Module, recipe: Recipe, spec: Spec) -> None:
    """Refuse images of several sizes, to train on or to predict, where the model reads one.

    Raises:
        SettingError: it does.
    """
    if views_of(recipe) == "scales":
        _refuse_sizes(model, recipe, spec, "augment.tta", SCALES, "Set augment.tta=mirror")
    change = multi_scale_of(recipe)
    if change:
        ends = (1 - change, 1 + change)
        _refuse_sizes(model, recipe, spec, "augment.multi_scale", ends, "Leave it out")


def _refuse_sizes(
    model: nn.Module, recipe: Recipe, spec: Spec, setting: str, scales: Iterable[float], other: str
) -> None:
    """Refuse a setting for which the model would have to read images of these sizes, and does not."""
    model = copy.deepcopy(model).eval()
    for scale in scales:
        channels, *sides = spec.input_shape
        shape = (channels, *(max(1, round(side * scale)) for side in sides))
        try:
            with torch.no_grad():
                model(example_inputs(replace(spec, input_shape=shape), 2))
        except Exception as error:  # torch has many words for it
            why = str(error).split("\n")[0].rstrip(".") or type(error).__name__
            raise SettingError(
                f"{setting} = {recipe[setting]}: {recipe['model.name']} does not read images of other "
                f"sizes ({why}). {other}, or choose a model that pools all places, such as resnet.",
                setting=setting,
            ) from None


def build_optimizer(parameters: Iterable[Any], recipe: Recipe) -> Optimizer:
    """The optimizer of the recipe over parameters or groups of them."""
    spare_compiler()
    return OPTIMIZERS[str(recipe["optim.name"])](parameters, **_settings(recipe, "optim"))


def build_loss(recipe: Recipe) -> Loss:
    """The loss of the recipe as it is recorded: without class weights."""
    return LOSSES[str(recipe["loss.name"])](**_settings(recipe, "loss"))


def start_from(model: nn.Module, recipe: Recipe, spec: Spec) -> Fitted | None:
    """Load the pretrained weights that the recipe names, if any."""
    settings = recipe.section("model")
    if not settings["pretrained"]:
        return None
    return load_pretrained(model, str(recipe["model.name"]), settings, spec)


def moments_of(recipe: Recipe, data: Data, rows: np.ndarray) -> Moments | None:
    """How images are normalised where it is not by the training part."""
    if recipe["data.normalise"] == "train":
        return None
    network = network_of(str(recipe["model.name"]), recipe.section("model"))
    return moments(str(recipe["model.pretrained"]), data, rows, model=network)


def augment_of(
    recipe: Recipe, prepared: Preprocess, seed: int, task: str = ""
) -> Augmentation | None:
    """What the recipe does to training examples, or None."""
    if prepared.kind == "text":
        return AugmentWords(recipe.section("augment"), seed=seed) or None
    if prepared.kind == "audio":
        return AugmentSounds(recipe.section("augment"), seed=seed) or None
    if prepared.kind != "images":
        return None
    factor, empty = prepared.affine()  # a pixel of 0, as the model sees it
    full = empty + factor * (prepared.unit or 1.0)
    size = (prepared.seen[0], prepared.seen[1]) if prepared.seen else None
    augment = recipe.section("augment")
    if task == "detection":
        epochs = int(recipe["train.epochs"])  # type: ignore[arg-type]
        return AugmentBoxes(augment, empty=empty, full=full, seed=seed, epochs=epochs) or None
    return Augment(augment, empty=empty, full=full, seed=seed, size=size) or None


def freezing_of(model: nn.Module, settings: Mapping[str, Any]) -> Freezing | None:
    """What stands still while the model is trained; what always does takes no more gradient now."""
    share, thaw_epochs = float(settings["freeze"]), int(settings["thaw_epochs"])
    if not share and not thaw_epochs:
        return None
    freezing = Freezing.of(model, share, thaw_epochs)
    freezing.start_epoch(thaw_epochs)
    return freezing


def class_counts(data: Data, rows: np.ndarray) -> Tensor:
    """[class] examples among `rows`; empty for numbers."""
    return torch.from_numpy(count_classes(data.targets[rows], len(data.spec.classes)))


def train_sample(rows: Rows, seed: int) -> np.ndarray:
    """A fixed sample of the training rows, as large as the validation part (or the held-out one)."""
    size = len(rows.validation) or len(rows.held_out) or len(rows.train)
    if size >= len(rows.train):
        return rows.train
    return np.sort(np.random.default_rng([seed, 77]).choice(rows.train, size, replace=False))


def _settings(recipe: Recipe, section: str) -> dict:
    return {k: v for k, v in recipe.section(section).items() if k != "name"}
