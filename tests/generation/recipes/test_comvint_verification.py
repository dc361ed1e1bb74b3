"""The judge: a majority of each criterion counts, nobody is asked once it is settled, and the history keeps what was found."""

import asyncio

import pytest

from comvint_hf import comvint
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.errors import InputError, ReplyError
from comvint_hf.generation import filters
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.generation.recipes.comvint.verification import CRITERIA, Verdict, verify
from comvint_hf.sources import load_scenes
from comvint_hf.types import Sample, Turn

SCENE = next(iter(load_scenes("shapes:1")))
FIRST = Sample(scene=SCENE, task="cross_modal").write([Turn("What colour is it?", "It is red.")], evidence=("o1",))
REWRITE = FIRST.rewrite("complicate: one more hop", Turn("What colour is the left one?", "It is red."))


def verdict(*against, complexity=5):
    judged = {name: name not in against for name in CRITERIA}
    return Verdict(match="m", depth="d", soundness="s", complexity=complexity, **judged)


def judged(replies, votes):
    """The sample after the judge, and the judge with what it was asked."""
    judge = ScriptedLLM(replies)
    (sample,) = asyncio.run(verify(REWRITE, LLMs(ScriptedLLM([]), judge), votes))
    return sample, judge


@pytest.mark.parametrize(
    ("votes", "against", "asked", "reason"),
    [
        (1, [()], 1, None),
        (1, [("consistent",)], 1, "not verified: consistent"),
        (3, [(), ()], 2, None),
        (3, [("consistent",), ()], 3, None),
        (3, [("consistent",), (), ("consistent", "answerable")], 3, "not verified: consistent"),
        (3, [("consistent",), ("answerable",), ()], 3, None),
        (3, [("consistent", "answerable"), ("consistent",)], 2, "not verified: consistent"),
        (5, [(), (), ()], 3, None),
        (5, [("consistent",), ("consistent",), (), (), ("consistent",)], 5, "not verified: consistent"),
        (5, [("consistent",), (), (), ()], 4, None),
    ],
)
def test_the_majority_of_each_criterion_counts_and_no_vote_is_asked_that_changes_nothing(votes, against, asked, reason):
    replies = [verdict(*names) for names in against] + [verdict()] * (asked - len(against))
    sample, judge = judged(replies, votes)
    assert sample.reason == reason
    assert len(judge.asked) == asked
    assert [prompt.blanks["generation"] for prompt in judge.asked] == list(range(asked)), "the cache keeps votes apart by it"
    assert sample.judge == "scripted"


def test_an_even_number_of_votes_is_refused():
    with pytest.raises(InputError, match="odd number"):
        comvint(votes=2)


def test_the_annotator_is_asked_once_however_many_votes():
    asked = []
    llm = AnnotationLLM()

    class Listening:
        name, deterministic = llm.name, True

        async def ask(self, prompt, form):
            asked.append(prompt.name)
            return await llm.ask(prompt, form)

    asyncio.run(comvint(votes=3).run(SCENE, LLMs(llm, Listening())))
    once = len(asked)
    asyncio.run(comvint(votes=1).run(SCENE, LLMs(llm, Listening())))
    assert once == len(asked) - once > 0


def test_the_judge_sees_both_versions_and_writes_its_evidence_first():
    _, judge = judged([verdict()], 1)
    text = judge.asked[0].text
    assert (
        text.index("What colour is it?")
        < text.index("What colour is the left one?")
        < text.index("First write down your evidence")
    )
    assert list(Verdict.model_fields) == ["match", "depth", "soundness", *CRITERIA, "complexity"]


@pytest.mark.parametrize(
    ("said", "score"), [(6, 6), ("7", 7), (6.4, 6), (0, 1), (-3, 1), (45, 10), (float("inf"), None), ("high", None)]
)
def test_the_score_is_a_whole_number_from_one_to_ten(said, score):
    filled = verdict().model_dump() | {"complexity": said}
    if score is None:
        with pytest.raises(ValueError, match="complexity"):
            Verdict.model_validate(filled)
    else:
        assert Verdict.model_validate(filled).complexity == score


def test_the_history_tells_what_the_judge_found_of_which_text():
    passed, _ = judged([verdict(complexity=6)], 1)
    assert [edit.stage for edit in passed.history] == ["complicate: one more hop", "verify: passed (complexity 6)"]
    assert [edit.instruction for edit in passed.history] == ["What colour is it?", "What colour is the left one?"]
    failed, _ = judged([verdict("truly_harder", "answer_right", complexity=n) for n in (2, 4)], 3)
    assert failed.history[-1].stage == "verify: failed (truly harder, answer right; complexity 2)"
    assert filters.previous_version(passed) == passed.history[0]
    assert filters.check_copy(passed) is None, "what was verified is no copy of itself"


def test_several_votes_score_by_their_median():
    sample, _ = judged([verdict("consistent", complexity=9), verdict(complexity=3), verdict(complexity=4)], 3)
    assert sample.history[-1].stage == "verify: passed (complexity 4)"


def test_a_judge_without_a_usable_reply_lets_nothing_pass():
    with pytest.raises(ReplyError):
        judged([verdict(), ReplyError("three attempts were no JSON")], 3)


def test_the_annotators_score_grows_with_the_steps():
    async def scores():
        llms, found = LLMs.one(AnnotationLLM()), {}
        for scene in load_scenes("shapes:40"):
            for sample in await comvint(rounds=2, formats=("open",)).run(scene, llms):
                passed = [edit.stage for edit in sample.history if edit.stage.startswith("verify: passed")]
                for number, stage in enumerate(passed):
                    found.setdefault(number, []).append(int(stage.removesuffix(")").rpartition(" ")[2]))
        return found

    found = asyncio.run(scores())
    assert all(1 <= score <= 10 for group in found.values() for score in group)
    assert sum(found[1]) / len(found[1]) > sum(found[0]) / len(found[0]) + 0.5
