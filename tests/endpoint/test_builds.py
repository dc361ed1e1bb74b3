"""Whole recipes over the wire: a faulty endpoint changes no row, and a dry run asks nobody."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

import pytest
from endpoint.answers import RecordedReplies, fill_form
from endpoint.asking import opened
from endpoint.faults import FORM, HTTP, MESSAGE, Faults
from endpoint.server import Endpoint, serve

from comvint_hf.errors import PendingError, ReplyError
from comvint_hf.generation.client.batch import BatchLLM, run_in_batches
from comvint_hf.generation.llm import LLMs, Reply, ScriptedLLM
from comvint_hf.generation.recipe import Recipe
from comvint_hf.generation.recipes.comvint import COMVINT
from comvint_hf.generation.recipes.svit import SVIT, svit
from comvint_hf.generation.recipes.svit.stages import Pair, Pairs
from comvint_hf.pipeline.llms import open_dry_run, open_llms
from comvint_hf.sources import load_scenes
from comvint_hf.types import Sample

SCENES = 40


@pytest.fixture(scope="module")
def scenes():
    return list(load_scenes(f"shapes:{SCENES}"))


class Wired:
    """An endpoint's model that answers as the annotator does: each prompt is answered here first, then asked there."""

    deterministic = False

    def __init__(self, annotator, endpoint: Endpoint, llm) -> None:
        recorded = RecordedReplies()
        endpoint.answer = recorded.answer
        self.name, self._llm, self._annotator = llm.name, llm, recorded.record(annotator)

    async def ask(self, prompt, reply_type):
        await self._annotator.ask(prompt, reply_type)
        return await self._llm.ask(prompt, reply_type)


def rows(recipe: Recipe, scenes, cache, faults: Faults | None) -> tuple[list[Sample], Endpoint]:
    """Every sample of the recipe, made through an endpoint with these faults."""
    from comvint_hf.annotator import AnnotationLLM

    endpoint = Endpoint(faults=faults, keep_requests=False)

    async def go() -> list[Sample]:
        with serve(endpoint) as url:
            async with opened(url, cache) as llm:
                llms = LLMs.one(Wired(AnnotationLLM(), endpoint, llm))
                made = await asyncio.gather(*(recipe.run(scene, llms) for scene in scenes))
                return [sample for group in made for sample in group]

    return asyncio.run(go()), endpoint


@pytest.mark.parametrize(("recipe", "count"), [(SVIT, 200), (COMVINT, 30)], ids=["svit", "comvint"])
def test_a_recipe_through_faults_makes_the_rows_of_the_clean_run(recipe, count, tmp_path) -> None:
    scenes = list(load_scenes(f"shapes:{count}"))
    clean, _ = rows(recipe, scenes, tmp_path / "clean.sqlite", None)
    # What is whole in a truncated reply, or in one with a bad item, is kept, and the rest asked for with other words: see the next test.
    kinds = tuple(kind for kind in (*HTTP, *MESSAGE) if kind not in ("stall", "truncated"))
    spoilt, endpoint = rows(recipe, scenes, tmp_path / "faults.sqlite", Faults(share=0.2, kinds=kinds, retry_after="0.05"))
    assert sum(endpoint.statuses[kind] for kind in kinds) > 20
    assert spoilt == clean and sum(sample.reason is None for sample in clean) > 5 * count


def test_of_a_reply_that_was_cut_off_the_whole_items_are_rows_and_the_rest_is_asked_again(tmp_path) -> None:
    endpoint = Endpoint(faults=Faults(share=1, kinds=("truncated",)))
    scene = next(iter(load_scenes("shapes:1")))

    async def go() -> list[Sample]:
        with serve(endpoint) as url:
            async with opened(url, tmp_path / "replies.sqlite") as llm:
                return await svit(("complex_reasoning",)).run(scene, LLMs.one(llm))

    samples = asyncio.run(go())
    kept = [sample for sample in samples if sample.reason is None]
    texts = [text for _, text in endpoint.arrivals]
    assert len(kept) == len({sample.instruction for sample in kept}) > 7
    assert re.match(r".*\nWrite 15 questions", texts[0], re.DOTALL)
    missing = int(re.findall(r"Write (\d+) questions", texts[1])[0])
    assert 0 < missing < 15
    assert "the reply was cut off before its end" in texts[1]
    assert texts[1].count(kept[0].instruction) == 1, "what is there already is not asked for again"
    assert len(texts) == 3, "each cut reply was of use"


def test_a_server_that_drops_schemas_is_found_out_and_told_the_form_in_full(tmp_path) -> None:
    """As transformers' server does: it accepts a response_format, and its model writes what it likes."""
    replies = iter(['{"pairs": [{"topic": "weather", "question": "Why is it so?", "answer": "It is a triangle."}]}'])
    endpoint = Endpoint()
    endpoint.answer = lambda text, schema: next(replies, None) or fill_form(text, schema)
    scene = next(iter(load_scenes("shapes:1")))

    async def go() -> list[Sample]:
        with serve(endpoint) as url:
            async with opened(url, tmp_path / "replies.sqlite") as llm:
                return await svit(("complex_reasoning",)).run(scene, LLMs.one(llm))

    samples = asyncio.run(go())
    first, second = (body["messages"][0]["content"].rpartition("\n\n")[2] for body in endpoint.requests[:2])
    assert '"topic": string' in first and '"topic": "reasoning" or "knowledge"' in second
    assert sum(sample.reason is None for sample in samples) == 15, "the first pair is kept, and 14 more were asked for"


