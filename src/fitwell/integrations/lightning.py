"""A callback for Lightning: `Trainer(callbacks=[WatchCallback()])`."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fitwell.integrations import Watching, validation_scores
from fitwell.watching import watch


class WatchCallback(Watching, Callback):
    """Watches a Lightning training.

        watching = WatchCallback()
        Trainer(callbacks=[watching]).fit(module, data)
        watching.diagnose()

    Losses are those of `training_step`, also where gradients are accumulated; of a module with manual
    optimisation those of `manual_backward`. Scores of the validation part are those logged under names such
    as `val_loss` and `val_acc`; a validation within an epoch ends one, too.

    Args:
        out: a new folder to write the record to.
    """

    def __init__(self, *, out: str | Path | None = None) -> None:
        super().__init__(out=out)
        self._loss: Tensor | None = None
        self._scores: dict[str, float] | None = None  # of a validation that no epoch has yet

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch = watch(pl_module, list(trainer.optimizers) or None, out=self.out)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        parts = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        # With its graph, which the outputs of the step lack, and without Lightning's division.
        self._loss = loss * parts if parts > 1 else loss

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        loss, self._loss = self._loss, None
        if self.watch is not None and loss is not None:
            self.watch.step(loss)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._scores = validation_scores(trainer.callback_metrics)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._scores is not None:
            self._end_epoch()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end_epoch()

    def _end_epoch(self) -> None:
        # Not `callback_metrics`: an epoch without a validation has those of an earlier one there.
        scores, self._scores = self._scores, None
        self._epoch(scores or {})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.watch is not None:
            self.watch.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if self.watch is not None:
            self.watch.__exit__(type(exception), exception, None)
