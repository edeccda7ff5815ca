"""Results that show themselves: a run and an improvement, in a notebook or on their own page."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from html import escape
from pathlib import Path
from typing import Any

from fitwell import record, store
from fitwell.data import Data
from fitwell.errors import FolderError


@dataclass
class Run(record.Run):
    """A run with its model, its report and a picture of itself.

    Args:
        data: what it was trained on, where it is at hand (not after `fw.open`).
    """

    data: Data | None = None

    @classmethod
    def of(cls, run: record.Run, data: Data | None = None) -> "Run":
        """The same run, with what this class adds."""
        return cls(**{f.name: getattr(run, f.name) for f in fields_of(record.Run)}, data=data)

    @property
    def model(self) -> Any:
        """The trained torch module, in evaluation mode."""
        from fitwell.train import load_model

        return load_model(self)[0]

    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """`[{"input", "prediction", "probability"}]` of files or arrays; see `fw.predict`."""
        from fitwell.predict import predict

        return predict(self, inputs)

    def report(self, path: str | Path | None = None, *, examples: bool = True) -> Path:
        """Write the HTML report (into the run folder, unless `path` says otherwise)."""
        return write_report(self, _place(self.folder, path), examples=examples, data=self.data)

    def __repr__(self) -> str:
        return f"<Run {self.status}: {_scores_text(self.scores)}, {self.folder or 'not saved'}>"

    def _repr_html_(self) -> str:
        title = f"Run {self.folder.name}" if self.folder else "Run"
        failure = f"<p>{escape(self.failure)}</p>" if self.failure else ""
        return f"<b>{escape(title)}</b> ({escape(self.status)}){failure}{_scores_html(self.scores)}"


class Improvement:
    """What `fw.improve` gives: `.recipe .verdicts .model .report()` and all of
    `fitwell.improve.Improvement` (kept as `.result`)."""

    def __init__(self, result: Any, data: Data | None = None) -> None:
        self.result = result
        self.data = data
        self.run = Run.of(result.run, data)

    def __getattr__(self, name: str) -> Any:
        if name == "result":  # while unpickled
            raise AttributeError(name)
        return getattr(self.result, name)

    @property
    def model(self) -> Any:
        """The final model, a torch module in evaluation mode."""
        return self.run.model

    def report(self, path: str | Path | None = None, *, examples: bool = True) -> Path:
        """Write the HTML report and say where it is."""
        place = _place(self.result.folder, path)
        return write_report(self.result, place, examples=examples, data=self.data)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(v.remedy)}</td><td>{escape(v.stage)}</td><td>{v.effect:+.4f}</td>"
            f"<td>{_interval(v)}</td><td>{escape(v.decision)}</td></tr>"
            for v in self.result.verdicts
        )
        head = "<tr><th>remedy</th><th>stage</th><th>effect</th><th>interval</th><th>decision</th></tr>"
        before = {f"{k} before": v for k, v in self.result.baseline.items()}
        after = {f"{k} after": v for k, v in self.result.final.items()}
        last = f"<p>{escape(self.result.sentences[-1])}</p>" if self.result.sentences else ""
        return (
            f"<b>Improvement</b>{last}{_scores_html({**before, **after})}"
            f"<table>{head}{rows}</table>"
        )

    def __repr__(self) -> str:
        helped = ", ".join(v.remedy for v in self.result.helped) or "nothing"
        return f"<Improvement: {helped} helped, {_scores_text(self.result.final)}>"


class Search(Improvement):
    """What `fw.search` gives: `.best .trials .importance .verdicts .recipe .model .report()` and all of
    `fitwell.search.result.Searched` (kept as `.result`)."""

    def __repr__(self) -> str:
        helped = "a better recipe" if self.result.helped else "nothing better"
        return f"<Search: {helped} in {len(self.result.trials)} trials, {_scores_text(self.result.final)}>"


def write_report(
    result: Any,
    place: Path,
    *,
    examples: bool = True,
    data: Data | None = None,
    diagnosis: record.Diagnosis | None = None,
) -> Path:
    """Write the HTML report of a run or an improvement (which brings its own diagnosis) to `place`."""
    from fitwell.report import html

    if diagnosis is None and not hasattr(result, "verdicts"):
        diagnosis = own_diagnosis(result)
    return html.write_report(result, place, data=data, examples=examples, diagnosis=diagnosis)


def own_diagnosis(run: record.Run) -> record.Diagnosis:
    """Findings of a run: of its folds where it is a cross-validation."""
    return diagnosis_of([trial for trial in run.trials if trial.fold is not None] or [run])


def diagnosis_of(runs: Sequence[record.Run]) -> record.Diagnosis:
    """Findings of the runs of one recipe, with their remedies."""
    from fitwell.findings import diagnose
    from fitwell.remedies import with_remedies

    return with_remedies(diagnose(runs), runs[0].recipe, runs[0].spec)


def open_run(folder: str | Path) -> Run:
    """The run in a folder, with the trials of a cross-validation.

    Raises:
        FolderError: no run folder, or one of a newer format.
    """
    return Run.of(store.open_run(Path(folder)))


def opened_run(run: Any) -> record.Run:
    """A run of its folder, of itself, or of an improvement."""
    if isinstance(run, str | Path):
        return store.open_run(Path(run), trials=False)
    return run if isinstance(run, record.Run) else run.run


def _place(folder: Path | None, path: str | Path | None) -> Path:
    if path is not None:
        return Path(path)
    if folder is None:
        raise FolderError("This run has no folder: name a file, run.report('report.html').")
    return folder / "report.html"


def _scores_text(scores: Any) -> str:
    parts = [
        f"{part} {name} {value:.4g}"
        for part, values in scores.items()
        for name, value in values.items()
        if name != "loss" and value is not None
    ]
    return ", ".join(parts) or "no scores"


def _scores_html(scores: Any) -> str:
    names = list(dict.fromkeys(n for values in scores.values() for n in values))
    if not names:
        return "<p>No scores.</p>"
    head = "".join(f"<th>{escape(n)}</th>" for n in names)
    rows = "".join(
        f"<tr><th>{escape(part)}</th>"
        + "".join(f"<td>{_number(values.get(n))}</td>" for n in names)
        + "</tr>"
        for part, values in scores.items()
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(verdict: record.Verdict) -> str:
    if verdict.low is None or verdict.high is None:
        return ""
    return f"[{verdict.low:+.4f}, {verdict.high:+.4f}]"
