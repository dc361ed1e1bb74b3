"""What `comvint prompts` shows is what an endpoint gets, byte for byte, and its tokens are counted."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner
from endpoint.answers import RecordedReplies
from endpoint.asking import opened
from endpoint.server import Endpoint, serve

from comvint_hf import AnnotationLLM, LLMs, comvint, load_scenes, svit, vlit
from comvint_hf.cli import main
from comvint_hf.generation.client.token_counts import GROUPED_DIGITS, count_tokens
from comvint_hf.pipeline.prompts import list_requests

RECIPES = {"svit": svit(), "comvint": comvint(rounds=2), "vlit": vlit()}


def shown(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["prompts", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def sent(recipe, scenes, cache):
    """The bodies that an endpoint gets whose model answers as the annotator does."""
    endpoint, recorded = Endpoint(), RecordedReplies()
    endpoint.answer = recorded.answer

    async def go() -> None:
        with serve(endpoint) as url:
            async with opened(url, cache, "MODEL") as llm:
                rehearsed = recorded.record(AnnotationLLM(), deterministic=False)
                rehearsed.name = "MODEL"  # some checks know what the annotations write
                for scene in scenes:
                    await recipe.run(scene, LLMs.one(rehearsed))
                    await recipe.run(scene, LLMs.one(llm))

    asyncio.run(go())
    return endpoint.requests


def text_of(body: dict) -> str:
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_shown_is_what_is_sent(name, tmp_path) -> None:
    scenes = list(load_scenes("shapes:3"))
    arguments = ("--recipe", name, "--scenes", "shapes:3", "--limit", 3, "--json")
    told = json.loads(shown(*arguments, *(["--set", "rounds=2", "--llm", "MODEL"] if name == "comvint" else ["--llm", "MODEL"])))
    bodies = sent(RECIPES[name], scenes, tmp_path / "replies.sqlite")
    # The last paragraph is the client's word on the form, which it spells out where replies showed that nobody enforces it.
    received = [(text_of(body).rpartition("\n\n")[0], body["response_format"]) for body in bodies]
    assert {request["prompt"] for request in told["requests"]} >= set(RECIPES[name].prompts) - {"comvint/verify_first"}
    for request in told["requests"]:
        (message,) = request["messages"]
        assert message["role"] == "user"
        if request["samples"] == 0:
            assert (message["content"].rpartition("\n\n")[0], request["response_format"]) in received
        else:  # about samples that were drawn anew
            facts = message["content"].partition("the picture shows more than is listed.")[0]
            assert any(text.startswith(facts) for text, _ in received)
    assert not any(request["image"] for request in told["requests"])


@pytest.mark.parametrize("name", RECIPES)
def test_with_see_the_picture_is_described_and_the_text_says_that_it_is_attached(name) -> None:
    told = json.loads(shown("--recipe", name, "--scenes", "shapes:9", "--llm", "MODEL", "--see", "--json"))
    for request in told["requests"]:
        assert request["image"].startswith("JPEG of 96x96 pixels, ")
        assert request["image"].endswith(", before the text")
        assert "The picture itself is attached." in request["messages"][0]["content"]
        assert request["tokens"]["image"] == 1500


def test_every_part_is_counted_and_the_sums_are_told() -> None:
    (request, *_) = json.loads(shown("--recipe", "svit", "--scenes", "shapes:1", "--json"))["requests"]
    tokens = request["tokens"]
    assert tokens["all"] == tokens["user"] + tokens["schema"]
    assert tokens["user"] == count_tokens(request["messages"][0]["content"], GROUPED_DIGITS)
    text = shown("--recipe", "svit", "--scenes", "shapes:1")
    assert f"{tokens['all']:,} tokens in all" in text
    assert "Tokens are estimated as those of" in text


def test_a_real_tokenizer_counts(tmp_path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    told = json.loads(shown("--recipe", "vlit", "--scenes", "shapes:1", "--json", "--tokenizer", tmp_path))
    request = told["requests"][0]
    assert request["tokens"]["user"] == len(request["messages"][0]["content"].split())
    assert told["tokens"].startswith("counted by ")
    (tmp_path / "tokenizer.json").write_text("no")
    assert "expected the tokenizer.json of a model" in shown(
        "--recipe", "vlit", "--scenes", "shapes:1", "--tokenizer", tmp_path, code=2
    )


def test_one_stage_and_who_wrote_its_samples() -> None:
    text = shown("--recipe", "comvint", "--scenes", "shapes:20", "--stage", "complicate")
    assert "comvint/complicate, to the writer" in text
    assert "samples that the annotations wrote here" in text
    assert "comvint/verify, to" not in text
    assert "expected one of synthesize, complicate" in shown(
        "--recipe", "comvint", "--scenes", "shapes:2", "--stage", "x", code=2
    )


def test_an_image_that_is_missing_is_said() -> None:
    scene = next(iter(load_scenes("shapes:1"))).model_copy(update={"image": None})
    from comvint_hf.generation.client.settings import LLMSettings

    listing = list_requests([scene], svit(), AnnotationLLM(), writer="m", settings=LLMSettings(see=True))
    assert listing.requests == []
    assert "no image to see" in listing.refused[scene.id]
