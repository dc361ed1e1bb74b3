"""Task templates found by counting: what datasets append is found, what is asked stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf import mine_templates
from comvint_hf.errors import InputError
from comvint_hf.training.task_templates import MIN_CONTEXTS, MIN_ROWS, _SentenceCounter, is_template_candidate, split_sentences

YES_NO = "Answer with yes or no."
LETTER = "Answer with the option's letter from the given choices directly."
THINGS = ["dog", "cat", "car", "tree", "lamp", "boat", "chair", "kite"]


def row(*asked: str) -> dict:
    turns = [turn for text in asked for turn in ({"role": "user", "content": text}, {"role": "assistant", "content": YES_NO})]
    return {"messages": turns}


def mixed() -> list[dict]:
    """Yes/no rows, choice rows, open rows and descriptions, with questions that many rows share."""
    rows = [row(f"Is there a {thing} in the picture? {YES_NO}") for thing in THINGS]
    rows += [row(f"Which is left of the {thing}?\nA. Yes\nB. the sun\nC. a dog\nD. a man\n{LETTER}") for thing in THINGS]
    rows += [row("What is in the picture?", "How many people do you see?") for _ in THINGS]
    rows += [row("Describe the man in red."), row("Describe the man in red.")]
    return rows


def test_finds_what_is_appended_and_leaves_what_is_asked() -> None:
    assert mine_templates(mixed()) == [LETTER, YES_NO] or mine_templates(mixed()) == [YES_NO, LETTER]


def test_the_most_frequent_come_first_and_only_so_many() -> None:
    rows = mixed() + [row(f"Is the {thing} red? {YES_NO}") for thing in THINGS]
    assert mine_templates(rows) == [YES_NO, LETTER]
    assert mine_templates(rows, most=1) == [YES_NO]
    assert mine_templates(rows, min_share=0.5) == []
    assert mine_templates(rows, min_share=0.3) == [YES_NO]


def test_a_standing_order_is_a_template_once_it_is_frequent() -> None:
    order = "Describe this picture in detail."
    assert mine_templates([row(order)] * (MIN_ROWS - 1)) == []
    assert mine_templates([row(order)] * MIN_ROWS) == [order]


def test_preambles_are_found_and_what_follows_them_is_not() -> None:
    rows = [
        row(f"Please describe this region: [0.1, 0.2, 0.3, 0.{number}]\nReference OCR token: {thing}")
        for number, thing in enumerate(THINGS)
    ]
    assert set(mine_templates(rows)) == {"Please describe this region:", "Reference OCR token:"}


def test_it_takes_rows_messages_parts_and_any_kind_of_dataset() -> None:
    from datasets import Dataset

    rows = mixed()
    parts = [
        [{"role": m["role"], "content": [{"type": "image"}, {"type": "text", "text": m["content"]}]} for m in one["messages"]]
        for one in rows
    ]
    dataset = Dataset.from_list(rows)
    wanted = mine_templates(rows)
    assert wanted
    for same in (iter(rows), [one["messages"] for one in rows], parts, dataset, dataset.to_iterable_dataset()):
        assert mine_templates(same) == wanted


def test_images_are_not_decoded() -> None:
    """Broken image bytes do no harm, as only the messages are read."""
    from datasets import Dataset, Features, Image, List, Value

    features = Features({"images": List(Image()), "messages": List({"role": Value("string"), "content": Value("string")})})
    rows = [{**one, "images": [{"bytes": b"no picture", "path": None}]} for one in mixed()]
    dataset = Dataset.from_list(rows, features=features)
    assert mine_templates(dataset) == mine_templates(mixed())


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="takes one split: found train, test"):
        mine_templates({"train": mixed(), "test": mixed()})
    with pytest.raises(InputError, match="Row 0 has no messages"):
        mine_templates([{"text": "Is it?"}])
    with pytest.raises(InputError, match="min_share is 2"):
        mine_templates(mixed(), min_share=2)


def test_memory_stays_bounded_and_nothing_frequent_is_lost() -> None:
    """A million rare sentences' worth of turnover, in small: the table never outgrows ten windows."""
    counts = _SentenceCounter(width=100)
    largest = 0
    for number in range(5000):
        counts.add_row([f"Look at thing {number}.", f"Note number {number}. {YES_NO}" if number % 10 == 0 else "What?"])
        largest = max(largest, len(counts.stats))
    assert largest < 1000
    assert counts.find_frequent(0.09) == [YES_NO]


@given(st.text(max_size=60))
def test_sentences_lose_nothing_but_blanks_and_quotes(text: str) -> None:
    spoken = "".join(letter for letter in text if letter.isalnum())
    assert "".join(letter for sentence in split_sentences(text) for letter in sentence if letter.isalnum()) == spoken
    assert all(sentence == sentence.strip() != "" for sentence in split_sentences(text))


@pytest.mark.parametrize(
    "text", ["What is it?", "A. yes", "(B) a red car", "[0.1, 0.2, 0.3, 0.4] Please look.", "N/A", "Hint:", "<st>man<ed> is it"]
)
def test_what_cannot_be_a_template(text: str) -> None:
    assert not is_template_candidate(text)


def test_on_real_data(shared: Path) -> None:
    """MME appends one sentence to every question; questions of a detailed benchmark, asked once each, have none."""
    questions = [line.split("\t")[1] for file in sorted((shared / "eval/mme/LaVIN").glob("*.txt")) for line in file.open()]
    assert len(questions) == 2374
    assert mine_templates([[{"role": "user", "content": text}] for text in questions]) == ["Please answer yes or no."]
    asked = json.loads((shared / "instruction/lrv_evaluation_set.json").read_text())
    assert mine_templates([[{"role": "user", "content": one["question"]}] for one in asked]) == []
    science = json.loads((shared / "instruction/llava/scienceqa_llava_conversations.json").read_text())
    turns = [
        [{"role": {"human": "user"}.get(t["from"], "assistant"), "content": t["value"]} for t in one["conversations"]]
        for one in science
    ]
    found = mine_templates(turns)
    assert {"Select the best answer.", "Read the passage and then follow the instructions below."} <= set(found)
    assert not any(sentence.endswith("?") for sentence in found)


def test_the_threshold_counts_different_texts() -> None:
    rows = [row(f"Is there a {thing}? {YES_NO}") for thing in THINGS[: MIN_CONTEXTS - 1]] * 4
    assert mine_templates(rows) == []
    assert mine_templates([*rows, row(f"Is there a moon? {YES_NO}")]) == [YES_NO]