def test_patterns_are_left_out_where_an_endpoint_refuses_them(tmp_path) -> None:
    """As strict mode does: an endpoint that names a keyword still gets the schema without it."""
    endpoint = Endpoint(refused_keywords=("pattern", "maxLength"))
    scene = next(iter(load_scenes("shapes:1")))

    async def go() -> list[Sample]:
        with serve(endpoint) as url:
            async with opened(url, tmp_path / "replies.sqlite") as llm:
                return await svit(("referring_qa",)).run(scene, LLMs.one(llm))

    samples = asyncio.run(go())
    schemas = [json.dumps(body["response_format"]["json_schema"]["schema"]) for body in endpoint.requests]
    assert ["pattern" in schema for schema in schemas] == [True, False]
    assert '"minItems": 10' in schemas[1] and '"enum": ["grounding"]' in schemas[1]
    assert len(samples) == 10 and all(sample.reason is None for sample in samples)


def test_a_recipe_in_batches_makes_the_same_rows(scenes, tmp_path) -> None:
    from comvint_hf.annotator import AnnotationLLM

    clean, _ = rows(COMVINT, scenes[:10], tmp_path / "clean.sqlite", None)
    endpoint, made = Endpoint(faults=Faults(share=0.2, kinds=("500", "refusal"))), {}

    async def go() -> None:
        with serve(endpoint) as url:
            async with opened(url, tmp_path / "batch.sqlite") as llm:
                batched = BatchLLM(llm)
                llms = LLMs.one(Wired(AnnotationLLM(), endpoint, batched))

                async def whole_pass() -> None:
                    for scene in scenes[:10]:
                        with suppress(PendingError):
                            made[scene.id] = await COMVINT.run(scene, llms)

                await run_in_batches(whole_pass, [batched])

    asyncio.run(go())
    assert [sample for scene in scenes[:10] for sample in made[scene.id]] == clean
    assert endpoint.requests == [] and 3 <= len(endpoint.batches) <= 20


def test_what_only_the_recipe_can_see_is_regenerated_or_rejected_with_a_reason(scenes, tmp_path) -> None:
    made, endpoint = rows(SVIT, scenes, tmp_path / "c.sqlite", Faults(share=0.3, kinds=FORM))
    assert sum(endpoint.statuses[kind] for kind in FORM) > 20
    for sample in made:
        text = " ".join(message.content for message in sample.messages)
        assert sample.reason or not ("o9999" in text or "given captions" in text)
    assert {sample.scene.id for sample in made if sample.reason is None} == {scene.id for scene in scenes}


def lacking(scenes, after: Callable[[int], Reply | Exception]) -> list[Sample]:
    """What SVIT's reasoning makes of a first reply with 12 pairs and of what comes afterwards."""
    asked = iter(range(9))

    def reply(prompt, form):
        number = next(asked)
        pairs = Pairs(pairs=[Pair(question=f"Why {number}?", answer="So it is.") for number in range(12)])
        answer = pairs if number == 0 else after(number)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return asyncio.run(svit(("complex_reasoning",)).run(scenes[0], LLMs.one(ScriptedLLM(reply))))


def test_pairs_that_never_come_are_said_in_rejected(scenes) -> None:
    made = lacking(scenes, lambda number: Pairs(pairs=[]))
    assert len(made) == 13 and made[-1].reason == "too few: 12 of 15 in 3 attempts" and made[-1].task == "complex_reasoning"
    made = lacking(scenes, lambda number: ReplyError("m gave no usable reply"))
    assert len(made) == 13 and made[-1].reason == "no usable reply: m gave no usable reply"
    assert not made[-1].messages and all(sample.reason is None for sample in made[:12])


def test_a_dry_run_of_a_recipe_estimates_without_an_endpoint(scenes) -> None:
    dry_run = open_dry_run("gpt-4o", "gpt-4o-mini")
    few = [asyncio.run(dry_run.rehearse(scene, COMVINT)) for scene in islice(scenes, 10)]
    estimate = dry_run.estimate(few, 32_000)
    assert estimate.total.requests > 3 * 32_000 and estimate.cost > 10
    assert set(estimate.usage.by_prompt) <= set(COMVINT.prompts) and 6 * 32_000 < estimate.rows <= 8 * 32_000


def test_the_annotator_needs_neither_key_nor_cache(scenes, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    llms = open_llms("annotations")
    assert asyncio.run(SVIT.run(scenes[0], llms)) and llms.cache is None and llms.batches == []
    assert llms.summary()["requests"] == 0
    asyncio.run(llms.close())
