"""Watching a training loop that somebody else wrote: what a run of fitwell records, from outside."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitwell import store
from fitwell.probes import Probes, dense, name_nonfinite
from fitwell.probes.loss_graph import LossReading, class_axis, targets_of
from fitwell.record import Diagnosis, Row, Run
from fitwell.watching.carried import Carried
from fitwell.watching.checks import check_model, check_optimizer, optimizers_in, unwrapped
from fitwell.watching.conclude import Seen, conclude, said_to
from fitwell.watching.fitting import OF_CLASSES, mean_loss
from fitwell.watching.passes import Pass, Passes
from fitwell.watching.penalties import Penalties
from fitwell.watching.sample import Sample, untouched
from fitwell.watching.telling import diagnosis_of, number_of, print_diagnosis, scores_of

PROBE_EVERY = 50  # steps; more often at first
_LONG = 10_000  # steps, from twice as many on ever fewer are probed
_FIRST_NORMS = 100  # steps of which all gradients' norms are measured, then those of every fifth
_NORM_EVERY = 5
_READ_EVERY = 25  # steps whose losses are read together on an accelerator
_WRITE_EVERY = 100  # steps


def is_probed(step: int) -> bool:
    """Whether a step is measured: one in 50, more at first, and of a long loop ever fewer, so that their
    rows do not fill the memory.

    >>> [sum(map(is_probed, range(steps))) for steps in (50, 10_000, 1_000_000)]
    [7, 206, 1519]
    """
    if step < PROBE_EVERY:
        return step & (step - 1) == 0
    return step % (PROBE_EVERY << max(0, (step // _LONG).bit_length() - 1)) == 0


class Watch:
    """Watches a training loop; see `fitwell.watch`.

    Args:
        run: what was recorded: the rows of `fitwell.record`, without a recipe.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        out: str | Path | None = None,
    ) -> None:
        check_model(model)
        self.optimizers = optimizers_in(optimizer)
        self.inner = unwrapped(model)
        for each in self.optimizers:
            check_optimizer(each)
        folder = store.new_folder(Path(out), source="watch", model="watch") if out else None
        self.run = Run(status="running", folder=folder)
        if folder:
            store.save_run(self.run, folder)
        self.sample, self.seen = Sample(), Seen()
        groups = [group for each in self.optimizers for group in each.param_groups]
        stepped = [p for group in groups for p in group["params"]] or self.inner.parameters()
        self._carried, self._penalties = Carried(stepped), Penalties()
        self._passes = Passes(self.sample, self._carried)
        self._probes = Probes(self.inner)
        # Its number, its first step, and the optimizer's steps before it.
        self._epoch = self._epoch_start = self._epoch_updates = 0
        self._unasked: tuple[Pass, LossReading, float] | None = None  # before its backward
        self._pending: list[Tensor | float] = []  # losses told since the last step of the optimizer
        self._unread: list[tuple[Row, list[Tensor | float]]] = []
        self._written = dict.fromkeys(store.ROW_FILES, 0)
        self._norm: Tensor | None = None
        self._rate = math.nan
        self._stepped = 0  # steps of the optimizer since the last row
        self._ahead: bool | None = None  # whether losses are told before their backward pass
        self._examples = 0  # of the losses that are pending
        self._probing = self._closure = self._closed = self._blind = False
        self._looked = -1  # steps when the kept examples were last looked at
        self._started = self._began = time.perf_counter()
        self._handles = self._passes.attach(model)
        for each in self.optimizers:
            self._handles += [
                each.register_step_pre_hook(self._steps),
                each.register_step_post_hook(self._has_stepped),
            ]
        self._expect()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.run.status == "running":
            self.run.status = "interrupted"
        self.close()

    def step(self, loss: Tensor | float) -> None:
        """Tell the loss of a batch, once a batch; before or after the optimizer's step.

        Args:
            loss: a scalar. With its graph (not `loss.item()`) more can be said: which loss it is, and what
                was asked for.

        Raises:
            SettingError: the loss is no single number.
        """
        if self._closed:
            return
        self._told(loss)
        if self.optimizers and not self._stepped:  # that of a loss told ahead is still to come
            self._probe_next()
            return
        if not self.optimizers:
            self._before_update()
            self._after_update()
        self._row()
        self._expect()

    def epoch(
        self,
        *,
        train: Mapping[str, float] | None = None,
        validation: Mapping[str, float] | None = None,
    ) -> None:
        """Tell that an epoch has ended, and its scores.

        Args:
            train, validation: scores by name, "loss" among them, and such as "accuracy", up to 1 or in
                percent. Without `train` the mean of the losses that were told stands for its loss.
        """
        if self._closed:
            return
        self._settle()
        self._read()
        seconds = time.perf_counter() - self._began
        steps = self.run.steps[self._epoch_start :]
        losses = [row["loss"] for row in steps if row["loss"] is not None]
        mean = sum(losses) / len(losses) if losses else None
        self.run.epochs.append(
            {
                "epoch": self._epoch,
                "seconds": seconds,
                "waiting": self._passes.waiting / max(seconds, 1e-9),
                "lr": steps[-1]["lr"] if steps else None,
                "examples": sum(row["examples"] for row in steps),
                "train": scores_of(train, "train") or {"loss": mean},
                "validation": scores_of(validation, "validation") or None,
            }
        )
        self._look()
        told = (self.run.epochs[-1]["validation"] or {}).get("loss")
        self._guarded(lambda: self.seen.epoch(self.sample, told))
        self._write()
        self._epoch, self._epoch_start = self._epoch + 1, len(self.run.steps)
        self._epoch_updates = self.seen.updates
        self._began, self._passes.waiting = time.perf_counter(), 0.0
        self._passes.step_ends()

    @property
    def updates_of_epoch(self) -> int:
        """How many steps the optimizer made since the last epoch that was told."""
        return self.seen.updates - self._epoch_updates

    def diagnose(self, *, measure: bool = False, show: bool = True) -> Diagnosis:
        """The findings so far, printed too; also after the block.

        Args:
            measure: run the experiments that need more than was seen: reference models of the kept
                examples.
            show: print them.
        """
        run = self.concluded(measure=measure)
        diagnosis = diagnosis_of(run)
        if show:
            print_diagnosis(diagnosis)
        return diagnosis

    def report(self, path: str | Path) -> Path:
        """Write the page with the findings, the curves and their pictures."""
        from fitwell.report import html

        run = self.concluded()
        source = f"a watched loop of {type(self.inner).__name__}"
        return html.write_report(run, Path(path), diagnosis=diagnosis_of(run), source=source)

    def close(self) -> None:
        """Stop watching: every hook is removed, and the record is complete."""
        if self._closed:
            return
        try:
            self.run = self.concluded()
        # Of a model that is somebody else's: its training is done, and counts.
        except Exception as error:
            self._warn("look at what the model says at last", "of the end less is told", error)
        finally:
            self._closed = True
            for handle in self._handles:
                handle.remove()
            self._probes.close()
            self._passes.forget()
            self._unasked = None
        self.run.seconds = time.perf_counter() - self._started
        if self.run.status == "running":
            self.run.status = "done"
        self._write(state=True)

    def _steps(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._closure = (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None
        if not self._closure:  # which computes the gradients within the step
            self._guarded(self._before_update)

    def _has_stepped(self, *_: object) -> None:
        if self._closure:
            self._guarded(self._before_update)
        self._after_update()

    def _guarded(self, look: Callable[[], None], *, always: bool = False) -> None:
        """Look at a step; where that fails no step is looked at any more, and the loop goes on.

        Args:
            always: also after a look into weights and gradients failed.
        """
        if self._blind and not always:
            return
        try:
            look()
        except Exception as error:
            self._blind = True
            self._probes.close()
            self._warn("look into the steps of this loop", "losses are still kept", error)

    @staticmethod
    def _warn(what: str, still: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        warnings.warn(f"fitwell.watch cannot {what} ({reason}); {still}.", stacklevel=3)

    def _before_update(self) -> None:
        if self._closed or self._stepped:
            return
        self._ask()
        if not self.run.steps:
            self._look()  # before the first step: what grows can be told from what was so
        rates = [float(g["lr"]) for o in self.optimizers for g in o.param_groups if "lr" in g]
        self._rate = max(rates, default=math.nan)
        step = len(self.run.steps)
        if self._probing or step < _FIRST_NORMS or step % _NORM_EVERY == 0:
            self._measure(step)

    @torch.no_grad()
    def _measure(self, step: int) -> None:
        """The gradients of a step, before the optimizer takes it."""
        if step < _FIRST_NORMS or step % _NORM_EVERY == 0:
            gradients = [dense(p.grad) for p in self.inner.parameters() if p.grad is not None]
            self._norm = nn.utils.get_total_norm(gradients) if gradients else None
        if self._probing:
            self._probes.after_backward()
            reading = self.seen.reading
            in_loss = reading is not None and reading.penalty
            self._penalties.measure(self.inner, self.optimizers, in_loss=in_loss)

    def _after_update(self) -> None:
        if self._closed:
            return
        self._stepped += 1
        self.seen.updates += 1
        self._carried.stepped()
        self.seen.carried = self._carried.told
        self._passes.step_ends()

    @torch.no_grad()
    def _probe(self) -> None:
        rows = self._probes.after_step(len(self.run.steps), self._epoch)
        self.run.probes += self._penalties.told(rows)

    def _told(self, loss: Tensor | float) -> None:
        """Keep the loss, and what its graph says of the pass that it was computed from."""
        value, own = number_of(loss), None
        if isinstance(loss, Tensor) and loss.grad_fn is not None:
            found = self._passes.read(loss, self.inner.parameters())
            if found is not None:
                own, reading = found
                self.seen.reading = self.seen.reading or reading
                self._passes.unread = False
                self._unasked = (own, reading, float(value))
                backward = reading.output in own.gradients
                if self._ahead is None and own.call is not None:
                    self._ahead = not backward
                if backward:
                    self._guarded(self._ask, always=True)  # else it is still to come
        self._passes.forget(own)
        self._settle()
        self.seen.losses += 1
        self._pending.append(value)
        self._examples += self._passes.examples

    def _settle(self) -> None:
        """Where losses are told ahead: the row of the step that was made since the last one."""
        if self._ahead and self._stepped and self.optimizers:
            self._row()
            self._expect()

    def _ask(self) -> None:
        """Keep what the network was asked for, as far as the gradient tells it."""
        if self._unasked is None:
            return
        (own, reading, loss), self._unasked = self._unasked, None
        place, call = reading.output, own.call
        if place is None or call is None:
            return
        call.output = place
        gradient = own.gradients.get(place)
        if gradient is None:
            return
        self.seen.force(gradient)
        output, gradient = own.outputs[place].detach().float(), gradient.float()
        if reading.name in OF_CLASSES and gradient.any():
            call.classes = class_axis(reading.name, gradient)
            output, gradient = (t.movedim(call.classes, 1) for t in (output, gradient))
        target = targets_of(reading.name, output, gradient, loss)
        call.target = None if target is None else target.cpu().numpy()
        if target is not None and reading.name in OF_CLASSES and self.seen.first_loss is None:
            self.seen.first_loss = mean_loss(reading.name, output, target)

    def _row(self) -> None:
        """The step that was just made, by the last of the optimizers too."""
        if self._probing:
            self._guarded(self._probe)
            self._probing = False
        row: Row = {
            "step": len(self.run.steps),
            "epoch": self._epoch,
            "loss": None,
            "lr": self._rate if math.isfinite(self._rate) else None,
            "grad_norm": self._norm,
            "examples": self._examples,
        }
        self.run.steps.append(row)
        self._unread.append((row, self._pending))
        later = any(isinstance(v, Tensor) and v.device.type != "cpu" for v in self._pending)
        self._pending, self._norm, self._stepped, self._examples = [], None, 0, 0
        if not later or len(self._unread) >= _READ_EVERY:
            self._read()
        if self.run.folder and len(self.run.steps) % _WRITE_EVERY == 0:
            self._write()

    def _expect(self) -> None:
        """Get ready for the next step."""
        self._probe_next()
        self._passes.step_ends()

    def _probe_next(self) -> None:
        if is_probed(len(self.run.steps)) and not self._probing and not self._closed:
            self._probing = True
            self._guarded(self._probes.before_step)

    def _read(self) -> None:
        """Turn losses and norms on the device into numbers."""
        unread, self._unread = self._unread, []
        for row, losses in unread:
            value, norm = sum(map(float, losses)) / len(losses), row["grad_norm"]
            row["loss"] = value if math.isfinite(value) else None
            row["grad_norm"] = float(norm) if norm is not None and torch.isfinite(norm) else None
            if math.isfinite(value):
                self.run.failure = ""  # the loop went on, as where a scaler leaves such a step out
            if not math.isfinite(value) and not self.run.failure:
                layer = self._nonfinite()
                self.run.failure = (
                    f"The loss is {value} at step {row['step']}; the first layer that is not finite: "
                    f"{layer or 'none, the loss itself'}."
                )

    def _nonfinite(self) -> str:
        x = self.sample.calls[0].inputs if self.sample.calls else None
        if x is None or self.sample.model is None:
            return ""
        try:
            model = unwrapped(self.sample.model)
            with untouched(model, self._device_type, {}):
                return name_nonfinite(model, x) or ""
        except Exception:  # a model that takes more than one tensor
            return ""

    def _look(self) -> None:
        """Run the model on the kept examples, for its activations; once between two steps."""
        steps = len(self.run.steps)
        if not self.sample.calls or self._looked == steps:
            return
        self._looked = steps
        with self._probes.watch_activations(self.inner) as activations:
            keep = said_to(self.seen.reading, self.sample)
            self.seen.outputs = self.sample.run_again(self._device_type, keep)
        if self.seen.outputs:
            self.run.probes += activations.rows(max(0, steps - 1), self._epoch)

    def concluded(self, *, measure: bool = False) -> Run:
        """The run as it is so far, with the evidence of its end."""
        if self._closed and not measure:
            return self.run
        if not self._closed:
            self._settle()
            self._read()
            self._look()
            self.seen.evaluated = self._passes.evaluated
            self.seen.likeness = self._passes.likeness
            self.seen.passes = self._passes.used, self._passes.idle
            keep = said_to(self.seen.reading, self.sample)
            self.seen.outputs_training = self.sample.run_again(
                self._device_type, keep, training=True
            )
        return conclude(
            self.run, self.seen, self.sample, self.inner, self.optimizers, measure=measure
        )

    @property
    def _device_type(self) -> str:
        return next(self.inner.parameters()).device.type

    def _write(self, *, state: bool = False) -> None:
        """Rows that are new, into the run folder."""
        folder = self.run.folder
        if folder is None:
            return
        self._read()
        for name, count in self._written.items():
            rows = getattr(self.run, name)
            store.append_rows(folder / f"{name}.jsonl", rows[count:])
            self._written[name] = len(rows)
        if state:
            store.save_run(self.run, folder, rows=False)
