"""How a command ends: one calm sentence and its exit code, also when it is stopped by Ctrl-C or SIGTERM."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from comvint_hf.errors import ComvintError, InputError, first_line

T = TypeVar("T")
INCOMPLETE = 3
"""The exit code of a build whose dataset is finished although some prompts got no usable reply."""
GO_ON = "Run the same command again to go on where it was."
ENDINGS = """\b
It ends with the code 0 when all is done; 1 when it had to stop, with one sentence that says why; 2 for wrong flags;
3 when the dataset is finished but some prompts got no usable reply: their samples are in the config `rejected` with
the reason, and are named on stderr, and --retry-failed asks for them again; 130 after Ctrl-C. Whatever happened, the
same command goes on where it was."""


def calm(command: Callable[..., None] | None = None, *, go_on: str = GO_ON) -> Callable[..., Any]:
    """Say what went wrong in one sentence, and of a stopped run how to `go_on`; wrong use ends with the code 2, all else with 1."""
    if command is None:
        return functools.partial(calm, go_on=go_on)

    @functools.wraps(command)
    def guarded(*arguments: Any, **values: Any) -> None:
        try:
            command(*arguments, **values)
        except ComvintError as error:
            click.echo(f"{error}", err=True)
            sys.exit(1)
        except click.UsageError as error:
            if click.get_current_context(silent=True):
                raise  # click says it, with the command's usage
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo(f"Stopped. {go_on}", err=True)
            sys.exit(130)

    return guarded


@contextmanager
def wrong_use() -> Iterator[None]:
    """Have what cannot be used of a command line end it as click's own refusals do, with the code 2."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def stopping_calmly(out: Path) -> Iterator[None]:
    """Turn a stop by SIGTERM into the one by Ctrl-C, and a disk's refusal into a sentence."""
    import asyncio

    try:
        yield
    except asyncio.CancelledError:  # by SIGTERM; of Ctrl-C asyncio makes this itself
        raise KeyboardInterrupt from None
    except OSError as error:
        raise InputError(
            f"The build in {out} cannot go on ({first_line(error)}): make room or mend the permission, then run the same "
            "command again; what was finished is kept."
        ) from error


async def until_stopped(work: Awaitable[T], llms: Any) -> T:
    """Await the work; however it ends, what was sent is let come back. SIGTERM stops it as Ctrl-C does."""
    import asyncio
    import signal

    again = ""

    def waiting(replies: int, seconds: float) -> None:
        stop = f"press Ctrl-C {again}to leave at once"
        click.echo(f"Waiting for {replies:,} replies under way (at most {seconds:.0f} s); {stop}.", err=True)

    with suppress(RuntimeError):  # only a main thread can, and none on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    try:
        return await work
    except asyncio.CancelledError:
        again = "again "
        raise
    finally:
        await llms.close(waiting)
