"""Benchmarks."""

import sys
from pathlib import Path

# The faulty programs are tests, too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
