"""A callback for the Trainer of Hugging Face: `Trainer(..., callbacks=[WatchCallback()])`."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback

from fitwell.integrations import Watching, validation_scores
from fitwell.watching import watch

_IGNORED = -100  # labels of places that no loss is taken of


class WatchCallback(Watching, TrainerCallback):
    """Watches a training of Hugging Face's Trainer.

        watching = WatchCallback()
        Trainer(model, arguments, train_dataset=data, callbacks=[watching]).train()
        watching.diagnose()

    The loss is the one that the model gives (`outputs.loss`); of a model that gives none, those that the
    Trainer logs. Scores of `evaluate` are those of the validation part; an evaluation within an epoch ends
    one, too.

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
        self._handle = model.register_forward_hook(self._said, with_kwargs=True)

    def _said(self, model: nn.Module, inputs: Any, named: dict[str, Any], outputs: Any) -> None:
        loss = outputs.get("loss") if hasattr(outputs, "get") else getattr(outputs, "loss", None)
        if model.training and isinstance(loss, Tensor):
            self._loss = _mean(loss, named)

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
        self._end_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._epoch_ended = True  # its evaluation, if any, is still to come

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **parts: Any
    ) -> None:
        self._epoch(validation_scores(metrics or {}))

    def _end_epoch(self) -> None:
        if self._epoch_ended:
            self._epoch({})
        self._epoch_ended = False

    def on_train_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._end_epoch()
        if self._handle is not None:
            self._handle.remove()
        if self.watch is not None:
            self.watch.close()


def _mean(loss: Tensor, named: dict[str, Any]) -> Tensor:
    """The loss as a mean over its own batch: models that are told how many items all batches of a step have
    divide by these, so that their losses add up to that of the step."""
    count, labels = named.get("num_items_in_batch"), named.get("labels")
    divided = type(loss.grad_fn).__name__.startswith("Div")
    if count is None or not isinstance(labels, Tensor) or not divided:
        return loss
    return loss * (count / (labels != _IGNORED).sum())
