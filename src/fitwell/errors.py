"""The errors fitwell raises on purpose; each says what is wrong, where, and the next step.

The command line turns `exit_code` into the process's exit code: 2 for input or a setting that is wrong
(said before any training), 1 for a run that failed, 130 for one that was interrupted and can be resumed.
"""

import errno
import shlex
from collections.abc import Iterable
from difflib import get_close_matches

# Numbers of the errors that a full disk gives, a full quota, a file that may not grow.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FitwellError(Exception):
    """Base of every error fitwell raises on purpose.

    Args:
        message: one or two sentences: the setting or file, the value, the rule, the next step.
        setting: dotted name of the setting concerned, where there is one.
        where: the file, row or layer concerned, where there is one.
    """

    kind = "error"
    exit_code = 1

    def __init__(self, message: str, *, setting: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.setting = setting
        self.where = where

    def to_json(self) -> dict[str, dict[str, str]]:
        return {
            "error": {
                "kind": self.kind,
                "message": self.message,
                "setting": self.setting,
                "where": self.where,
            }
        }


class SettingError(FitwellError):
    """A setting that does not exist, is out of range, or does not go with another."""

    kind = "setting"
    exit_code = 2


class DataError(FitwellError):
    """Data that cannot be found, read or trained on."""

    kind = "data"
    exit_code = 2


class FolderError(FitwellError):
    """A run folder that cannot be read or written: taken, newer format, no space."""

    kind = "folder"
    exit_code = 2


class TrainingError(FitwellError):
    """A run that failed while it trained (not-a-number loss, worker lost)."""

    kind = "training"
    exit_code = 1


class Interrupted(FitwellError):
    """Stopped by the user; what was done is saved and can be resumed."""

    kind = "interrupted"
    exit_code = 130


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """` Did you mean relu?` for the closest of `options`, or an empty string.

    >>> did_you_mean("rellu", ["relu", "tanh"])
    ' Did you mean relu?'
    >>> did_you_mean("rl", ["lr", "rho"])
    ' Did you mean lr?'
    """
    options = list(options)
    # Letters that changed places; a short word has too few others to be called close by.
    close = [option for option in options if sorted(option) == sorted(word)]
    close = close or get_close_matches(word, options, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def going_on(folder: object) -> str:
    """The command that goes on with a run folder, as a shell takes it.

    >>> going_on("runs/my run")
    "fitwell resume 'runs/my run'"
    """
    return shlex.join(["fitwell", "resume", str(folder)])
