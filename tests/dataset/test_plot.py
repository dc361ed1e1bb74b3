"""Pictures: the layout is right, equal counts give equal bytes, and nothing depends on having them."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from itertools import pairwise

import matplotlib
import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comvint_hf import svit
from comvint_hf.dataset import plot, plot_bars, plot_sunburst
from comvint_hf.dataset.card import write_card
from comvint_hf.dataset.reader import read_build_info, read_statistics
from comvint_hf.dataset.statistics import Statistics, TaskStatistics
from comvint_hf.dataset.verification import VerificationStatistics

WORDS = st.sampled_from(["what", "is", "the", "how", "cup", "why"])


@given(st.dictionaries(st.lists(WORDS, min_size=0, max_size=3).map(" ".join), st.integers(1, 500), min_size=1, max_size=40))
def test_wedges_lie_within_their_parent_and_do_not_overlap(openings) -> None:
    laid = plot_sunburst.layout_wedges(openings)
    places = {wedge.words: wedge for wedge in laid}
    assert len(places) == len(laid)
    for ring in range(3):
        around = sorted((wedge for wedge in laid if len(wedge.words) == ring + 1), key=lambda wedge: wedge.start)
        assert all(a.stop <= b.start + 1e-9 for a, b in pairwise(around))
    for wedge in laid:
        parent = places.get(wedge.words[:-1])
        assert parent is None or (parent.start - 1e-9 <= wedge.start and wedge.stop <= parent.stop + 1e-9)
    whole = sum(openings.values())
    for word in ("what", "how"):
        counted = sum(count for text, count in openings.items() if text.split()[:1] == [word])
        assert (word,) not in places or abs(places[word,].share - counted / whole) < 1e-9
    assert abs(sum(wedge.share for wedge in laid if len(wedge.words) == 1) - 1) < 1e-9


def test_what_is_rare_is_put_together() -> None:
    laid = plot_sunburst.layout_wedges({"what is it": 990, **{f"word{number} x": 1 for number in range(10)}})
    assert [wedge.words for wedge in laid] == [("what",), ("what", "is"), ("what", "is", "it"), ("…",)]


def test_every_first_word_keeps_its_colour_and_dark_text_stays_legible() -> None:
    for word in [*plot_sunburst.FREQUENT, "locate", "imagine", "…"]:
        for ring in range(3):
            found = plot_sunburst.choose_colour(word, ring)
            assert found == plot_sunburst.choose_colour(word, ring)
            assert _contrast(found, plot_sunburst.INK) > 4.5, (word, ring)
    assert len({plot_sunburst.choose_colour(word) for word in plot_sunburst.FREQUENT}) == len(plot_sunburst.FREQUENT)


def _contrast(*colours: str) -> float:
    """WCAG's contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


def counted(factor: int = 1) -> Statistics:
    talk = TaskStatistics(
        rows=120 * factor,
        pairs=120 * factor,
        question_words=600 * factor,
        answer_words=2000 * factor,
        formats=Counter(open=60, bool=60),
        yes_no=Counter(yes=40, no=20),
        question_lengths=Counter({"5": 120 * factor}),
        answer_lengths=Counter({"10": 100 * factor, "370": 20 * factor}),
        openings=Counter({"what is the": 80 * factor, "why": 40 * factor}),
    )
    few = TaskStatistics(rows=3, pairs=3, formats=Counter(open=3), openings=Counter({"what": 3}))
    verification = VerificationStatistics(
        passed=Counter({"1": 90}),
        stopped=Counter({"1/x": 30}),
        versions=Counter({"0": 120, "1": 90}),
        question_words=Counter({"0": 900, "1": 1000}),
    )
    return Statistics({"conversation": talk, "vlit": few}, verification=verification)


def digests(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_equal_counts_give_equal_bytes_whatever_the_user_set(tmp_path) -> None:
    made = plot.plot_statistics(counted(), tmp_path / "a", [svit().figures])
    names = ["first_words_conversation.png", "lengths.png", "answers.png", "rounds.png"]
    assert [picture.file for picture in made] == names and {path.name for path in (tmp_path / "a").iterdir()} == set(names)
    with matplotlib.rc_context({"font.size": 22, "axes.facecolor": "black", "savefig.dpi": 30}):
        plot.plot_statistics(counted(), tmp_path / "b", [svit().figures])
        assert matplotlib.rcParams["font.size"] == 22
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    plot.plot_statistics(counted(), tmp_path / "b")
    assert digests(tmp_path / "a")["lengths.png"] != digests(tmp_path / "b")["lengths.png"], "without the published means"
    for name in names:
        with Image.open(tmp_path / "a" / name) as picture:
            assert min(picture.size) > 150 and not picture.info.keys() & {"Software", "Creation Time"}


def test_pictures_of_an_earlier_run_go(tmp_path) -> None:
    (tmp_path / "first_words_gone.png").write_bytes(b"old")
    (tmp_path / "holiday.png").write_bytes(b"not ours")
    assert plot.plot_statistics(Statistics(), tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]


def test_counts_of_an_earlier_version_make_no_picture(tmp_path) -> None:
    stored = counted().to_json()
    for name in ("openings", "question_lengths", "answer_lengths"):
        del stored["tasks"]["conversation"][name]
    del stored["health"]
    assert plot.plot_statistics(Statistics.from_json(stored), tmp_path) == []


def test_without_matplotlib_the_folder_is_whole_and_it_is_said_once(toy_dataset, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    plot._have_matplotlib.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert plot.plot_statistics(counted(), tmp_path / "none") == []
    finally:
        plot._have_matplotlib.cache_clear()
    assert len(caplog.records) == 1 and "pip install matplotlib" in caplog.text
    assert not (tmp_path / "none").exists()


def test_the_card_shows_the_pictures_and_load_dataset_does_not_mind(toy_dataset, tmp_path) -> None:
    folder = toy_dataset(fresh=True)
    about, statistics = read_build_info(folder), read_statistics(folder)
    before = load_dataset(str(folder), cache_dir=str(tmp_path / "before"))
    statistics.tasks["conversation"] = counted().tasks["conversation"]
    write_card(folder, about, statistics)
    text = (folder / "README.md").read_text()
    drawn = {path.name for path in (folder / "pictures").iterdir()}
    assert {"first_words_conversation.png", "lengths.png"} <= drawn
    assert all(f"](pictures/{name})" in text for name in drawn)
    after = load_dataset(str(folder), cache_dir=str(tmp_path / "after"))
    assert {split: len(rows) for split, rows in before.items()} == {split: len(rows) for split, rows in after.items()}


@pytest.mark.parametrize(("width", "shares"), [(1, {1: 0.25, 99: 0.25, 100: 0.5}), (10, {0: 0.25, 90: 0.25, 100: 0.5})])
def test_lengths_fall_into_bars(width, shares) -> None:
    assert plot_bars.group_lengths({"1": 1, "99": 1, "100": 2}, width) == shares
