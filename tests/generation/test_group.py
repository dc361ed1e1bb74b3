"""Several samples in one request: each gets its own reply, and what a reply lacks or mixes up is asked again alone."""

import asyncio
from os.path import commonprefix

import pytest

from comvint_hf import comvint
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.errors import ReplyError
from comvint_hf.generation.group import OneByOne, ask_each, list_form, split_evenly
from comvint_hf.generation.llm import LLMs, Reply, ScriptedLLM
from comvint_hf.generation.prompt import Prompt, add_prompts
from comvint_hf.sources import load_scenes
from comvint_hf.types import Sample, Turn

SCENE = next(iter(load_scenes("shapes:1,level=single")))
SAMPLES = [Sample(scene=SCENE).write([Turn(f"Question {letter}?", "a")]) for letter in "ABCDE"]
add_prompts({"toy/shout": "{% for case in cases %}{{ loop.index }} {{ case.sample.instruction }}\n{% endfor %}"})


class Shout(Reply):
    """A louder question."""

    louder: str


def shout(prompt):
    """What a model that reads the prompt's lines would reply to all of them."""
    lines = [line.split(" ", 1) for line in prompt.text.splitlines()]
    return [{"number": int(number), "louder": question.upper()} for number, question in lines]


def ask(change=lambda items: items, together=8, samples=SAMPLES):
    """The replies to a group whose items `change` spoils, and what was asked."""

    def answer(prompt, form):
        items = shout(prompt)
        if form is Shout:
            return Shout.model_validate(items[0])
        return form.model_validate({"items": change(items)})

    llm = ScriptedLLM(answer)
    replies = asyncio.run(ask_each(llm, "toy/shout", Shout, [{"sample": sample} for sample in samples], together=together))
    return [reply.louder for reply in replies], [len(prompt.blanks.get("cases", [1])) for prompt in llm.asked]


WHOLE = [f"QUESTION {letter}?" for letter in "ABCDE"]


def renumber(by):
    return lambda items: [item | {"number": item["number"] + by} for item in items]


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (lambda items: items, [5]),
        (lambda items: items[::-1], [5]),
        (lambda items: items[:3], [5, 1, 1]),
        (lambda items: [], [5, 1, 1, 1, 1, 1]),
        (lambda items: [*items, items[1] | {"louder": "ANOTHER?"}], [5, 1]),
        (renumber(-1), [5, 1, 1, 1, 1, 1]),
        (renumber(3), [5, 1, 1, 1, 1, 1]),
    ],
    ids=["whole", "another order", "cut", "empty", "one twice", "numbered from 0", "numbered on"],
)
def test_every_sample_gets_its_own_reply_whatever_the_list_lacks(change, asked):
    assert ask(change) == (WHOLE, asked)


@pytest.mark.parametrize(("together", "asked"), [(1, [1] * 5), (2, [2, 2, 1]), (3, [3, 2]), (5, [5])])
def test_no_request_holds_more_than_was_set(together, asked):
    replies, sizes = ask(together=together)
    assert replies == WHOLE
    assert sorted(sizes, reverse=True) == asked


def test_a_group_without_a_usable_reply_is_asked_one_by_one_and_an_error_stays_with_its_sample():
    def answer(prompt, form):
        if form is not Shout:
            return ReplyError("the reply was cut off before its end")
        return ReplyError("refused") if "C?" in prompt.text else Shout.model_validate(shout(prompt)[0])

    replies = asyncio.run(ask_each(ScriptedLLM(answer), "toy/shout", Shout, [{"sample": sample} for sample in SAMPLES]))
    assert [str(reply) if isinstance(reply, ReplyError) else reply.louder for reply in replies] == [
        *WHOLE[:2], "refused", *WHOLE[3:]
    ]  # fmt: skip


def test_the_list_form_numbers_each_item_first():
    form = list_form(Shout, 3)
    assert form is list_form(Shout, 3)
    schema = form.model_json_schema()
    assert list(schema["$defs"]["NumberedShout"]["properties"]) == ["number", "louder"]
    assert (schema["properties"]["items"]["minItems"], schema["properties"]["items"]["maxItems"]) == (3, 3)
    assert schema["$defs"]["NumberedShout"]["properties"]["number"]["maximum"] == 3


def test_groups_differ_in_size_by_one_at_most():
    sizes = {(count, most): [*map(len, split_evenly(range(count), most))] for count in range(20) for most in range(1, 9)}
    for (count, most), parts in sizes.items():
        assert sum(parts) == count
        assert len(parts) == -(-count // most)
        assert not parts or (max(parts) <= most and max(parts) - min(parts) <= 1)


def run(llm, **settings):
    """All samples of a scene, and the prompts that were asked with the number of their samples."""
    asked = []

    class Listening:
        name, deterministic, groups = "listening", False, True

        async def ask(self, prompt, form):
            asked.append((prompt.name.rpartition("/")[2], len(prompt.blanks.get("cases", [1]))))
            return await llm.ask(prompt, form)

    samples = asyncio.run(comvint(rounds=2, count=6, **settings).run(SCENE, LLMs.one(Listening())))
    return samples, asked


def test_groups_change_the_number_of_requests_and_not_the_samples():
    """The annotator's answers depend on the sample alone, so that they must be the same in any company."""
    alone, asked_alone = run(AnnotationLLM(), together=1)
    grouped, asked = run(OneByOne(AnnotationLLM()), together=8)
    texts = [
        [(sample.instruction, sample.response, sample.rounds) for sample in samples if not sample.reason]
        for samples in (alone, grouped)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) >= 6
    assert max(size for _, size in asked) > 4
    assert 2 * len(asked) < len(asked_alone)


def test_the_annotator_is_asked_about_each_sample_alone():
    llm, sizes = AnnotationLLM(), set()

    class Listening:
        name, deterministic = llm.name, True

        async def ask(self, prompt, form):
            sizes.add(len(prompt.blanks.get("cases", [1])))
            return await llm.ask(prompt, form)

    asyncio.run(comvint(rounds=2, count=6).run(SCENE, LLMs.one(Listening())))
    assert sizes == {1}


@pytest.mark.parametrize("name", ["complicate", "verify", "verify_first", "boolean", "choice"])
def test_a_prompt_shows_all_pairs_with_their_numbers_after_the_facts(name):
    samples = [Sample(scene=SCENE).write([Turn(f"Is it {number}?", f"It is {number}.")]) for number in (31, 32)]
    cases = [{"sample": sample, "before": sample.rewrite("x", ("Q?", "A")).history[0], "wanted": "no"} for sample in samples]
    text = Prompt(f"comvint/{name}", cases=cases, scene=SCENE).text
    alone = Prompt(f"comvint/{name}", **cases[0]).text
    assert text.index("Number 1") < text.index("Is it 31?") < text.index("Number 2") < text.index("It is 32.")
    assert "number from 1 to 2" in text
    assert "umber 1" not in alone
    assert "It is 31." in alone
    first = Prompt("comvint/synthesize", scene=SCENE, kind="cross_modal", count=2, avoid=[]).text
    shared = commonprefix([text, alone, first])
    assert f"[{SCENE.objects[-1].tag}] {SCENE.objects[-1].name}" in shared, "providers reuse the same beginning only"
