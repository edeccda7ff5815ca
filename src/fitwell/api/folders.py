"""Run folders as the verbs that train make and keep them: new ones, taken up again, with log and report."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from fitwell import store
from fitwell.api.results import Run, own_diagnosis, write_report
from fitwell.api.start import Start
from fitwell.data import Data, split
from fitwell.errors import FitwellError, Interrupted, going_on
from fitwell.recipe import Recipe
from fitwell.refusals import check_batch, check_patience

Progress = Callable[..., Any]


def check_folds(start: Start) -> None:
    """Refuse more folds than examples, and a batch that is larger than the smallest fold's rest."""
    data, options, seed = start.data, start.options, start.seed
    folds = range(int(start.recipe["data.folds"]))  # type: ignore[arg-type]
    rows = [split.fold_rows(data, options, fold=f, repeat=0, seed=seed) for f in folds]
    check_batch(start.recipe, min(len(part.train) for part in rows))
    check_patience(start.recipe, min(len(part.validation) for part in rows))


def new_folder(start: Start, out: str | Path | None, **call: Any) -> Path:
    """A new run folder, made once model and device are known to be there; it keeps the call."""
    from fitwell.train.job import check_buildable

    check_buildable(start.recipe, start.data.spec)
    model = str(start.recipe["model.name"]).replace(":", ".").rpartition(".")[2]
    folder = store.new_folder(Path(out) if out else None, source=start.data.name, model=model)
    store.write_json(folder / store.CALL, {"data": start.data.fingerprint, **call})
    return folder


def written(folder: Path, processes: Any) -> AbstractContextManager[Any]:
    """`resumable` for the one of the processes that writes."""
    return resumable(folder) if processes.leads else nullcontext()


@contextmanager
def resumable(folder: Path) -> Iterator[Path]:
    """Ctrl-C at any moment names the command that goes on; a folder with nothing in it is removed.

    No other process may write into it meanwhile.
    """
    try:
        with store.locked(folder):
            yield folder
    except KeyboardInterrupt:
        if not (folder / "recipe.toml").exists():
            store.release(folder)
            raise
        raise Interrupted(
            f"Interrupted; what was finished is saved. Go on with: {going_on(folder)}",
            where=str(folder),
        ) from None
    except FitwellError:
        store.release(folder)
        raise


def parted(data: Data, recipe: Recipe) -> str:
    """How the examples were parted, for the log."""
    return f"Split: {split.reason(data, recipe.section('data'))}"


def say_parted(start: Start, progress: Progress | None) -> None:
    if progress is not None:
        progress("note", text=parted(start.data, start.recipe))


def note_down(folder: Path, lines: list[str]) -> None:
    with store.saying_no_space(folder), (folder / "log.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def publish(result: Any, folder: Path, examples: bool, data: Data) -> None:
    """Write findings and report; a run that ended well is not lost to a picture that fails."""
    diagnosis = None
    try:
        if isinstance(result, Run):  # an improvement has written its own
            diagnosis = own_diagnosis(result)
            store.write_json(folder / "findings.json", diagnosis.to_json())
        place = folder / "report.html"
        write_report(result, place, examples=examples, data=data, diagnosis=diagnosis)
    except FitwellError:
        raise
    except Exception as error:
        import warnings

        note_down(folder, [f"The report could not be written: {type(error).__name__}: {error}"])
        warnings.warn(f"{folder}: the report could not be written: {error}", stacklevel=3)
