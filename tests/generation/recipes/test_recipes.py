"""Recipes: samples run through stages in order, nothing disappears, and a failed complication falls back."""

import asyncio
import gc
import weakref
from collections import Counter, OrderedDict
from functools import partial

import pytest

import comvint_hf
from comvint_hf import COMVINT, SVIT, VLIT, Recipe, comvint, svit, vlit
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.annotator.facts import scene as scene_facts
from comvint_hf.answers import options
from comvint_hf.errors import InputError, NothingLeftError, ReplyError
from comvint_hf.generation.group import OneByOne
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.generation.recipe import branch
from comvint_hf.generation.recipes.comvint import verification
from comvint_hf.generation.stage import make_random, prompts_of, stage
from comvint_hf.sources import load_scenes
from comvint_hf.types import FAILED, Sample, Scene, Turn

SCENE = next(iter(load_scenes("shapes:1")))
ONE = {"kinds": ("cross_modal",), "count": 1}
GOOD = {
    "match": "yes", "depth": "more", "soundness": "sound", "about_this_image": True, "consistent": True, "nothing_absent": True,
    "needs_picture": True, "truly_harder": True, "answer_right": True, "answerable": True, "complexity": 4,
}  # fmt: skip


def scripted(**overrides):
    """A writer and judge in one, whose replies depend on the prompt; `overrides` replace the reply to a prompt's last word."""

    def answer(prompt, form):
        name = prompt.name.rpartition("/")[2]
        reply = overrides.get(name, REPLIES[name])
        reply = reply(prompt) if callable(reply) else reply
        if isinstance(reply, Exception):
            raise reply
        return form.model_validate(reply)

    llm = OneByOne(script := ScriptedLLM(answer))
    llm.asked = script.asked
    return LLMs.one(llm)


REPLIES = {
    "synthesize": lambda prompt: {
        "samples": [
            {"reasoning": "r", "evidence": ["o1"], "topic": "t", "question": f"{prompt.blanks['kind']} question {place}?", "answer": "It is red."}
            for place in range(prompt.blanks["count"])
        ]
    },
    "complicate": lambda prompt: {
        "change": "hop", "reasoning": "r2", "evidence": ["o1"], "question": f"Harder {prompt.sample.instruction}", "answer": "It is still red.",
    },
    "verify": GOOD,
    "verify_first": GOOD,
    "boolean": lambda prompt: {
        "reasoning": "r3", "topic": "existence", "evidence": ["o1"], "question": f"Is it so: {prompt.sample.instruction}", "answer": prompt.blanks["wanted"],
    },
    "choice": lambda prompt: {
        "reasoning": "r3", "evidence": ["[o1]"], "question": f"Which: {prompt.sample.instruction}", "correct": "Red", "wrong": ["Blue", "Green", "Pink"],
    },
}  # fmt: skip


def run(recipe, llms):
    return asyncio.run(recipe.run(SCENE, llms))


def test_comvint_gives_every_kind_its_count_and_one_format_each():
    samples = run(comvint(count=12), scripted())
    assert [sample.task for sample in samples] == ["cross_modal"] * 12 + ["outside_knowledge"] * 12
    assert {sample.format for sample in samples} == {"open", "bool", "choice"}
    assert {sample.rounds for sample in samples} == {1}
    assert all(sample.reason is None for sample in samples)


def test_rounds_are_counted_and_kept_in_the_history():
    (sample, *_) = run(comvint(rounds=3, formats=("open",), count=1), scripted())
    assert sample.rounds == 3
    assert [edit.stage for edit in sample.history] == ["complicate: one more hop", "verify: passed (complexity 4)"] * 3
    before, judged = sample.history[0], sample.history[1]
    assert before.instruction == "cross_modal question 0?"
    assert judged.instruction == "Harder cross_modal question 0?"
    assert sample.instruction.startswith("Harder Harder Harder")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"verify": GOOD | {"answer_right": False, "answerable": False}}, "not verified: answer right, answerable"),
        ({"complicate": ReplyError("nothing harder")}, "no usable reply: nothing harder"),
        ({"complicate": NothingLeftError("no further step")}, "nothing certain left to ask: no further step"),
        (
            {
                "complicate": {
                    "change": "hop",
                    "reasoning": "",
                    "evidence": ["o1"],
                    "question": "The cross_modal question 0",
                    "answer": "x",
                }
            },
            "copy",
        ),
        (
            {"complicate": {"change": "hop", "reasoning": "", "evidence": ["o99"], "question": "New?", "answer": "x"}},
            "unknown evidence",
        ),
    ],
)
def test_a_failed_complication_falls_back_and_keeps_its_reason(overrides, reason):
    (sample, *_) = run(comvint(formats=("open",), kinds=("cross_modal",), count=1), scripted(**overrides))
    assert sample.reason is None
    assert sample.rounds == 0
    assert sample.instruction == "cross_modal question 0?"
    *_, failure, verdict = [edit.stage for edit in sample.history]
    assert reason in failure
    assert FAILED in failure
    assert verdict == "verify first: passed (complexity 4)", "no version is kept that no judge has seen"
    assert sample.judge == "scripted"
    assert not [edit for edit in sample.history if edit.stage.startswith("complicate: ")], "it was undone"


