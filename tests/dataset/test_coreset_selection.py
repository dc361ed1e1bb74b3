"""Choosing rows: the numbers of the paper, seeds, and what is never dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.dataset import coreset_selection

ANSWERS = st.lists(st.sampled_from(["Yes.", "yes, it is", "No.", "A dog.", ""]), max_size=80)


def test_yes_and_no_are_balanced_as_asked() -> None:
    answers = ["Yes."] * 200 + ["No."] * 10 + ["A dog."] * 50
    kept = coreset_selection.balance_yes_no(answers, 8, seed=1)
    chosen = [answers[row] for row in kept]
    assert (chosen.count("Yes."), chosen.count("No."), chosen.count("A dog.")) == (80, 10, 50)
    assert not np.array_equal(kept, coreset_selection.balance_yes_no(answers, 8, seed=2))
    assert np.array_equal(kept, coreset_selection.balance_yes_no(answers, 8, seed=1))


@given(ANSWERS, st.floats(0.1, 20), st.integers(0, 5))
def test_only_yes_is_ever_dropped_and_the_ratio_holds(answers, ratio, seed) -> None:
    kept = coreset_selection.balance_yes_no(answers, ratio, seed)
    dropped = [answers[row] for row in range(len(answers)) if row not in set(kept.tolist())]
    assert all(answer.lower().startswith("yes") for answer in dropped)
    no = sum(answer == "No." for answer in answers)
    yes = sum(answers[row].lower().startswith("yes") for row in kept)
    assert yes <= ratio * no or not dropped
    assert list(kept) == sorted(kept)


def test_words_are_found_in_singular_plural_and_pairs_and_not_inside_others() -> None:
    words = ["dog", "red", "next to", "glass"]
    hits = coreset_selection.match_concepts(
        ["Two dogs, next to it", "A hundred dogmas", "RED glass", "<st>dog<ed>[0.1, 0.2, 0.3, 0.4]"], words
    )
    assert hits.tolist() == [[True, False, True, False], [False] * 4, [False, True, False, True], [True, False, False, False]]


def test_rare_words_do_not_count() -> None:
    hits = np.zeros((1000, 2), dtype=bool)
    hits[:, 0] = True
    hits[0, 1] = True
    assert coreset_selection.score_informativeness(hits, min_share=0.01).tolist() == [1] * 1000
    assert coreset_selection.score_informativeness(hits, min_share=0.0001)[0] == 2
    assert coreset_selection.score_informativeness(np.zeros((0, 2), dtype=bool)).tolist() == []


def test_the_less_informative_half_of_each_task_goes_and_the_rest_is_drawn_evenly() -> None:
    tasks = ["a"] * 100 + ["b"] * 40
    scores = np.array([number % 10 for number in range(140)])
    kept = coreset_selection.select_informative(scores, tasks, 25, seed=3)
    assert [sum(tasks[row] == task for row in kept) for task in "ab"] == [25, 20]
    assert scores[kept].min() >= 5
    assert np.array_equal(kept, coreset_selection.select_informative(scores, tasks, 25, seed=3))
    assert coreset_selection.select_informative(np.zeros(0), [], 5).tolist() == []


def test_ties_are_broken_by_chance_and_not_by_place() -> None:
    kept = coreset_selection.select_informative(np.zeros(1000), ["a"] * 1000, 500, seed=0)
    assert 200 < (kept < 500).sum() < 300


def test_limits_and_even_draws() -> None:
    labels = ["a"] * 50 + ["b"] * 20 + ["c"] * 5
    kept = coreset_selection.sample_limited(labels, {"a": 10, "b": 100}, seed=0)
    assert [sum(labels[row] == label for row in kept) for label in "abc"] == [10, 20, 5]
    assert [sum(labels[row] == label for row in coreset_selection.sample_evenly(labels)) for label in "abc"] == [5, 5, 5]
    assert coreset_selection.sample_evenly([]).tolist() == []


@pytest.mark.parametrize("name", sorted(coreset_selection.load_concepts()))
def test_each_concept_has_dozens_of_words_and_none_twice(name) -> None:
    words = coreset_selection.load_concepts()[name]
    assert len(words) >= 24 and len(set(words)) == len(words)
    assert all(word == word.lower() and len(word.split()) <= 2 for word in words)
