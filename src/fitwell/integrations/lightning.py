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

    Losses are those that Lightning's backward pass is called on; scores of the validation part are those
    logged under names such as `val_loss` and `val_acc`. Of a module with manual optimisation the losses
    are those of `manual_backward`.

    Args:
        out: a new folder to write the record to.
    """

    def __init__(self, *, out: str | Path | None = None) -> None:
        super().__init__(out=out)
        self._loss: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch = watch(pl_module, list(trainer.optimizers) or None, out=self.out)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        self._loss = loss  # with its graph, which the outputs of the step lack

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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.watch is not None:
            self.watch.epoch(validation=validation_scores(trainer.callback_metrics))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.watch is not None:
            self.watch.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if self.watch is not None:
            self.watch.__exit__(type(exception), exception, None)
