"""A griffe extension: doctests in docstrings become fenced code, so that Markdown does not read `>>>` as a quotation."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"(?:^>>> .*\n?(?:^(?!\n|>>>).+\n?)*)+", re.MULTILINE)


class Doctests(griffe.Extension):
    """Wrap every doctest of a docstring into a fence."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value)