def test_a_first_version_that_the_judge_does_not_pass_is_no_way_back():
    spoilt = scripted(complicate=ReplyError("enough"), verify_first=GOOD | {"needs_picture": False, "complexity": 2})
    (sample,) = run(comvint(formats=("open",), **ONE), spoilt)
    assert sample.reason == "not verified: needs picture"
    assert sample.history[-1].stage == "verify first: failed (needs picture; complexity 2)"
    assert (sample.task, sample.rounds) == ("cross_modal", 0)


def test_a_question_that_needs_no_picture_is_no_rewrite():
    (sample,) = run(comvint(formats=("open",), **ONE), scripted(verify=GOOD | {"needs_picture": False}))
    assert "not verified: needs picture" in sample.history[-2].stage
    assert sample.instruction == "cross_modal question 0?"


def test_the_topic_stays_unless_a_rewrite_names_another():
    (sample,) = run(comvint(formats=("open",), **ONE), scripted())
    assert sample.topic == "t"
    renamed = scripted(complicate=lambda prompt: REPLIES["complicate"](prompt) | {"topic": "counting"})
    assert run(comvint(formats=("choice",), **ONE), renamed)[0].topic == "counting"


def test_a_sample_that_fails_in_the_second_round_keeps_the_first():
    replies = iter([REPLIES["complicate"], ReplyError("enough")])

    def complicate(prompt):
        reply = next(replies)
        if isinstance(reply, Exception):
            raise reply
        return reply(prompt)

    (sample,) = run(comvint(rounds=2, formats=("open",), kinds=("cross_modal",), count=1), scripted(complicate=complicate))
    assert sample.rounds == 1
    assert sample.instruction == "Harder cross_modal question 0?"


def test_yes_and_no_are_asked_for_equally_often_and_held_to():
    samples = run(comvint(formats=("bool",), count=60), scripted())
    answers = [sample.response for sample in samples]
    assert 0.35 < answers.count("Yes") / len(answers) < 0.65
    stubborn = run(
        comvint(formats=("bool",), count=10),
        scripted(boolean=lambda prompt: REPLIES["boolean"](prompt) | {"answer": "yes"}),
    )
    reasons = {sample.reason for sample in stubborn}
    assert reasons == {None, "answer is yes, asked for no"}


def test_the_right_option_moves_and_four_must_differ():
    samples = run(comvint(formats=("choice",), count=40), scripted())
    letters = [sample.response for sample in samples]
    assert set(letters) == set("ABCD")
    for sample in samples:
        assert f"{sample.response}. Red" in sample.instruction
    twice = scripted(choice=lambda prompt: REPLIES["choice"](prompt) | {"wrong": ["Blue", "red", "Pink"]})
    assert all("four different options" in sample.reason for sample in run(comvint(formats=("choice",), count=3), twice))


def test_what_the_writer_spoils_is_published_with_its_reason():
    spoilt = scripted(
        synthesize=lambda prompt: {"samples": [{"reasoning": "", "evidence": [], "question": "Q?", "answer": "As an AI, no."}]}
    )
    samples = run(comvint(count=1), spoilt)
    assert len(samples) == 2
    assert all(sample.reason.startswith("refusal") for sample in samples)


def test_a_writer_that_fails_altogether_leaves_a_reason():
    samples = run(comvint(count=1), scripted(synthesize=ReplyError("three attempts were no JSON")))
    assert [sample.reason for sample in samples] == ["no usable reply: three attempts were no JSON"] * 2
    assert [sample.task for sample in samples] == ["cross_modal", "outside_knowledge"], "each is filed under its own task"


