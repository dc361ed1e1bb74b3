"""Read and write the JSON files of benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import read_file


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read JSON objects from a JSON array, from JSON Lines, or from lines that each end in a comma.

    Raises `InputError` with the file and the line for anything else, and for an empty file.
    """
    text = _read_text(path)
    if text.lstrip().startswith("["):
        return _check_records(path, _parse_json(path, text))
    lines = ((number, line.strip().rstrip(",")) for number, line in enumerate(text.split("\n"), start=1))
    return _check_records(path, [_parse_json(path, line, number) for number, line in lines if line])


def read_json(path: Path) -> Any:
    """Read one JSON document. Raises `InputError` if the file is missing or broken."""
    return _parse_json(path, _read_text(path))


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write JSON Lines, and create the folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def get_field(record: dict[str, Any], names: Sequence[str], path: Path) -> Any:
    """Return the field of a record under the first of `names` that it has. Raises `InputError` if it has none."""
    for name in names:
        if name in record:
            return record[name]
    raise InputError(f"{path}: a record has the fields {', '.join(record)}; expected {' or '.join(names)}.")


def check_same_length(answers: Sequence[object], questions: Sequence[object], where: str) -> None:
    """Raise `InputError` unless there are as many answers as questions."""
    if len(answers) != len(questions):
        raise InputError(
            f"{where}: {len(answers):,} answers for {len(questions):,} questions; expected one answer a question. "
            "Use the question file that these answers belong to."
        )


def _read_text(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8-sig")
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a UTF-8 text file of the benchmark.") from error


def _parse_json(path: Path, text: str, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {line or error.lineno}: found {text[error.pos : error.pos + 20]!r} ({error.msg}); expected JSON. "
            "Download the file again or correct the line."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or nesting of thousands of levels
        raise InputError(f"{path}, line {line or 1}: not readable as JSON ({str(error)[:80]}). Correct the line.") from error


def _check_records(path: Path, records: list[Any]) -> list[dict[str, Any]]:
    if not records or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} holds {'no records' if not records else 'something else'}; expected JSON objects, one a line.")
    return records
