"""Talk of the source: the lists of `leaks.toml`, of which nearly all leaks are found and hardly any innocent sentence is."""

import tomllib
from pathlib import Path

import pytest

from comvint_hf.generation.leaks import LEAK, find_leak

LISTS = tomllib.loads((Path(__file__).parent / "leaks.toml").read_text(encoding="utf-8"))
LEAKS = LISTS["leaks"] + LISTS["second_leaks"] + LISTS["third_leaks"]
INNOCENT = LISTS["innocent"] + LISTS["second_innocent"] + LISTS["third_innocent"]


def test_the_lists_are_wide():
    assert len(set(LEAKS)) >= 100 and len(set(INNOCENT)) >= 70
    assert not set(LEAKS) & set(INNOCENT)


def test_nearly_all_leaks_are_found():
    missed = [text for text in LEAKS if not find_leak(text)]
    assert len(missed) <= 0.05 * len(LEAKS), missed


def test_hardly_any_innocent_sentence_is_flagged():
    flagged = {text: find_leak(text) for text in INNOCENT if find_leak(text)}
    assert len(flagged) <= 0.05 * len(INNOCENT), flagged


@pytest.mark.parametrize("text", LEAKS)
def test_the_hints_let_every_match_through(text):
    """They only save time: a text without one is not searched."""
    assert bool(find_leak(text)) == bool(LEAK.search(text))
