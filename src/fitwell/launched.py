"""Whether `torchrun` started this process as one of several for one training, and its cores. No torch."""

import os

from fitwell.errors import SettingError

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun to each of its processes


def num_processes() -> int:
    """How many processes train together; 1 without `torchrun`."""
    return _number("WORLD_SIZE", 1)


def num_here() -> int:
    """How many of them run on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def rank() -> int:
    """The number of this process among all of them; the first, 0, writes and prints."""
    return _number("RANK", 0)


def rank_here() -> int:
    """The number of this process among those of its machine."""
    return _number("LOCAL_RANK", 0)


def refuse_several(verb: str) -> None:
    """Refuse what one process does.

    Raises:
        SettingError: `torchrun` started several.
    """
    if num_processes() > 1:
        raise SettingError(
            f"{verb} under torchrun: {num_processes()} processes were started for it, and only fit, and "
            "resume of a fit, train one network in several processes. Run it without torchrun; many "
            "trials are spread over machines by --executor ray."
        )


def num_cores() -> int:
    """Cores this process may use (a container or a batch system may allow fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _number(name: str, alone: int) -> int:
    return int(os.environ.get(name, alone)) if all(map(os.environ.get, _TOLD)) else alone
