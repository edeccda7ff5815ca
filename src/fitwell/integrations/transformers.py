"""A callback for the Trainer of Hugging Face: `Trainer(..., callbacks=[WatchCallback()])`."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback

from fitwell.integrations import Watching, validation_scores
from fitwell.watching import watch


class WatchCallback(Watching, TrainerCallback):
    """Watches a training of Hugging Face's Trainer.

        watching = WatchCallback()
        Trainer(model, arguments, train_dataset=data, callbacks=[watching]).train()
        watching.diagnose()

    The loss is the one that the model gives (`outputs.loss`); of a model that gives none, those that the
    Trainer logs. Scores of `evaluate` are those of the validation part.

    Args:
        out: a new folder to write the record to.
    """

    def __init__(self, *, out: str | Path | None = None) -> None:
        super().__init__(out=out)
        self._loss: Tensor | None = None
        self._handle: RemovableHandle | None = None
        self._epoch_ended = False
        self._told = True  # whether the last step came with its loss

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        model = parts["model"]
        self.watch = watch(model, parts.get("optimizer"), out=self.out)
        self._handle = model.register_forward_hook(self._said)

    def _said(self, model: nn.Module, inputs: Any, outputs: Any) -> None:
        loss = outputs.get("loss") if hasattr(outputs, "get") else getattr(outputs, "loss", None)
        if model.training and isinstance(loss, Tensor):
            self._loss = loss

    def _step(self) -> None:
        loss, self._loss = self._loss, None
        if self.watch is not None and loss is not None:
            self.watch.step(loss.mean())

    def on_substep_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._step()

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._told = self._loss is not None
        self._step()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **parts: Any) -> None:
        if self.watch is not None and "loss" in (logs or {}) and not self._told:
            self.watch.step(float(logs["loss"]))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._end_epoch({})

    def on_epoch_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._epoch_ended = True

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **parts: Any
    ) -> None:
        self._end_epoch(validation_scores(metrics or {}))

    def _end_epoch(self, scores: dict[str, float]) -> None:
        if self.watch is not None and self._epoch_ended:
            self.watch.epoch(validation=scores)
        self._epoch_ended = False

    def on_train_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._end_epoch({})
        if self._handle is not None:
            self._handle.remove()
        if self.watch is not None:
            self.watch.close()
