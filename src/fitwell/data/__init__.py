"""Sources to arrays: reading, checking, splitting, preprocessing, batches.

`fitwell.data.batches` imports torch and is not imported here.
"""

from fitwell.data import preprocess, split
from fitwell.data.options import data_settings
from fitwell.data.source import check, read
from fitwell.data.sources import SOURCES
from fitwell.data.split import Rows
from fitwell.data.types import BadData, Data, Problem

__all__ = [
    "SOURCES",
    "BadData",
    "Data",
    "Problem",
    "Rows",
    "check",
    "data_settings",
    "preprocess",
    "read",
    "split",
]
