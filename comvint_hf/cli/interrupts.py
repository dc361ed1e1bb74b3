"""Ctrl-C and SIGTERM: what they stop says so in one sentence and ends with the exit code `STOPPED`.

It imports nothing that takes time, so that a script can call `guard_imports` before its slow imports.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

STOPPED = 130
"""The exit code of a command that Ctrl-C or SIGTERM stopped."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_is_guarded = False


def guard_imports() -> None:
    """Let Ctrl-C and SIGTERM end this process with one sentence while its libraries load; `handle_signals` takes over later."""
    global _is_guarded
    processes = sys.modules.get("multiprocessing.process")
    if processes is None or processes.parent_process() is None:  # a worker that imports the script again is stopped by its parent
        _is_guarded = _set_handlers(_leave("Nothing was done yet."))


@contextmanager
def handle_signals() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at SIGTERM, as Python does at Ctrl-C. Signals while Python ends afterwards print no traceback."""
    before, hint = _get_handlers(), "Its work was done."
    if _is_guarded:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)
    _set_handlers(_raise, (signal.SIGTERM,))
    try:
        yield
    except KeyboardInterrupt:
        hint = ""  # the command says it
        # If Ctrl-C came while a library ran code from a string, Python would end by the signal and not with our exit code; running
        # such code once more without Ctrl-C makes it forget.
        exec("")  # noqa: S102
        raise
    finally:
        if _is_guarded:
            _set_handlers(_leave(hint))
        else:
            _restore(before)


@contextmanager
def leave_at_once(hint: str) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process at once, with this hint: for uploads, whose threads would go on for long.

    Use it only where nothing here has to be finished or cleaned up.
    """
    before = _get_handlers()
    _set_handlers(_leave(hint))
    try:
        yield
    finally:
        _restore(before)


def _leave(hint: str) -> Callable[[int, FrameType | None], None]:
    def leave(number: int, frame: FrameType | None) -> None:
        for following in _SIGNALS:
            signal.signal(following, signal.SIG_IGN)
        with suppress(Exception):  # the signal may have come in the middle of a print
            sys.stdout.flush()
        os.write(2, f"Stopped. {hint}\n".encode() if hint else b"")
        os._exit(STOPPED)

    return leave


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _set_handlers(handle: Callable[[int, FrameType | None], None], numbers: tuple[int, ...] = _SIGNALS) -> bool:
    """Set a handler of this process; a process that is forked from it ends by these signals as it would have without."""
    owner = os.getpid()

    def handle_in_owner(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handle(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    try:
        for number in numbers:
            # A process in the background may have been told to ignore Ctrl-C.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handle_in_owner)
    except ValueError:  # not the main thread, where no handler can be set
        return False
    return True


def _get_handlers() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        with suppress(ValueError):
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
