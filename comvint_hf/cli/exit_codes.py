"""How a command ends: with one sentence and an exit code, also when Ctrl-C or SIGTERM stops it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from comvint_hf.cli.interrupts import STOPPED, handle_signals
from comvint_hf.cli.output import echo
from comvint_hf.errors import ComvintError, InputError, find_disk_error
from comvint_hf.pipeline.options import OptionsError
from comvint_hf.strict_reader import redact

INCOMPLETE = 3
"""The exit code of a build whose dataset is finished although some prompts got no usable reply."""
RESUME_HINT = "Run the same command again to go on where it was."
EXIT_CODES_HELP = """\b
Exit codes:
  0    all is done
  1    it had to stop, with one sentence that says why
  2    wrong flags
  3    the dataset is finished, but some prompts got no usable reply: their samples are in the config
       `rejected` with the reason and are named on stderr, and --retry-failed asks for them again
  130  after Ctrl-C or SIGTERM
The same command continues where it was, whatever happened."""


def handle_errors(command: Callable[..., None] | None = None, *, resume_hint: str = RESUME_HINT) -> Callable[..., Any]:
    """Decorate a command to end with one sentence: exit code 2 for wrong use, 130 for Ctrl-C and SIGTERM, 1 for all else.

    Args:
        resume_hint: Said after Ctrl-C and SIGTERM, if the `KeyboardInterrupt` has no hint of its own.
    """
    if command is None:
        return functools.partial(handle_errors, resume_hint=resume_hint)

    @functools.wraps(command)
    def guarded(*arguments: Any, **values: Any) -> None:
        try:
            with handle_signals():
                command(*arguments, **values)
        except OptionsError as error:  # wrong use, found only when the build was opened
            raise click.UsageError(redact(str(error))) from error
        except ComvintError as error:
            _exit(error, 1)
        except click.UsageError as error:
            if click.get_current_context(silent=True):
                raise  # click prints it, with the command's usage
            _exit(error.format_message(), 2)
        except KeyboardInterrupt as stop:
            _exit(f"Stopped. {str(stop) or resume_hint}", STOPPED)
        except Exception as error:
            if (refusal := find_disk_error(error)) is None:
                raise
            _exit(f"{refusal} Then run the same command again.", 1)

    return guarded


def _exit(sentence: object, code: int) -> NoReturn:
    echo(sentence, err=True)
    sys.exit(code)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn an `InputError` about a command line into click's own error, which ends with the exit code 2."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(redact(str(error))) from error
