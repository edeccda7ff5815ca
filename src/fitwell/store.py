"""A run as a folder: written atomically, opened after a kill at any instant. No torch, no pickle.

Every file but the `.jsonl` rows is written beside its place and then moved there; rows are appended a
line at a time and a torn last line is left out on reading.
"""

import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from fitwell.caching import cache_folder
from fitwell.errors import NO_SPACE, FitwellError, FolderError, going_on
from fitwell.recipe import Recipe
from fitwell.record import Predictions, Row, Run, json_ready
from fitwell.spec import Spec

FORMAT = 1
CALL = "call.json"  # what was asked for beside the recipe, and the hash of the data
LOCK = ".lock"
ORDER = "fitwell.order"  # in the metadata of a file of weights, whose format sorts them by name
TRUSTED = "trusted-models.txt"
ROW_FILES = ("steps", "epochs", "probes", "evidence")
STATE_KEYS = (
    "scores status failure seconds best_epoch seed fold repeat test_looks".split()
)  # what `run.json` keeps of a Run


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well."""
    # Not mkstemp: its files are private (0600), and a report is made to be shared.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}")
    try:
        with saying_no_space(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch(exist_ok=False)
            yield temporary
            temporary.replace(path)
    finally:
        with suppress(OSError):  # what kept it from being written is already said
            temporary.unlink(missing_ok=True)


@contextmanager
def saying_no_space(
    path: Path, otherwise: str = "choose another folder with --out"
) -> Iterator[None]:
    """Turn an OSError of writing into a FolderError that names the file and what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (None, *NO_SPACE)  # None: NumPy wrote a part
        step = "Make room" if full else "See that the folder exists and may be written to"
        raise FolderError(
            f"{path} could not be written: {error.strerror or error}. What was saved before is "
            f"whole. {step}, then resume; or {otherwise}.",
            where=str(path),
        ) from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader stumble over into a FolderError that names it."""
    try:
        yield
    except FitwellError:
        raise
    except Exception as error:  # JSON, Parquet, UTF-8 and the disk: each has errors of its own
        reason = str(error).split("\n")[0] or type(error).__name__
        raise FolderError(
            f"{path} is damaged and cannot be read ({reason}). Put back a copy of it, or train again "
            "into a new folder.",
            where=str(path),
        ) from None


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Not-a-number and infinity, which JSON does not have, become null."""
    write_text(path, json.dumps(json_ready(value), indent=1, allow_nan=False) + "\n")


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    lines = "".join(json.dumps(json_ready(row), allow_nan=False) + "\n" for row in rows)
    if lines:
        with saying_no_space(path), path.open("a", encoding="utf-8") as file:
            file.write(lines)


