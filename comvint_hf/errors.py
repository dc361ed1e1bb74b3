"""The exceptions of the package. A message says what, what was found, what was expected, and the next step.

ComvintError
├── InputError            something the user gave cannot be used
│   ├── SourceError       an annotation file or folder
│   ├── ImageError        an image
│   ├── RowError          a dataset row (also raised by the collator)
│   └── ModelError        a model, adapter or processor
├── ReplyError            an LLM's reply cannot be used, after every attempt
│   ├── UnknownTagError   text refers to an object or region that the scene does not have
│   ├── NothingLeftError  a writer that states only certain facts has none left
│   └── UnknownImageError nothing is known of an image, and the writer does not see it
├── EndpointError         the endpoint refuses for good (key, model name, quota)
├── PendingError          the reply is not there yet: a batch will bring it
└── BudgetError           the next request could exceed the budget
"""

import errno
import os
import re
from pathlib import Path

DISK_ERRORS = frozenset(
    getattr(errno, name, None)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ENAMETOOLONG", "EMFILE")
)
"""Error numbers by which a disk, or the limits of this process, refuse a file."""


class ComvintError(Exception):
    """Base class of every error that this package raises on purpose."""


class InputError(ComvintError, ValueError):
    """Something the user gave cannot be used."""


class SourceError(InputError):
    """An annotation file or folder is missing, broken or of another format than expected."""


class ImageError(InputError):
    """An image is missing or cannot be decoded."""


class RowError(InputError):
    """A dataset row cannot be written, read or trained on; `reason` is two or three words under which such rows are counted."""

    def __init__(self, message: str = "", reason: str = "not usable") -> None:
        super().__init__(message)
        self.reason = reason


class ModelError(InputError):
    """A model, adapter or processor cannot be loaded or does not fit."""


class ReplyError(ComvintError):
    """An LLM's reply cannot be used; the sample that asked is rejected with this reason.

    Attributes:
        is_of_prompt: Whether the prompt itself is at fault, which says nothing about other prompts.
    """

    is_of_prompt = False


class UnknownTagError(ReplyError):
    """Text refers to an object or region tag that the scene does not have."""


class NothingLeftError(ReplyError):
    """A writer that states only certain facts has none left. It abstains; nothing went wrong."""


class UnknownImageError(ReplyError):
    """Nothing is known of an image, and its writer does not see it. It is not asked; nothing went wrong."""


class EndpointError(ComvintError):
    """The endpoint refuses for good: wrong key, unknown model, no quota. The run stops, nothing is lost.

    Attributes:
        is_of_model: Whether the model's name is at fault, so that the names which are served may help.
    """

    is_of_model = False


class PendingError(ComvintError):
    """The reply is not there yet: a batch will bring it. The scene that asked is run again afterwards."""


class BudgetError(ComvintError):
    """The next request could exceed the budget. The run stops, nothing is lost."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters; the error's name if it has no message.

    The wish of transformers to be allowed a repository's own code becomes a sentence about what is done here instead.
    """
    if "trust_remote_code" in str(error):
        return "it needs code of its own repository, and code from a model's repository is never run"
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


def find_disk_error(error: BaseException | None) -> str | None:
    """Describe the refusal of a disk that an error is, or wraps, in one sentence; `None` for any other error."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else _find_error_number(str(error))
        if number in DISK_ERRORS:
            name = f" for {error.filename}" if isinstance(error, OSError) and error.filename else ""
            return f"The disk refuses to read or write ({os.strerror(number or 0)}{name}): make room, or mend the permission."
        error = error.__cause__
    return None


def _find_error_number(message: str) -> int | None:
    """The error number in the message of a library whose errors are no `OSError`s: safetensors, tokenizers, torch."""
    if found := re.search(r"\(os error (\d+)\)|Os \{ code: (\d+)", message[:10_000]):
        return int(found[1] or found[2])
    # torch does not say why its archive cannot be written; a full disk is the usual reason.
    return errno.ENOSPC if "PytorchStreamWriter" in message or "unexpected pos" in message else None


def make_output_folder(folder: Path | str) -> Path:
    """Make a folder to write into, before the work is done. Raises `InputError` where that is not possible."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made ({error.strerror}); give another output folder.") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} is not writable; give another output folder, or change its permissions.")
    return Path(folder)
