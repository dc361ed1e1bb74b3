"""The family of errors. Each message says what, what was found, what was expected and the next step.

    ComvintError
    ├── InputError            something the user gave cannot be used
    │   ├── SourceError       an annotation file or folder
    │   ├── RowError          a dataset row (also raised by the collator)
    │   └── ModelError        a model, adapter or processor
    ├── ReplyError            an LLM's reply cannot be used, after every attempt
    │   ├── UnknownTagError   text refers to an object or region that the scene does not have
    │   └── NothingLeftError  a writer that says only what is certain has nothing left to say
    ├── EndpointError         the endpoint refuses for good (key, model name, quota)
    ├── PendingError          the reply is not there yet: a batch will bring it
    └── BudgetError           the next request could pass the budget

Beside it stands what turns the errors of others into these.
"""

import os
from pathlib import Path


class ComvintError(Exception):
    """Root of everything this package raises on purpose."""


class InputError(ComvintError, ValueError):
    """Something the user gave cannot be used."""


class SourceError(InputError):
    """An annotation file or folder is missing, broken or not of the expected format."""


class RowError(InputError):
    """A dataset row cannot be written, read or trained on; `reason` says why in two or three words, so that rows can be counted."""

    def __init__(self, message: str = "", reason: str = "not usable") -> None:
        super().__init__(message)
        self.reason = reason


class ModelError(InputError):
    """A model, adapter or processor cannot be loaded or does not fit."""


class ReplyError(ComvintError):
    """An LLM's reply cannot be used; the sample that asked is rejected with this reason."""


class UnknownTagError(ReplyError):
    """Text refers to an object or region tag that the scene does not have."""


class NothingLeftError(ReplyError):
    """A writer that says only what is certain has nothing left to say: it abstains, and nothing went wrong."""


class EndpointError(ComvintError):
    """The endpoint refuses for good: wrong key, unknown model, no quota. The run stops, nothing is lost."""


class PendingError(ComvintError):
    """The reply is not there yet: a batch will bring it. The scene that asked is run again afterwards."""


class BudgetError(ComvintError):
    """The next request could pass the budget. The run stops, nothing is lost."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line of at most 200 characters; its name if it says nothing."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


def writable(folder: Path | str) -> Path:
    """Make a folder to write into, before the work is done. Raises `InputError` where that cannot be."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made ({error.strerror}); give another one to write into.") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} cannot be written into; give another one, or change its permissions.")
    return Path(folder)