def test_asking_again_fills_what_is_missing():
    asked = []

    def synthesize(prompt):
        asked.append((prompt.blanks["attempt"], prompt.blanks["count"], len(prompt.blanks["avoid"])))
        return {"samples": [{"reasoning": "", "evidence": ["o1"], "question": f"Is it {len(asked)}?", "answer": "Yes, it is."}]}

    samples = run(comvint(kinds=("cross_modal",), formats=("open",), rounds=0, count=3), scripted(synthesize=synthesize))
    assert asked == [(0, 3, 0), (1, 2, 1), (2, 1, 2)]
    assert len(samples) == 3


def test_branch_gives_the_same_sample_to_all_and_rejected_ones_pass_by():
    @stage("mine/first")
    async def first(sample, llms):
        return [sample.write([Turn("A?", "a")])]

    @stage("mine/second")
    async def second(sample, llms):
        return [sample.write([Turn("B?", "b")]).reject("bad")]

    async def shout(sample, llms):
        return [sample.write([Turn(sample.instruction.upper(), sample.response)])]

    recipe = Recipe("mine", (branch(first, second), shout))
    samples = run(recipe, scripted())
    assert [(sample.instruction, sample.reason) for sample in samples] == [("A?", None), ("B?", "bad")]
    assert recipe.prompts == ("mine/first", "mine/second")


def test_a_recipe_lists_its_prompts_once():
    assert COMVINT.prompts == (
        "comvint/synthesize",
        "comvint/complicate",
        "comvint/verify",
        "comvint/verify_first",
        "comvint/boolean",
        "comvint/choice",
    )
    assert prompts_of(partial(verification.verify, votes=3)) == ("comvint/verify",)
    assert len(SVIT.prompts) == 4
    assert VLIT.prompts == ("vlit/dialogue",)


def test_draws_depend_on_the_scene_and_the_salt_only():
    sample = Sample(scene=SCENE)
    assert make_random(sample, "x", 1).random() == make_random(sample.write([Turn("q", "a")]), "x", 1).random()
    assert make_random(sample, "x", 1).random() != make_random(sample, "x", 2).random()


def test_settings_tell_two_recipes_apart():
    settings = [
        comvint(**given).settings
        for given in ({}, {"rounds": 2}, {"votes": 3}, {"kinds": ["cross_modal=3", "outside_knowledge"]})
    ]
    assert [settings.index(one) for one in settings] == [0, 1, 2, 3]
    assert COMVINT.settings == settings[0] == comvint(kinds={"cross_modal": 2, "outside_knowledge": 2}).settings


@pytest.mark.parametrize(
    ("kinds", "count", "share"),
    [
        ({"cross_modal": 3, "outside_knowledge": 1}, 4, 0.75),
        (["cross_modal=3", "outside_knowledge=1"], 1, 0.75),
        (["outside_knowledge=0.9", "cross_modal=0.1"], 2, 0.1),
        (["cross_modal", "outside_knowledge"], 3, 0.5),
    ],
)
def test_the_kinds_come_in_the_share_that_was_asked_for(kinds, count, share):
    recipe, llms = comvint(rounds=0, formats=("open",), kinds=kinds, count=count), scripted()
    samples = [asyncio.run(recipe.run(scene, llms)) for scene in load_scenes("shapes:300,level=single")]
    assert {len(group) for group in samples} == {2 * count}
    found = sum(sample.task == "cross_modal" for group in samples for sample in group) / (600 * count)
    assert found == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("kinds", [["riddle"], ["cross_modal=0"], ["cross_modal=much"], [], ["cross_modal=-1"], [""]])
def test_an_unknown_kind_or_weight_is_refused(kinds):
    with pytest.raises(InputError, match="expected some of cross_modal, outside_knowledge"):
        comvint(kinds=kinds)


@pytest.mark.parametrize("names", [("foo",), ("",), (), "open"])
@pytest.mark.parametrize(("recipe", "setting"), [("svit", "tasks"), ("comvint", "formats"), ("vlit", "constraints")])
def test_an_unknown_name_is_refused_before_anything_is_asked(recipe, setting, names):
    with pytest.raises(InputError, match=f"was given for {setting}: expected some of "):
        getattr(comvint_hf, recipe)(**{setting: names})


def test_a_choice_that_gives_itself_away_is_asked_again_and_then_rejected():
    long = {"correct": "The red one that stands at the very left"}
    better = iter([long, long, {}])
    settings = {"formats": ("choice",), "kinds": ("cross_modal",), "count": 1}
    (sample,) = run(comvint(**settings), scripted(choice=lambda prompt: REPLIES["choice"](prompt) | next(better)))
    assert sample.reason is None
    assert next(better, None) is None
    (sample,) = run(comvint(**settings), scripted(choice=lambda prompt: REPLIES["choice"](prompt) | long))
    assert sample.reason == "the right option stands out by its length: 'The red one that stands at the very left'"


