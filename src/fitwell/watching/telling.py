"""What a watch is told, and what it says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from fitwell.errors import SettingError
from fitwell.record import Diagnosis, Run, Scores

_SHORT = {"acc": "accuracy", "top1": "accuracy", "loss": "loss"}


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


def number_of(loss: Any) -> Tensor | float:
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


def scores_of(scores: Mapping[str, float] | None, part: str) -> Scores:
    """The scores that a loop tells, an accuracy by its usual short name among them.

    >>> scores_of({"loss": 0.5, "acc": 0.9}, "validation")
    {'loss': 0.5, 'accuracy': 0.9}
    """
    found: Scores = {}
    for name, value in (scores or {}).items():
        try:
            found[_SHORT.get(name.lower(), name)] = float(value)
        except (TypeError, ValueError):
            raise SettingError(
                f"watch.epoch({part}=...): {name} is {value!r}, and a number is asked for.",
                setting=part,
            ) from None
    return found
