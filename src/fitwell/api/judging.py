"""The verb that judges: diagnose."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitwell import record, store
from fitwell.api.results import diagnosis_of
from fitwell.api.start import begin
from fitwell.errors import FolderError, SettingError
from fitwell.improve.state import STATE as IMPROVED
from fitwell.improve.state import read_improvement
from fitwell.record import Diagnosis, json_ready
from fitwell.search.result import STATE as SEARCHED


def diagnose(*runs: Any, measure: bool = False) -> Diagnosis:
    """What holds the runs back, with evidence; no findings is an answer.

    Args:
        runs: Runs, run folders, improvements; of a cross-validation its folds are read. All of one
            recipe: together they are one body of evidence.
        measure: run the experiments that are missing and write their rows into the run folder: a check of
            the data, what the scores owe to copies, reference models, a classifier of the parts, a range
            test of the learning rate, and, where the fit is poor, one batch to be learned by heart, a
            training without dropout, penalties and augmentation, and one of twice the epochs.

    Raises:
        FolderError: `measure`, and the data of the run is not at hand or has changed.
    """
    flat = [run for item in runs for run in _each(item)]
    if not flat:
        raise FolderError("Name at least one run to diagnose.")
    known = [run.recipe for run in flat if run.recipe is not None]
    for recipe in known:
        if changes := {n: v for n, v in known[0].changes(recipe).items() if n != "train.seed"}:
            name, (one, other) = next(iter(changes.items()))
            raise SettingError(
                f"{name} is {one} in one run and {other} in another: runs of different recipes are "
                "no evidence for each other. Diagnose them one by one.",
                setting=name,
            )
    if measure:
        rows = _measured(runs[0], flat)
        flat = [replace(flat[0], evidence=[*flat[0].evidence, *rows]), *flat[1:]]
    return diagnosis_of(flat)


def _measured(item: Any, flat: Sequence[record.Run]) -> list[record.Row]:
    """Rows of the experiments that the runs lack, written into the folder of the first run too."""
    from fitwell.improve.evidence import gather

    run = flat[0]
    if run.recipe is None:
        raise FolderError(
            "--measure trains again, and this run has no recipe: it was watched or written by hand. "
            "Diagnose it without; watch.diagnose(measure=True) measures while the loop is at hand.",
            where=str(run.folder or ""),
        )
    data = getattr(item, "data", None)
    if data is None and not run.recipe.get("source"):
        raise FolderError(
            "--measure reads the data again, and that of this run was in memory. Give the run itself: "
            "fw.diagnose(run, measure=True).",
            where=str(run.folder or ""),
        )
    since = run.spec.since if run.spec else 0
    read_as = run.recipe.edit({"data.look_back": since}) if since else run.recipe
    data = data or begin(read_as).data
    if run.folder is not None:  # a trial's call is that of what it is a trial of
        place = run.folder if run.fold is None else run.folder.parent.parent
        if (place / store.CALL).is_file():
            store.check_same_data(place, data.fingerprint, "Put it back as it was, or train again.")
    have = {str(row.get("experiment")) for each in flat for row in each.evidence}
    seed = int(run.recipe["train.seed"])  # type: ignore[arg-type]
    rows = json_ready(gather(data, run.recipe, flat, repeat=0, seed=seed, have=have))
    if run.folder is not None:
        with store.locked(run.folder):
            store.append_rows(run.folder / "evidence.jsonl", rows)
    return rows


def _each(item: Any) -> list[record.Run]:
    if isinstance(item, list | tuple):
        return [run for part in item for run in _each(part)]
    if isinstance(item, str | Path):
        item = store.open_run(Path(item))
    folder = getattr(item, "folder", None)
    for state in (IMPROVED, SEARCHED):
        if folder is not None and (folder / state).is_file():
            item = read_improvement(folder, state)  # the folder holds the trials of every variant
    if not isinstance(item, record.Run):
        return list(item.final_folds)  # an improvement
    return [t for t in item.trials if t.fold is not None] or [replace(item, trials=[])]
