"""Every reason under which a reader counts something is met in a test of its own."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("comvint_hf").origin).parent
READERS = [
    *sorted((PACKAGE / "sources").glob("*.py")),
    *(PACKAGE / "dataset" / f"{name}.py" for name in ("conversation", "llava", "llava_records", "svit_json", "inputs")),
    PACKAGE / "images.py",
    PACKAGE / "record_stream.py",
]
METHODS = {"skip", "note"}


def reasons(path: Path) -> set[str]:
    """The reasons of a module: literals of `skip` and `note`, and the names of constants that `skip`, `note` and errors get."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = (
            node.args[0]
            if called in METHODS and node.args
            else node.args[1]
            if called == "RowError" and len(node.args) > 1
            else None
        )
        for part in ast.walk(given) if given is not None else ():
            if isinstance(part, ast.Name) and part.id.isupper():
                found.add(part.id)
            elif isinstance(part, ast.Constant) and isinstance(part.value, str) and isinstance(given, ast.Constant):
                found.add(part.value)
    return found


TESTS = "\n".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py") if path != Path(__file__))


def test_reasons_are_found():
    assert sum(len(reasons(path)) for path in READERS) > 60


@pytest.mark.parametrize("path", READERS, ids=lambda path: path.stem)
def test_every_reason_is_in_a_test(path):
    module = importlib.import_module("comvint_hf." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    missing = {reason for reason in reasons(path) if reason not in TESTS and str(getattr(module, reason, reason)) not in TESTS}
    assert not missing
