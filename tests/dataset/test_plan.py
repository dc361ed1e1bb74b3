"""A folder holds one plan: what tells another from it is said as a person would say it."""

from __future__ import annotations

import pytest

from comvint_hf.dataset.plan import lock_folder
from comvint_hf.dataset.shards import marker_path, write_text_atomic
from comvint_hf.errors import InputError


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ({"limit": 10}, {"limit": None}, "with --limit 10, and this command says no --limit"),
        ({"limit": None}, {"limit": 7}, "with no --limit, and this command says --limit 7"),
        ({"images": True}, {"images": "table"}, "with --store-images rows, and this command says --store-images table"),
        ({"split": 0.0}, {"split": None}, "with --split 0.0, and this command says no --split"),
        ({"settings": {"rounds": 1}}, {"settings": {"rounds": 2}}, "with --rounds 1, and this command says --rounds 2"),
        (
            {"settings": {"tasks": ["a", "b"]}},
            {"settings": {"tasks": ["a"]}},
            "with --tasks a,b, and this command says --tasks a",
        ),
        ({"asking": {}}, {"asking": {"see": True}}, "with no --see, and this command says --see"),
        ({"asking": {"attempts": 5}}, {"asking": {}}, "with --attempts 5, and this command says no --attempts"),
        ({"generator": "a"}, {"generator": "b"}, "with --llm a, and this command says --llm b"),
        ({"recipe": "svit"}, {"recipe": "vlit"}, "with the recipe svit, and this command says vlit"),
        ({"version": "0.1"}, {"version": "0.2"}, "by comvint_hf 0.1, and this is 0.2"),
        ({"prompts": {"a": "1"}}, {"prompts": {"a": "2"}}, "with prompts of other wordings"),
        ({"mix": ["a"], "take": {}}, {"mix": ["a"], "take": {"open": 3}}, "with no --take, and this command says --take open=3"),
        ({"mix": ["a"]}, {"recipe": "svit"}, "as a mix of datasets, and this is a build"),
        ({"recipe": "svit"}, {"mix": ["a"]}, "by a builder, and this is a mix of datasets"),
    ],
)
def test_another_plan_is_refused_in_words(theirs, ours, said, tmp_path) -> None:
    with lock_folder(tmp_path, theirs), pytest.raises(InputError, match="Another build"), lock_folder(tmp_path, theirs):
        raise AssertionError
    with lock_folder(tmp_path, theirs):
        write_text_atomic(marker_path(tmp_path, 0), "{}")
    with pytest.raises(InputError) as refused, lock_folder(tmp_path, ours):
        raise AssertionError
    assert f"was made {said}" in str(refused.value) and "--overwrite" in str(refused.value)
    assert "None" not in str(refused.value) and "True" not in str(refused.value)


def test_a_plan_that_made_nothing_gives_way(tmp_path) -> None:
    with lock_folder(tmp_path, {"generator": "misspelt"}):
        pass
    with lock_folder(tmp_path, {"generator": "right"}):
        write_text_atomic(marker_path(tmp_path, 0), "{}")
    with pytest.raises(InputError, match="was made with --llm right"), lock_folder(tmp_path, {"generator": "misspelt"}):
        raise AssertionError