def test_letters_before_options_go_and_a_fifth_option_is_left_out():
    reply = {"correct": "B) Red", "wrong": ["A. Blue", "(C) Green", "D: Pink", "Black"]}
    (sample,) = run(
        comvint(formats=("choice",), kinds=("cross_modal",), count=1),
        scripted(choice=lambda prompt: REPLIES["choice"](prompt) | reply),
    )
    assert sample.reason is None
    assert sorted(options(sample.instruction).values()) == ["Blue", "Green", "Pink", "Red"]


def test_what_was_paid_for_stays_when_asking_again_fails():
    asked = []

    def synthesize(prompt):
        asked.append(prompt)
        if len(asked) > 1:
            return ReplyError("three attempts were no JSON")
        return {"samples": [{"reasoning": "", "evidence": ["o1"], "question": "Is it red?", "answer": "Yes, it is."}]}

    samples = run(comvint(kinds=("cross_modal",), formats=("open",), rounds=0, count=3), scripted(synthesize=synthesize))
    assert [sample.reason for sample in samples] == [None, "no usable reply: three attempts were no JSON"]


# What is asked -----------------------------------------------------------------------------------------------------------


def requests(recipe, scene=SCENE, **overrides):
    """How often each prompt is asked."""
    llms = scripted(**overrides)
    asyncio.run(recipe.run(scene, llms))
    return Counter(prompt.name.rpartition("/")[2] for prompt in llms.writer.asked)


EMPTY = Scene(id="toy/0", source="toy", width=9, height=9)


@pytest.mark.parametrize(
    ("settings", "overrides", "asked"),
    [
        ({"rounds": 2, "formats": ("open",)}, {}, {"synthesize": 1, "complicate": 2, "verify": 2}),
        ({"rounds": 2, "formats": ("open",), "votes": 3}, {}, {"synthesize": 1, "complicate": 2, "verify": 4}),
        ({"rounds": 0, "formats": ("open",)}, {}, {"synthesize": 1}),
        ({"rounds": 1, "formats": ("bool",)}, {}, {"synthesize": 1, "complicate": 1, "verify": 1, "boolean": 1}),
        ({"rounds": 1, "formats": ("choice",)}, {}, {"synthesize": 1, "complicate": 1, "verify": 1, "choice": 1}),
        (
            {"rounds": 3, "formats": ("open",), "votes": 3},
            {"verify": GOOD | {"consistent": False}},
            {"synthesize": 1, "complicate": 1, "verify": 2, "verify_first": 2},
        ),
        (
            {"rounds": 3, "formats": ("open",)},
            {"complicate": {"change": "hop", "reasoning": "", "evidence": ["o99"], "question": "Is it so?", "answer": "x"}},
            {"synthesize": 1, "complicate": 1, "verify_first": 1},
        ),
        (
            {"rounds": 3, "formats": ("choice",)},
            {"synthesize": {"samples": [{"reasoning": "", "evidence": [], "question": "What is it?", "answer": "Red."}]}},
            {"synthesize": 3},
        ),
    ],
    ids=["rounds", "votes settled", "no rounds", "bool", "choice", "judge says no", "check says no", "nothing good"],
)
def test_nobody_is_asked_what_cannot_matter(settings, overrides, asked):
    assert requests(comvint(**ONE | settings), **overrides) == asked


def test_nobody_is_asked_about_a_picture_of_which_nothing_is_known():
    assert requests(comvint(), EMPTY) == {}


@pytest.mark.parametrize("recipe", [svit(), comvint(1), vlit()], ids=lambda recipe: recipe.name)
def test_scenes_are_let_go_when_they_are_done(recipe, monkeypatch) -> None:
    """The annotator keeps the facts of the last few scenes, and nothing of those before."""
    monkeypatch.setattr(scene_facts, "_KEPT", OrderedDict())
    monkeypatch.setattr(scene_facts, "KEPT_SCENES", 3)
    llms, seen = LLMs.one(AnnotationLLM()), []

    async def run() -> None:
        for scene in load_scenes("shapes:12"):
            await recipe.run(scene, llms)
            seen.append(weakref.ref(scene))

    asyncio.run(run())
    gc.collect()
    assert [made() is not None for made in seen] == [False] * 9 + [True] * 3