def read_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl` file; a torn last line (a kill while writing) is left out."""
    if not path.exists():
        return []
    rows = []
    with reading(path):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(dict(json.loads(line)))
            except json.JSONDecodeError:
                break
    return rows


def new_folder(out: Path | None, *, source: str, model: str) -> Path:
    """Create the run folder: `out` itself, or the next free `runs/<source>-<model>-<n>`.

    Raises:
        FolderError: `out` holds something already, cannot be made or the disk is full.
    """
    with saying_no_space(out or Path("runs")):
        folder = _claim(out) if out else _next(Path("runs"), f"{source}-{model}")
    try:
        write_json(folder / "format", FORMAT)
    except FolderError:
        release(folder)
        raise
    return folder


def release(folder: Path) -> None:
    """Take back what `new_folder` made; a folder that holds more by now is left alone."""
    if {path.name for path in folder.iterdir()} <= {"format", CALL, LOCK}:
        for name in ("format", CALL, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def check_same_data(folder: Path, fingerprint: str, instead: str) -> None:
    """Refuse data other than the run was begun with: rows are known by their place.

    Raises:
        FolderError: they have changed; `instead` is the next step.
    """
    call = read_json(folder / CALL)
    # `resized`: the same pictures, at the size that an improvement ended with.
    if fingerprint not in (call.get("data", fingerprint), call.get("resized")):
        raise FolderError(
            f"The data of {folder} has changed since it was begun (other examples, values or order): "
            f"training and test examples would be mixed. {instead}",
            where=str(folder),
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process from writing into the same run folder; a killed one lets go of it.

    Raises:
        FolderError: another process is at it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderError(
            f"Another fitwell is writing into {folder}. Wait until it has ended, or stop it.",
            where=str(folder),
        ) from None
    except (OSError, NotImplementedError):  # a file system without locks: go without
        pass
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            (folder / LOCK).unlink()


def _claim(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise FolderError(f"--out {out} is a file. Name a new folder.", where=str(out))
    if out.exists() and any(out.iterdir()):
        raise FolderError(
            f"--out {out} is not empty: a run folder is never overwritten. Choose another folder, "
            f"or `{going_on(out)}` to go on with the run in it.",
            where=str(out),
        )
    out.mkdir(parents=True, exist_ok=True)
    try:  # two runs that start at once: only one can create this file
        (out / "format").open("x").close()
    except FileExistsError:
        raise FolderError(
            f"--out {out} was taken by another run just now. Choose another folder.", where=str(out)
        ) from None
    return out


def _next(runs: Path, stem: str) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    if not (runs / ".gitignore").exists():
        (runs / ".gitignore").write_text("*\n", encoding="utf-8")
    number = 1
    while True:
        folder = runs / f"{stem}-{number}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def save_run(run: Run, folder: Path, *, rows: bool = True) -> None:
    """Write everything of `run` but its weights into `folder`."""
    write_json(folder / "format", FORMAT)
    if run.recipe is not None:
        write_text(folder / "recipe.toml", run.recipe.to_toml())
    if run.spec is not None:
        write_json(folder / "spec.json", run.spec.to_json())
    write_json(folder / "environment.json", run.environment)
    if rows:
        for name in ROW_FILES:
            with replacing(folder / f"{name}.jsonl") as temporary:
                append_rows(temporary, getattr(run, name))
    for part, predictions in run.predictions.items():
        write_predictions(folder / "predictions" / f"{part}.parquet", predictions, run.spec)
    save_state(run, folder)


def save_state(run: Run, folder: Path) -> None:
    """Write scores, status and the like alone."""
    write_json(folder / "run.json", {key: getattr(run, key) for key in STATE_KEYS})


def _check_format(folder: Path) -> None:
    if not (folder / "format").is_file():
        raise FolderError(
            f"{folder} is not a run folder: it has no file `format`. `fitwell list runs` shows "
            "the runs below ./runs.",
            where=str(folder),
        )
    with reading(folder / "format"):
        text = (folder / "format").read_text(encoding="utf-8").strip() or str(FORMAT)
    if not text.isdigit() or int(text) > FORMAT:
        raise FolderError(
            f"{folder} has run-folder format {text}; this fitwell reads up to {FORMAT}. "
            "Install a newer fitwell to open it.",
            where=str(folder),
        )


def glance(folder: Path) -> tuple[Run, str]:
    """A run's status and scores, and the name of the score that counts; its rows are not read.

    A list of a thousand runs must not read a thousand recipes whole: the name is looked for in the text.

    Raises:
        FolderError: as for `open_run`.
    """
    _check_format(folder)
    run = Run(folder=folder)
    for key, value in read_json(folder / "run.json").items():
        setattr(run, key, value)
    path = folder / "recipe.toml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    named = re.search(r'^name = "(.*?)"', text.partition("[score]")[2], re.MULTILINE)
    return run, named[1] if named else ""


def open_run(folder: Path | str, *, trials: bool = True) -> Run:
    """Read a run folder, whatever of it is there.

    Raises:
        FolderError: no run folder, or one of a newer format.
    """
    folder = Path(folder)
    _check_format(folder)
    run = Run(folder=folder)
    if (folder / "recipe.toml").exists():
        with reading(folder / "recipe.toml"):
            run.recipe = Recipe.load(folder / "recipe.toml") or None
    if (folder / "spec.json").exists():
        with reading(folder / "spec.json"):
            run.spec = Spec.from_json(read_json(folder / "spec.json"))
    run.environment = read_json(folder / "environment.json")
    for name in ROW_FILES:
        setattr(run, name, read_rows(folder / f"{name}.jsonl"))
    for key, value in read_json(folder / "run.json").items():
        setattr(run, key, value)
    for path in sorted((folder / "predictions").glob("*.parquet")):
        run.predictions[path.stem] = read_predictions(path)
    if trials and (folder / "trials").is_dir():
        run.trials = [open_run(path.parent) for path in sorted(folder.glob("trials/*/run.json"))]
    return run


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; empty where there is no file.

    Raises:
        FolderError: the file is damaged.
    """
    if not path.exists():
        return {}
    with reading(path):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def write_predictions(path: Path, predictions: Predictions, spec: Spec | None) -> None:
    import polars as pl

    columns: dict[str, Any] = {
        "key": predictions.keys.astype(str),
        "index": predictions.index,
        **_columns("target", predictions.target),
        **_columns("prediction", predictions.prediction),
        "loss": predictions.loss,
    }
    if predictions.probabilities is not None:
        columns |= _columns("p", predictions.probabilities)
    with replacing(path) as temporary:
        pl.DataFrame(columns).write_parquet(temporary)


def _columns(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """One column of [example] values, or of boxes [example, box, number]; of [example, target] ones
    target0, target1 ..."""
    if values.ndim != 2:
        return {name: values}
    return {f"{name}{i}": values[:, i] for i in range(values.shape[1])}


def read_predictions(path: Path) -> Predictions:
    import polars as pl

    with reading(path):
        frame = pl.read_parquet(path)

    def stored(name: str) -> Any:
        if name in frame.columns:
            return frame[name].to_numpy()
        several = [n for n in frame.columns if n.removeprefix(name).isdigit()]
        return frame.select(several).to_numpy() if several else None

    return Predictions(
        keys=frame["key"].to_numpy(),
        index=frame["index"].to_numpy(),
        target=stored("target"),
        prediction=stored("prediction"),
        probabilities=stored("p"),
        loss=frame["loss"].to_numpy(),
    )


def trust_model(path: str) -> None:
    """Remember that the user named this code of theirs as a model, `package.module:name`."""
    if not is_trusted(path):
        place = cache_folder() / TRUSTED
        with saying_no_space(place, "name another folder for it in FITWELL_CACHE"):
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("a", encoding="utf-8") as file:
                file.write(f"{path}\n")


def is_trusted(path: str) -> bool:
    """Whether the user named it on this machine, or it or its module in FITWELL_TRUST.

    Several stand there with a comma between.
    """
    trusted = os.environ.get("FITWELL_TRUST", "").split(",")
    if path in trusted or path.partition(":")[0] in trusted:
        return True
    place = cache_folder() / TRUSTED
    return place.is_file() and path in place.read_text(encoding="utf-8").splitlines()


def look_at_test(fingerprint: str, what: str) -> int:
    """Record one look at a test set and return how often it was looked at; 1, with a warning, where there
    is no ledger to be written: what was trained is not lost for that.

    Args:
        fingerprint: hash of the test set's inputs and targets.
        what: the run that looked, for the ledger's reader.
    """
    path = cache_folder() / "ledger" / f"{fingerprint}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_rows(path, [{"time": round(time.time()), "run": what}])
        return len(read_rows(path))
    except (OSError, FolderError) as error:
        warnings.warn(
            f"This look at the test set is not counted: {path.parent} cannot be written to ({error}). Name "
            "another folder in FITWELL_CACHE.",
            stacklevel=2,
        )
        return 1
