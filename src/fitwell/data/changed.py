"""Files that change while they are read. No torch."""

from collections.abc import Sequence
from pathlib import Path

from fitwell.data.types import many, refuse, some

State = list[int]  # size and time of change of a file; empty where it is not there


def state_of(path: Path) -> State:
    """What is compared before and after a file is read."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def refuse_changed(files: Sequence[Path], before: Sequence[State]) -> None:
    """Refuse what is read of files that are not as they were.

    Raises:
        BadData: one of them changed.
    """
    changed = [str(p) for p, state in zip(files, before, strict=True) if state_of(p) != state]
    if changed:
        raise refuse(
            "changed_while_read",
            f"{many(len(changed), 'file')} changed while the data was read: {some(changed)}.",
            "Wait until nothing writes to them any more, then start again.",
            changed,
        )
