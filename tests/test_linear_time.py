"""The expressions that search foreign text for boxes and tags take time in proportion to its length.

Four times the text may take about four times as long; a quadratic expression takes sixteen times, a cubic one sixty-four.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

import pytest

from comvint_hf import grounding
from comvint_hf.box_formats import BOX_FORMATS, CANONICAL, rewrite_boxes

PIECES = (
    *("<st>", "<ed>", "<st>a", "<st> ", "<st>a<ed>", "<st>a<ed>[o1]", "<st>a<ed>[o1],", "[o1", "[o1]", "[o1] , "),
    *("[", "[[", "[ ", "[1", "[1,", "[1 ", "[1, 2, 3, 4", "[1,2,3,4],", "[1,1 ", "<st>a<ed>[0.1, 0.2, 0.3, 0.4] , "),
    *(
        "1",
        "1.",
        ".",
        "-",
        "+1",
        ",",
        " ",
        "\n",
        "\u00a0",
        "<",
        "<|",
        "|",
        "<box>",
        "<box>[[",
        "<|box_start|>",
        "<|box_start|>(1,",
    ),
    *("(", "((", "(1,", "(1,2),", "(1,2),(3,4)", "<loc", "<loc1>", "<loc0001>", "<loc0001><loc0002>"),
)
STARTS = ("", "<st>", "[", "<st>a<ed>[o1]")
ENDS = ("", "x")
REPEATS, GROWTH, NOTICEABLE = 400, 4, 0.003
SEARCHES: dict[str, Callable[[str], object]] = {
    "parse": grounding.parse,
    "parse_boxes": grounding.parse_boxes,
    "find_tags": grounding.find_tags,
    "strip_grounding": grounding.strip_grounding,
    "references": lambda text: list(grounding.REFERENCE.finditer(text)),
    **{f"read {name}": lambda text, form=form: list(form.pattern.finditer(text)) for name, form in BOX_FORMATS.items()},
    **{f"stream {name}": form.complete_length for name, form in BOX_FORMATS.items()},
    "rewrite": lambda text: rewrite_boxes(text, CANONICAL, BOX_FORMATS["thousand"]),
}


def seconds(search: Callable[[str], object], text: str, times: int = 1) -> float:
    """Processor time, the least of several runs: other processes do not count."""
    spent = []
    for _ in range(times):
        before = time.process_time()
        search(text)
        spent.append(time.process_time() - before)
    return min(spent)


@pytest.mark.parametrize("name", SEARCHES)
def test_time_grows_with_the_text_and_not_with_its_square(name) -> None:
    search = SEARCHES[name]
    for start, piece, end in product(STARTS, PIECES, ENDS):
        short, long = (start + piece * count + end for count in (REPEATS, REPEATS * GROWTH))
        if seconds(search, long) > NOTICEABLE:
            assert seconds(search, long, 3) < max(seconds(search, short, 3), NOTICEABLE / GROWTH) * GROWTH * 2.2, (
                start,
                piece,
                end,
            )


def test_the_growth_test_would_notice_a_quadratic_expression() -> None:
    import re

    quadratic = re.compile(r"<st>\s*([^<>]*?)\s*<ed>")
    short, long = ("<st>" + " " * count for count in (40, 160))
    assert seconds(quadratic.search, long, 3) > seconds(quadratic.search, short, 3) * GROWTH * 2.2
