"""Forms: the schema of one prompt holds what its scene allows, stays valid for strict mode, and is described in words."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from comvint_hf.errors import ReplyError
from comvint_hf.generation import forms
from comvint_hf.generation.client.reply_parsing import build_schema
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.generation.narrowing import find_violation, narrow
from comvint_hf.generation.recipes.svit import svit
from comvint_hf.generation.recipes.svit.stages import REASONING_TOPICS, Pairs
from comvint_hf.generation.recipes.vlit import vlit
from comvint_hf.sources import load_scenes
from comvint_hf.types import Box, Object, Scene

BOX = Box(x1=0.1, y1=0.1, x2=0.4, y2=0.9)
SCENE = Scene(
    id="toy/1", source="toy", width=100, height=100, captions=("A man walks a dog.",),
    objects=(
        Object(tag="o1", key="1", name="man", boxes=(BOX,)),
        Object(tag="o2", key="2", name="dog", boxes=(BOX,)),
        Object(tag="o3", key="3", name="sky"),
    ),
)  # fmt: skip


def schemas(scene, narrowed=True):
    """The schemas that the recipes send for a scene, by prompt, with the schema objects."""
    import asyncio

    found = {}

    def note(prompt, reply_type):
        schema = build_schema(reply_type, prompt.make_form)
        sent = schema.response_format("json_schema", narrowed=narrowed)["json_schema"]
        assert sent["strict"]
        found[prompt.name + prompt.blanks.get("constraint", "")] = (prompt, schema, sent["schema"])
        raise ReplyError("only the schema is wanted")

    for recipe in (svit(), vlit()):
        asyncio.run(recipe.run(scene, LLMs.one(ScriptedLLM(note))))
    return found


def walk(part):
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from walk(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from walk(inner)


@pytest.mark.parametrize("scene", [SCENE, next(iter(load_scenes("shapes:1")))], ids=["toy", "shapes"])
@pytest.mark.parametrize("narrowed", [True, False])
def test_every_schema_is_valid_small_and_strict(scene, narrowed):
    for name, (_, _, schema) in schemas(scene, narrowed).items():
        Draft202012Validator.check_schema(schema)
        assert len(json.dumps(schema)) < 4000, name
        for part in walk(schema):
            if "properties" in part:
                assert part["additionalProperties"] is False and part["required"] == list(part["properties"]), name
            if not narrowed:
                assert not {"pattern", "minLength", "maxLength"} & part.keys(), name
            if "$ref" in part:
                assert part["$ref"].rsplit("/", 1)[1] in schema["$defs"], name


def test_counts_tags_and_topics_are_those_of_the_prompt():
    found = schemas(SCENE)
    pairs = found["svit/complex_reasoning"][2]["properties"]["pairs"]
    assert (pairs["minItems"], pairs["maxItems"]) == (15, 15)
    pair = found["svit/complex_reasoning"][2]["$defs"]["Pair"]["properties"]
    assert pair["topic"]["enum"] == list(REASONING_TOPICS) and pair["evidence"]["items"]["enum"] == ["o1", "o2", "o3"]
    turns = found["svit/conversation"][2]["$defs"]["Dialogue"]["properties"]["turns"]
    assert (turns["minItems"], turns["maxItems"]) == (5, 5) and "topic" not in turns["items"]["properties"]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("The <st>man<ed>[o1] waits.", True),
        ("<st>Man<ed>[o1] and <st>dog<ed>[o2], here.", True),
        ("They are <st>beings<ed>[o1], [o2].", True),
        ("The man waits.", False),
        ("The <st>sky<ed>[o3] is blue.", False),  # it has no box
        ("The <st>man<ed>[o7] waits.", False),
        ("The <st>man<ed>[0.1, 0.2, 0.3, 0.4] waits.", False),
        ('The "<st>man<ed>[o1]" waits.', False),  # a quote would end the JSON text in a grammar
    ],
)
def test_a_sentence_that_points_is_of_its_pattern(text, fits):
    assert bool(re.search(forms.pointing(SCENE)["pattern"], text)) == fits


def test_a_question_has_one_mark_and_nothing_goes_on_for_ever():
    """A weak model asked on and on, or answered itself, inside of the question."""
    asks = forms.pointing(SCENE, asks=True)["pattern"]
    assert re.search(asks, "Who is the <st>man<ed>[o1]?") and not re.search(asks, "Who is the <st>man<ed>[o1]? Why? He waits.")
    assert not re.search(asks, "Is it so, " * 20 + "<st>man<ed>[o1]?")
    assert not re.search(forms.question()["pattern"], "Is it so? It is.")
    assert not re.search(forms.may_point(SCENE)["pattern"], "It is so, " * 60)


def test_the_violation_of_a_schema_is_told():
    _, schema, sent = schemas(SCENE)["svit/complex_reasoning"]
    pair = {"topic": "reasoning", "evidence": ["o1"], "question": "Why so?", "answer": "So it is."}
    assert find_violation({"pairs": [pair] * 15}, sent) is None
    assert find_violation({"pairs": [pair]}, sent) == "pairs: 1 items, expected 15 or more"
    assert "is none of" in find_violation({"pairs": [pair | {"topic": "weather"}] * 15}, sent)
    assert "is none of" in find_violation({"pairs": [pair | {"evidence": ["o9"]}] * 15}, sent)
    assert "it is missing" in find_violation({"pairs": [{"topic": "count"}] * 15}, sent)
    assert schema.violation("Sure! Here you are.") == "it is no JSON"
    assert schema.violation('{"pairs": []}') is None, "a count says nothing about who enforces what"
    assert "Field required" in schema.violation('{"pairs": [{"topic": "count"}]}')


def test_what_a_schema_demands_the_prompt_explains():
    for name, (prompt, schema, sent) in schemas(SCENE).items():
        fields = {key for part in walk(sent) for key in part.get("properties", ())}
        for field in fields - {"question", "answer", "description", "pairs", "dialogues", "turns"}:
            assert f'"{field}"' in prompt.text or f"a {field} of" in prompt.text, f"{name} does not explain {field}"
        assert '"o1"' in prompt.text, "the example of evidence is one of the scene's own"
        full, short = schema.describe(in_full=True), schema.describe()
        assert "\n" not in full + short and '"o1" or "o2"' in full and '"o1"' not in short


def test_topics_list_nothing_that_the_task_forbids():
    text = schemas(SCENE)["svit/complex_reasoning"][0].text
    assert "- reasoning:" in text
    for forbidden in ("colour", "count", "existence", "identity", "position", "grounding"):
        assert f"- {forbidden}:" not in text


def test_the_given_schema_is_left_as_it_is():
    plain = Pairs.model_json_schema()
    before = json.dumps(plain)
    narrow(plain, {"pairs": forms.exactly(3), "topic": forms.one_of(["a"])})
    assert json.dumps(plain) == before
