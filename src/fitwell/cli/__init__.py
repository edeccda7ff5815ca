"""The command line: parse, call, print. Importing it imports nothing heavy."""

from fitwell.cli.main import main

__all__ = ["main"]
