"""The examples in docstrings are true."""

import doctest
import importlib
import importlib.util
import pkgutil

import comvint_hf


def test_docstring_examples() -> None:
    attempted = 0
    for module in pkgutil.walk_packages(comvint_hf.__path__, "comvint_hf."):
        if module.name.startswith("comvint_hf.pipeline.executor.") and not importlib.util.find_spec("datatrove"):
            continue
        result = doctest.testmod(importlib.import_module(module.name))
        assert not result.failed, module.name
        attempted += result.attempted
    assert attempted > 5
