"""Where the state of a search stands: a SQLite file in the run folder, or a PostgreSQL server that several
machines share.

A password is used and never kept: not in the run folder, not in a message.
"""

import os
import struct
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitwell.errors import FitwellError, SettingError, going_on

FILE = "search.db"  # in the run folder
DIALECTS = ("postgresql", "postgres", "postgresql+pg8000")
PASSWORD = "PGPASSWORD"  # the variable that PostgreSQL's own programs read
# A worker says so often that it is alive; one that was silent for longer is taken for dead, and what it
# was at is tried again by another.
HEARTBEAT_SECONDS: int = 10
GRACE_SECONDS: int = 60
RETRIES = 2  # of a trial whose worker died: a third death is more likely the trial's doing
TIMEOUT_SECONDS = 30  # of one question to the server
_ATTEMPTS = (
    3  # two workers that create the tables at once: one of them is refused, and finds them then
)


class StorageError(FitwellError):
    """The database of a search that stopped answering; what has ended is in it and in the run folder."""

    kind = "storage"
    exit_code = 1


@dataclass(frozen=True)
class Place:
    """Where the study stands.

    Args:
        name: what may be shown and kept: no password.
        url: for SQLAlchemy, with the password.
        shared: whether other processes work on it too.
        folder: the run folder, for the command that goes on.
    """

    name: str
    url: str = field(repr=False)
    shared: bool
    folder: Path


def needed() -> None:
    """Refuse where the extra is not installed.

    Raises:
        SettingError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise SettingError(
            'A search needs Optuna, which is not installed: pip install "fitwell[search]".',
            setting="search",
        ) from None


def place_of(storage: str, folder: Path) -> Place:
    """The place of `--storage`; of an empty one the file in the run folder.

    Raises:
        SettingError: it is no address of a PostgreSQL database.
    """
    if not storage:
        path = folder / FILE
        return Place(str(path), f"sqlite:///{path.resolve().as_posix()}", False, folder)
    url = _parsed(storage)
    password = url.password or os.environ.get(PASSWORD) or None
    whole = url.set(drivername="postgresql+pg8000", password=password)
    return Place(nameless(storage), whole.render_as_string(hide_password=False), True, folder)


def nameless(storage: str) -> str:
    """The address without the password, as it may be kept.

    >>> nameless("postgresql://ann:secret@db.example:5432/trials")
    'postgresql://ann@db.example:5432/trials'
    """
    if not storage:
        return ""
    from sqlalchemy.engine import URL

    url = _parsed(storage)  # made anew: `url.set(password=None)` would leave the password in it
    kept = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    return kept.render_as_string(hide_password=False)


def _parsed(storage: str) -> Any:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in DIALECTS or not (url.host and url.database):
        # Not the text itself: there may be a password in it.
        raise SettingError(
            "storage: must be the address of a PostgreSQL database, "
            f"postgresql://USER@HOST/DATABASE, with the password in the variable {PASSWORD}. Without "
            f"it the search is kept in {FILE} in the run folder.",
            setting="storage",
        )
    return url


def connect(place: Place) -> Any:
    """Optuna's storage at the place, with its tables.

    Raises:
        SettingError: it cannot be reached.
    """
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    options: dict[str, Any] = {}
    if place.shared:
        with quiet():
            again = RetryHeartbeatStaleTrialCallback(RETRIES)
        options = {
            "heartbeat_interval": HEARTBEAT_SECONDS,
            "grace_period": GRACE_SECONDS,
            "heartbeat_stale_trial_callback": again,
            # A connection that the server dropped in the meantime is opened anew.
            "engine_kwargs": {
                "pool_pre_ping": True,
                "connect_args": {"timeout": TIMEOUT_SECONDS},
            },
        }
    why = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(0.3 * attempt)
        try:
            with quiet():
                storage = RDBStorage(place.url, **options)
                if not place.shared:
                    _write_ahead(storage.engine)
                return storage
        except _failures() as error:
            why = _reason(error)
    if not place.shared:
        raise StorageError(
            f"{place.name} cannot be read or written ({why}). Put back a copy of it, or search again "
            "into a new folder; finished trials are kept there.",
            where=place.name,
        )
    raise SettingError(
        f"storage = {place.name}: cannot be reached ({why}). Start the server, or see to address, user, "
        f"database and password (in {PASSWORD}); then give the same command again.",
        setting="storage",
    )


def _write_ahead(engine: Any) -> None:
    """Have SQLite write ahead: a commit then waits for no disk, and a search has a dozen of them a trial.

    What is killed loses nothing; a power cut may cost the last trials, whose folds stand in the run folder.
    """
    from sqlalchemy import event

    def set_up(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    event.listen(engine, "connect", set_up)
    engine.dispose()  # what was opened before is opened anew


@contextmanager
def asking(place: Place) -> Iterator[None]:
    """Turn whatever a database that stopped makes its client stumble over into a StorageError."""
    try:
        with quiet():
            yield
    except _failures() as error:
        raise StorageError(
            f"The search's database {place.name} stopped answering ({_reason(error)}). Every trial that "
            f"has ended is saved. Once it answers again, `{going_on(place.folder)}` goes on from there.",
            where=place.name,
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's log and its warnings: of what is experimental, and of heartbeats that are sent by
    others than `optimize`, as `Pulse` does."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _failures() -> tuple[type[Exception], ...]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    # struct.error: pg8000 reads half an answer of a server that is stopped at that moment.
    return (SQLAlchemyError, StorageInternalError, OSError, struct.error)


def _reason(error: BaseException) -> str:
    """The first line of the first cause, which says most."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = error.args[0] if error.args else ""
    if isinstance(said, dict):  # an answer of the server, its fields by letter: M is the sentence
        said = said.get("M", "")
    return (str(said).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class Pulse:
    """Says to a shared storage that the trials under way are alive, from a thread of its own."""

    def __init__(self, storage: Any, shared: bool) -> None:
        self.storage, self.shared = storage, shared
        self.alive: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Pulse":
        if self.shared:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self.shared:
            self._thread.join()

    def add(self, trial_id: int) -> None:
        """One more; its first beat is sent now, since what never had one is never taken for dead."""
        if self.shared:
            self.storage.record_heartbeat(trial_id)
            self.alive.add(trial_id)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            for trial_id in tuple(self.alive):
                try:
                    self.storage.record_heartbeat(trial_id)
                except _failures():
                    break  # the next question of the search will say so
