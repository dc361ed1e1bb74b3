"""How a command ends: with one sentence and an exit code, also when Ctrl-C or SIGTERM stops it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from comvint_hf.cli.output import echo
from comvint_hf.errors import ComvintError, InputError
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
  130  after Ctrl-C
The same command continues where it was, whatever happened."""


def handle_errors(command: Callable[..., None] | None = None, *, resume_hint: str = RESUME_HINT) -> Callable[..., Any]:
    """Decorate a command to end with one sentence: exit code 2 for wrong use, 130 for Ctrl-C, 1 for all else.

    Args:
        resume_hint: Said after Ctrl-C.
    """
    if command is None:
        return functools.partial(handle_errors, resume_hint=resume_hint)

    @functools.wraps(command)
    def guarded(*arguments: Any, **values: Any) -> None:
        try:
            command(*arguments, **values)
        except OptionsError as error:  # wrong use, found only when the build was opened
            raise click.UsageError(redact(str(error))) from error
        except ComvintError as error:
            echo(error, err=True)
            sys.exit(1)
        except click.UsageError as error:
            if click.get_current_context(silent=True):
                raise  # click prints it, with the command's usage
            echo(error.format_message(), err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo(f"Stopped. {resume_hint}", err=True)
            sys.exit(130)

    return guarded


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn an `InputError` about a command line into click's own error, which ends with the exit code 2."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(redact(str(error))) from error
