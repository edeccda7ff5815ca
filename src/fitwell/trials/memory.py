"""How many workers the machine's memory has room for. No torch."""

from pathlib import Path

# A worker that trains a small network, torch imported; what it shares with the others is counted too.
WORKER_BYTES = 600 * 2**20
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def fitting(wanted: int, data_bytes: int) -> int:
    """So many workers as have room, at least 1; all that are wanted where nobody knows.

    Args:
        data_bytes: of the data, which each worker may copy once for its own parts.
    """
    free = available()
    if free is None:
        return wanted
    return max(1, min(wanted, free // (WORKER_BYTES + data_bytes)))


def available() -> int | None:
    """Bytes that can still be used: of the machine, and of the container that this process is in; None
    where the system does not say so."""
    found = []
    if _MEMINFO.is_file():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        found.append(max(0, int(text) - int(used.read_text()) + _given_back()))
    return min(found, default=None)


def _given_back() -> int:
    """Bytes of files that were read, which count as used until somebody needs the room."""
    place = _CGROUP / "memory.stat"
    if place.is_file():
        for line in place.read_text().splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    return 0
