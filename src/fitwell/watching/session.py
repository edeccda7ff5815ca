"""Watching a training loop that somebody else wrote: what a run of fitwell records, from outside."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from fitwell import store
from fitwell.errors import SettingError
from fitwell.probes import Probes, name_nonfinite
from fitwell.probes.loss_graph import LossReading, read_loss, targets_of
from fitwell.record import Diagnosis, Row, Run, Scores
from fitwell.watching.checks import (
    called_modules,
    check_model,
    check_optimizer,
    optimizers_in,
    unwrapped,
)
from fitwell.watching.conclude import Seen, conclude
from fitwell.watching.sample import Call, Sample, first_tensor, outputs_of

PROBE_EVERY = 50  # steps; more often at first
_FIRST_NORMS = 100  # steps of which all gradients' norms are measured, then those of every fifth
_NORM_EVERY = 5
_READ_EVERY = 25  # steps whose losses are read together on an accelerator
_WRITE_EVERY = 100  # steps
_OWN = 5e-4  # seconds between two steps that a loop takes for itself


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
        self.model = model
        self.optimizers = optimizers_in(optimizer)
        self.inner = unwrapped(model)
        for each in self.optimizers:
            check_optimizer(each)
        folder = store.new_folder(Path(out), source="watch", model="watch") if out else None
        self.run = Run(status="running", folder=folder)
        if folder:
            store.save_run(self.run, folder)
        self.sample = Sample()
        self.seen = Seen()
        self._probes = Probes(self.inner)
        self._handles: list[RemovableHandle] = []
        self._epoch = 0
        self._pending: list[Tensor | float] = []  # losses told since the last step of the optimizer
        self._unread: list[tuple[Row, Tensor]] = []
        self._written = dict.fromkeys(store.ROW_FILES, 0)
        self._outputs: list[Tensor] = []
        self._gradients: dict[int, Tensor] = {}
        self._call: Call | None = None
        self._caller: nn.Module | None = None  # whose forward pass this step's is
        self._examples = 0
        self._norm: Tensor | None = None
        self._rate = math.nan
        self._stepped = 0  # steps of the optimizer since the last loss
        self._probing = False
        self._closure = False  # whether the optimizer was given one
        self._closed = False
        self._began = self._left = time.perf_counter()
        self._started = self._began
        self._waiting = 0.0
        self._attach()
        self._expect()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.run.status == "running":
            self.run.status = "interrupted"
        self.close()

    def step(self, loss: Tensor | float | None) -> None:
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
        if self.optimizers and not self._stepped:
            self._expect()
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
            train, validation: scores by name, "loss" among them, and such as "accuracy". Without `train`
                the mean of the losses that were told stands for its loss.
        """
        if self._closed:
            return
        self._read()
        now = time.perf_counter()
        steps = [row for row in self.run.steps if row["epoch"] == self._epoch]
        losses = [row["loss"] for row in steps if row["loss"] is not None]
        mean = sum(losses) / len(losses) if losses else None
        self.run.epochs.append(
            {
                "epoch": self._epoch,
                "seconds": now - self._began,
                "waiting": self._waiting / max(now - self._began, 1e-9),
                "lr": steps[-1]["lr"] if steps else None,
                "examples": sum(row["examples"] or 0 for row in steps),
                "train": _scores(train, "train") or {"loss": mean},
                "validation": _scores(validation, "validation") or None,
            }
        )
        self._look()
        self._epoch += 1
        self._write()
        self._began, self._waiting = time.perf_counter(), 0.0
        self._left = self._began

    def diagnose(self, *, measure: bool = False, show: bool = True) -> Diagnosis:
        """The findings so far, printed too; also after the block.

        Args:
            measure: run the experiments that need more than was seen: reference models of the kept
                examples.
            show: print them.
        """
        self._read()
        run = self.concluded(measure=measure)
        diagnosis = diagnosis_of(run)
        if show:
            print_diagnosis(diagnosis)
        return diagnosis

    def report(self, path: str | Path) -> Path:
        """Write the page with the findings, the curves and their pictures."""
        from fitwell.report import html

        run = self.concluded(measure=False)
        source = f"a watched loop of {type(self.inner).__name__}"
        return html.write_report(run, Path(path), diagnosis=diagnosis_of(run), source=source)

    def close(self) -> None:
        """Stop watching: every hook is removed, and the record is complete."""
        if self._closed:
            return
        self._read()
        self._look()
        self._closed = True
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._probes.close()
        self._outputs, self._gradients, self._call, self._caller = [], {}, None, None
        self.run.seconds = time.perf_counter() - self._started
        if self.run.status == "running":
            self.run.status = "done"
        self.run = self._conclusion(measure=False)
        self._write(state=True)

    # What the hooks see.

    def _attach(self) -> None:
        """Hooks on the model as it is called, wrappers and all, and on each optimizer."""
        self._handles = [
            handle
            for module in called_modules(self.model)
            for handle in (
                module.register_forward_pre_hook(self._called, with_kwargs=True),
                module.register_forward_hook(self._said),
            )
        ]
        for optimizer in self.optimizers:
            self._handles += [
                optimizer.register_step_pre_hook(self._steps),
                optimizer.register_step_post_hook(self._has_stepped),
            ]

    def _called(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not model.training or not torch.is_grad_enabled():
            self._left = math.nan  # an evaluation is no waiting
            return
        if self._caller is not None:
            return
        self._caller = model
        waited = time.perf_counter() - self._left - _OWN
        self._waiting += waited if waited > 0 else 0.0
        x = first_tensor((args, kwargs))
        self._examples = len(x) if x is not None and x.dim() else 1
        if not self.sample.full:
            self._call = self.sample.add(model, args, kwargs)

    def _said(self, model: nn.Module, args: Any, output: Any) -> None:
        if model is not self._caller or self._outputs:
            return
        self._outputs = outputs_of(output)
        if self._call is not None or self._probing:
            for place, tensor in enumerate(self._outputs):
                if tensor.requires_grad:
                    tensor.register_hook(self._keeper(place))

    def _keeper(self, place: int) -> Any:
        def keep(gradient: Tensor) -> None:
            self._gradients[place] = gradient.detach()

        return keep

    def _steps(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._closure = (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None
        if not self._closure:  # which computes the gradients within the step
            self._before_update()

    def _has_stepped(self, *_: object) -> None:
        if self._closure:
            self._before_update()
        self._after_update()

    @torch.no_grad()
    def _before_update(self) -> None:
        if self._closed or self._stepped:
            return
        rates = [float(g["lr"]) for o in self.optimizers for g in o.param_groups if "lr" in g]
        self._rate = max(rates, default=math.nan)
        step = len(self.run.steps)
        if step < _FIRST_NORMS or step % _NORM_EVERY == 0:
            gradients = [p.grad for p in self.inner.parameters() if p.grad is not None]
            self._norm = nn.utils.get_total_norm(gradients) if gradients else None
        if self._probing:
            self._probes.after_backward()
            self.seen.weigh_penalties(self.inner, self.optimizers)

    @torch.no_grad()
    def _after_update(self) -> None:
        if self._closed:
            return
        self._stepped += 1
        self.seen.updates += 1
        if self._probing and self._stepped == 1:
            step = len(self.run.steps)
            rows = self._probes.after_step(step, self._epoch)
            self.run.probes += self.seen.with_penalties(rows)
            self._probing = False

    # What is made of it.

    def _told(self, loss: Tensor | float | None) -> None:
        self.seen.losses += 1
        value = _scalar(loss)
        self._pending.append(value)
        if isinstance(loss, Tensor) and loss.grad_fn is not None and self._outputs:
            if self.seen.reading is None or self._call is not None:
                reading = read_loss(loss, self._outputs, self.inner.parameters())
                self.seen.reading = self.seen.reading or reading
                self._ask(reading, float(value))
        self._outputs, self._gradients, self._call, self._caller = [], {}, None, None

    def _ask(self, reading: LossReading, loss: float) -> None:
        """Keep what the network was asked for, as far as the gradient tells it."""
        place = reading.output
        if place is None or self._call is None:
            return
        self._call.output = place
        gradient = self._gradients.get(place)
        if gradient is None:
            return
        output = self._outputs[place].detach().float()
        self.seen.force(gradient)
        target = targets_of(reading.name, output, gradient.float(), loss)
        self._call.target = None if target is None else target.cpu().numpy()

    def _row(self) -> None:
        """The step that was just made."""
        values = [
            v.detach().float() if isinstance(v, Tensor) else torch.tensor(v) for v in self._pending
        ]
        row: Row = {
            "step": len(self.run.steps),
            "epoch": self._epoch,
            "loss": None,
            "lr": self._rate if math.isfinite(self._rate) else None,
            "grad_norm": self._norm,
            "examples": self._examples,
        }
        self.run.steps.append(row)
        self._unread.append((row, torch.stack([v.to(values[0].device) for v in values]).mean()))
        self._pending, self._norm, self._stepped, self._examples = [], None, 0, 0
        if self._unread[-1][1].device.type == "cpu" or len(self._unread) >= _READ_EVERY:
            self._read()
        if self.run.folder and len(self.run.steps) % _WRITE_EVERY == 0:
            self._write()

    def _expect(self) -> None:
        """Get ready for the next step."""
        step = len(self.run.steps)
        due = step % PROBE_EVERY == 0 or (step < PROBE_EVERY and step & (step - 1) == 0)
        if due and not self._probing and not self._closed:
            self._probing = True
            self._probes.before_step()
        self._left = time.perf_counter()

    def _read(self) -> None:
        """Turn losses and norms on the device into numbers."""
        unread, self._unread = self._unread, []
        for row, loss in unread:
            value, norm = float(loss), row["grad_norm"]
            row["loss"] = value if math.isfinite(value) else None
            row["grad_norm"] = float(norm) if norm is not None and torch.isfinite(norm) else None
            if not math.isfinite(value) and not self.run.failure:
                layer = self._nonfinite()
                self.run.failure = (
                    f"The loss is {value} at step {row['step']}; the first layer that is not finite: "
                    f"{layer or 'none, the loss itself'}."
                )

    def _nonfinite(self) -> str:
        x = self.sample.calls[0].inputs if self.sample.calls else None
        if x is None:
            return ""
        try:
            return name_nonfinite(self.inner, x) or ""
        except Exception:  # a model that takes more than one tensor
            return ""

    def _look(self) -> None:
        """Run the model on the kept examples: its activations, and how well they are fitted."""
        if not self.sample.calls or self._closed:
            return
        with self._probes.watch_activations(self.inner) as activations:
            outputs = self.sample.run_again(self._device.type)
        if not outputs:
            return
        step = max(0, len(self.run.steps) - 1)
        self.run.probes += activations.rows(step, self._epoch)
        self.seen.outputs = outputs
        self.seen.outputs_training = self.sample.run_again(self._device.type, training=True)

    def concluded(self, *, measure: bool = False) -> Run:
        """The run as it is so far, with the evidence of its end."""
        if self._closed and not measure:
            return self.run
        if not self._closed:
            self._look()
        return self._conclusion(measure=measure)

    def _conclusion(self, *, measure: bool) -> Run:
        return conclude(
            self.run, self.seen, self.sample, self.inner, self.optimizers, measure=measure
        )

    @property
    def _device(self) -> torch.device:
        return next(self.inner.parameters()).device

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


def diagnosis_of(run: Run) -> Diagnosis:
    """Findings with advice: of somebody else's loop there is no recipe to edit, nor settings of one."""
    from fitwell.findings import diagnose
    from fitwell.remedies import with_remedies
    from fitwell.settings import all_names

    known = set(all_names())
    found = with_remedies(diagnose([run]))
    findings = [
        replace(finding, settings=tuple(n for n in finding.settings if n not in known))
        for finding in found.findings
    ]
    return replace(found, findings=findings)


def print_diagnosis(diagnosis: Diagnosis) -> None:
    from rich.console import Console

    from fitwell.report.terminal import findings

    Console().print(findings(diagnosis))


def _scalar(loss: Any) -> Tensor | float:
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise SettingError(
                f"watch.step(loss): the loss has the shape {list(loss.shape)}, and one number is asked "
                "for. Give what backward() is called on, such as loss.mean().",
                setting="loss",
            )
        return loss.detach().reshape(())
    try:
        return float(loss)
    except (TypeError, ValueError):
        raise SettingError(
            f"watch.step(loss): {type(loss).__name__} is no number. Give the scalar that backward() is "
            "called on.",
            setting="loss",
        ) from None


def _scores(scores: Mapping[str, float] | None, part: str) -> Scores:
    found: Scores = {}
    for name, value in (scores or {}).items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            raise SettingError(
                f"watch.epoch({part}=...): {name} is {value!r}, and a number is asked for.",
                setting=part,
            ) from None
    return found
