"""From the command line to an exit code: 0 done, 1 failed, 2 wrong input, 130 interrupted."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from fitwell import launched
from fitwell.cli.options import UsageError, parse, parser_of
from fitwell.cli.verbs import VERBS
from fitwell.errors import NO_SPACE, FitwellError, did_you_mean

HELP = """Usage: fitwell VERB ... [options]

  Trains a network on your data, says with evidence what holds its accuracy
  back, and proves which remedy helps.

      fitwell improve digits --budget 10m
      fitwell fit my-data/ --model lenet optim.lr=0.1

Verbs:
{verbs}

Settings are written key=value (`fitwell list settings`). Results go to stdout,
progress to stderr. `fitwell VERB --help` shows the options of a verb."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command; what is wrong is one sentence on stderr, and with --json also a document."""
    as_json = "--json" in arguments
    verbose = "--verbose" in arguments or "-v" in arguments
    try:
        with _speaking():
            _dispatch(arguments)
        sys.stdout.flush()  # where what cannot be written fails
        return 0
    except FitwellError as error:
        if not getattr(error, "printed", False):
            _say(error.message, error.to_json() if as_json else None)
        return error.exit_code
    except KeyboardInterrupt:
        _say("Interrupted.", _document("interrupted", "Interrupted.") if as_json else None)
        return 130
    except BrokenPipeError:  # the reader of a pipe is gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in NO_SPACE or verbose:
            return _failed(error, as_json=as_json, verbose=verbose)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit fails, too
        _say(
            f"The output could not be written: {error.strerror}. Make room, and run it again.", None
        )
        return 1
    except Exception as error:
        return _failed(error, as_json=as_json, verbose=verbose)


@contextmanager
def _speaking() -> Iterator[None]:
    """Of several processes of one training the first one prints."""
    if launched.rank() == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # noqa: PTH123
        yield


def _failed(error: Exception, *, as_json: bool, verbose: bool) -> int:
    if verbose:
        raise error
    sentence = (
        f"The run failed: {type(error).__name__}: {error}. This is a fault in fitwell or in a model "
        "of your own; --verbose shows where."
    )
    if launched.rank() > 0:  # which may be the only one that fails
        print(f"Process {launched.rank()}: {sentence}", file=sys.stderr)
    _say(sentence, _document("failed", sentence) if as_json else None)
    return 1


def _dispatch(arguments: Sequence[str]) -> None:
    words = [w for w in arguments if not w.startswith("-")]
    if not words:
        if "--version" in arguments:
            from fitwell import __version__

            print(f"fitwell {__version__}")
        elif not arguments or set(arguments) & {"-h", "--help"}:
            verbs = "\n".join(f"  {name:<9} {verb.summary}" for name, verb in VERBS.items())
            print(HELP.format(verbs=verbs))
        else:
            raise UsageError("Name a verb first: `fitwell --help` shows them.")
        return
    name = words[0]
    if name not in VERBS and arguments[0].startswith("-"):
        raise UsageError("Options come after the verb, as in `fitwell fit digits --model lenet`.")
    if name not in VERBS:
        raise UsageError(
            f"There is no verb {name}.{did_you_mean(name, VERBS)} `fitwell --help` shows them all."
        )
    verb = VERBS[name]
    if not verb.several:
        launched.refuse_several(name)
    rest = list(arguments)
    rest.remove(name)
    parser = parser_of(name, verb.summary, verb.words, verb.options)
    if set(rest) & {"-h", "--help"}:
        parser.print_help()
        return
    verb.work(*parse(parser, rest, verb.options, verb.check))


def _document(kind: str, message: str) -> dict[str, dict[str, str]]:
    return {"error": {"kind": kind, "message": message, "setting": "", "where": ""}}


def _say(sentence: str, document: dict[str, dict[str, str]] | None) -> None:
    if launched.rank() > 0:  # the first process says it
        return
    print(sentence, file=sys.stderr)
    if document is not None:
        print(json.dumps(document, indent=1))
