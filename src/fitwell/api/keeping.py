"""The verb of the cache: what it holds, where, and taking it away. No torch."""

from datetime import UTC, datetime
from typing import Any

from fitwell import caching
from fitwell.errors import SettingError

CLEAN = ("made", "all")


def cache(clean: str = "") -> dict[str, Any]:
    """What the cache holds: `{"folder", "limit", "bytes", "entries", "removed"}`.

    Decoded images and unpacked archives are made again where they are needed; together they stay below
    `FITWELL_CACHE_LIMIT` GB (20), and what was not used for longest leaves first. Downloads and weights
    stay. The place is `FITWELL_CACHE`, or the platform's folder for caches.

    Args:
        clean: `"made"` takes away what was decoded and unpacked, `"all"` downloads and weights too.
            The ledger of test looks is no cache, and stays.

    Returns:
        Entries and those removed are `{"kind", "path", "bytes", "used"}`, the least recently used first;
        sizes in bytes, `used` in UTC.

    Raises:
        SettingError: `clean` is something else, or `FITWELL_CACHE_LIMIT` is no number.

    >>> sorted(cache())
    ['bytes', 'entries', 'folder', 'limit', 'removed']
    """
    if clean and clean not in CLEAN:
        raise SettingError(
            f"clean = {clean}: must be one of: {', '.join(CLEAN)}.",
            setting="clean",
        )
    limit = caching.limit()
    removed = caching.clean(fetched=clean == "all") if clean else []
    left = caching.entries()
    return {
        "folder": str(caching.cache_folder()),
        "limit": limit,
        "bytes": sum(each.bytes for each in left),
        "entries": [_row(each) for each in left],
        "removed": [_row(each) for each in removed],
    }


def _row(each: caching.Entry) -> dict[str, Any]:
    used = datetime.fromtimestamp(each.used, UTC).isoformat(timespec="seconds")
    return {"kind": each.kind, "path": str(each.path), "bytes": each.bytes, "used": used}
