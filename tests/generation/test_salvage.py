"""What is good in a reply that is not wholly good."""

import json

import pytest

from comvint_hf.generation.client.reply_parsing import ReplyMismatch, build_schema
from comvint_hf.generation.llm import Reply
from comvint_hf.generation.recipes.svit.stages import Dialogues, Pair, Pairs
from comvint_hf.generation.salvage import CUT, complete_items

PAIRS = [
    {"topic": "count", "evidence": ["o1"], "question": f"Why {number}?", "answer": f"So {{{number}]."} for number in range(4)
]
TURNS = [{"question": f"What {number}?", "answer": "That."} for number in range(5)]


def cut(value, marker):
    """The JSON of a value up to a marker."""
    return json.dumps(value).partition(marker)[0]


def test_a_cut_list_keeps_its_complete_items():
    text = cut({"pairs": PAIRS}, "Why 3")
    reply = build_schema(Pairs).parse(text, "length")
    assert [pair.question for pair in reply.pairs] == ["Why 0?", "Why 1?", "Why 2?"]
    assert reply.left_out == (CUT,)


def test_a_cut_in_a_nested_list_keeps_the_item_around_it():
    text = cut({"dialogues": [{"topic": "a", "turns": TURNS}, {"topic": "b", "turns": TURNS}]}, '"b"') + '"b", "turns": ['
    text += json.dumps(TURNS[0]) + ", " + json.dumps(TURNS[1]) + ', {"question": "What'
    reply = build_schema(Dialogues).parse(text, "length")
    assert [(dialogue.topic, len(dialogue.turns)) for dialogue in reply.dialogues] == [("a", 5), ("b", 2)]


@pytest.mark.parametrize("text", ["", "{", '{"pairs": [', '{"pairs": [{"question": "a', "no JSON", '{"pairs": [}', "[" * 3000])
def test_a_cut_before_the_first_item_leaves_nothing(text):
    assert complete_items(text) is None
    with pytest.raises(ReplyMismatch, match="cut off"):
        build_schema(Pairs).parse(text, "length")


@pytest.mark.parametrize("bad", [{"question": "Why?"}, {"question": 3, "answer": "So."}, "text", None])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_bad_item_costs_only_itself_and_is_told(bad, place):
    items = [*PAIRS[:place], bad, *PAIRS[place:]]
    reply = build_schema(Pairs).parse(json.dumps({"pairs": items}))
    assert [pair.question for pair in reply.pairs] == [pair["question"] for pair in PAIRS]
    assert len(reply.left_out) == 1 and f"pairs.{place}" in reply.left_out[0]
    dressed = build_schema(Pairs).parse(f"Of course:\n```json\n{json.dumps({'pairs': items})}\n```")
    assert dressed.pairs == reply.pairs


def test_a_conversation_ends_before_its_bad_turn():
    broken = [*TURNS[:3], {"question": "What?"}, TURNS[4]]
    reply = build_schema(Dialogues).parse(json.dumps({"dialogues": [{"topic": "a", "turns": broken}]}))
    assert [turn.question for turn in reply.dialogues[0].turns] == ["What 0?", "What 1?", "What 2?"]
    first = [{"question": "What?"}, *TURNS]
    both = [{"topic": "a", "turns": first}, {"topic": "b", "turns": TURNS}]
    assert [one.topic for one in build_schema(Dialogues).parse(json.dumps({"dialogues": both})).dialogues] == ["b"]


def test_nothing_good_is_a_mismatch_with_its_reason():
    with pytest.raises(ReplyMismatch, match="answer: Field required"):
        build_schema(Pairs).parse('{"pairs": [{"question": "Why?"}]}')


def test_a_reply_type_whose_lists_must_be_whole_is_not_salvaged():
    class Verdicts(Reply):
        verdicts: list[Pair]

    with pytest.raises(ReplyMismatch):
        build_schema(Verdicts).parse(json.dumps({"verdicts": [*PAIRS, {"question": "Why?"}]}))
    with pytest.raises(ReplyMismatch, match="cut off"):
        build_schema(Verdicts).parse(cut({"verdicts": PAIRS}, "Why 3"), "length")


def test_a_whole_reply_lacks_nothing():
    assert build_schema(Pairs).parse(json.dumps({"pairs": PAIRS})).left_out == ()


@pytest.mark.parametrize(("written", "read"), [("o1", ["o1"]), (None, []), ("", []), ([1, "o2"], ["1", "o2"]), (3, ["3"])])
def test_evidence_may_be_one_text_a_number_or_nothing(written, read):
    assert Pair(question="a", answer="b", evidence=written).evidence == read
