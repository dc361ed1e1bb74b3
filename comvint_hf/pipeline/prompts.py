"""What a build would send: each request of some scenes, exactly as an endpoint would get it, with its tokens.

No model is asked. The samples in the requests of later stages are written by the embedded annotator, in the writer's place.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from comvint_hf import images
from comvint_hf.errors import InputError, ReplyError
from comvint_hf.generation.client.cost import find_price
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.client.token_counts import count_tokens, find_weights
from comvint_hf.generation.group import OneByOne
from comvint_hf.generation.llm import LLM, LLMs, R
from comvint_hf.generation.prompt import Prompt

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.types import Scene

NO_ADDRESS = "http://localhost/v1"
"""Stands for the endpoint where none is named; nothing is sent there."""
IMAGE_TOKENS = 1500
"""Most tokens of an image at a model of which no price is known."""
LOOKED_AT = 20
"""Scenes among which an example is looked for."""
TokenCounter = Callable[[str], int]


@dataclass(frozen=True)
class ShownRequest:
    """One request as it would be sent.

    Attributes:
        prompt: Name of the prompt.
        asked_of: "writer" or "judge".
        samples: How many samples the request is about; 0 where it asks for the first ones.
        messages: Role and text of each message, without the image.
        response_format: The field of that name, which holds the schema of the reply.
        image: What is said of the attached image; "" without one.
        tokens: Tokens by part (each role, "schema", "image"), and "all".
    """

    scene: str
    prompt: str
    asked_of: str
    samples: int
    messages: tuple[tuple[str, str], ...]
    response_format: Mapping[str, Any] | None
    image: str
    tokens: Mapping[str, int]


@dataclass
class RequestListing:
    """The requests of some scenes, in the order in which they would be sent for each.

    Attributes:
        counted_by: How tokens were counted, in words.
        refused: Scenes that cannot be asked about, with the reason, as where `see` finds no image.
    """

    requests: list[ShownRequest] = field(default_factory=list)
    counted_by: str = ""
    refused: dict[str, str] = field(default_factory=dict)

    def by_prompt(self) -> dict[str, dict[str, float]]:
        """For each prompt the number of its requests, and the mean and the most of their tokens."""
        names = dict.fromkeys(request.prompt for request in self.requests)
        counts = {name: [one.tokens["all"] for one in self.requests if one.prompt == name] for name in names}
        return {
            name: {"requests": len(tokens), "mean_tokens": round(mean(tokens)), "most_tokens": max(tokens)}
            for name, tokens in counts.items()
        }


def open_tokenizer(file: Path | None, model: str) -> tuple[TokenCounter, str]:
    """Open a `tokenizer.json`, or the folder of a model that has one; without one tokens are estimated.

    Returns:
        The counter, and how it counts in words.

    Raises:
        InputError: For a file that is no tokenizer.
    """
    if file is None:
        weights = find_weights(model)
        return (lambda text: count_tokens(text, weights)), f"estimated as those of {model}'s family"
    path = file / "tokenizer.json" if file.is_dir() else file
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare exceptions
        raise InputError(f"{path} is no tokenizer ({error}): expected the tokenizer.json of a model.") from error
    return (lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)), f"counted by {path}"


def list_requests(
    scenes: Iterable[Scene],
    recipe: Recipe,
    annotator: LLM,
    *,
    writer: str,
    judge: str | None = None,
    settings: LLMSettings | None = None,
    stage: str | None = None,
    tokenizer: Path | None = None,
    one: bool = False,
) -> RequestListing:
    """List what a build would send about the scenes.

    Args:
        one: List the requests of one scene only: the first with all of the prompts, or else the one with the most of them among
            the first `LOOKED_AT`.
        annotator: Fills in each reply, so that the recipe goes on.
        writer: Name of the model that writes.
        judge: Name of the model that judges; the writer by default.
        settings: How the models would be asked.
        stage: A prompt's name, whole or without its recipe; all prompts by default.
        tokenizer: See `open_tokenizer`.

    Raises:
        InputError: For a stage that the recipe has not, and for a file that is no tokenizer.
    """
    wanted = _find_prompts(recipe, stage)
    count, counted_by = open_tokenizer(tokenizer, writer)
    listing = RequestListing(counted_by=counted_by)
    settings = settings or LLMSettings()

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            # The client itself builds each request, for an address that needs no key; its cache stays empty.
            asked = replace(settings, base_url=settings.base_url or NO_ADDRESS, cache=Path(folder) / "none.sqlite", batch=False)
            names = (writer, "writer"), (judge or writer, "judge")
            clients = [OpenAILLM(name, asked, cache=Path(folder) / f"{role}.sqlite") for name, role in names]
            llms = LLMs(*(
                _RecordingLLM(client, role, annotator, listing, wanted, count)
                for client, (_, role) in zip(clients, names, strict=True)
            ))  # fmt: skip
            for scene in islice(scenes, LOOKED_AT) if one else scenes:
                before = listing.requests
                listing.requests = [] if one else before
                await recipe.run(scene, llms)
                if one and _count_prompts(before) >= _count_prompts(listing.requests):
                    listing.requests = before
                if one and _count_prompts(listing.requests) == len(wanted):
                    break
            if one and listing.requests:
                listing.refused.clear()
            for client in clients:
                await client.close()
                client.cache.close()

    asyncio.run(run())
    return listing


def _count_prompts(requests: Iterable[ShownRequest]) -> int:
    return len({request.prompt for request in requests})


def _find_prompts(recipe: Recipe, stage: str | None) -> tuple[str, ...]:
    found = tuple(name for name in recipe.prompts if stage in (None, name, name.rpartition("/")[2]))
    if not found:
        names = ", ".join(name.rpartition("/")[2] for name in recipe.prompts)
        raise InputError(f"--stage {stage}: the recipe {recipe.name} has no such prompt; expected one of {names}.")
    return found


class _RecordingLLM:
    """Records the request that a client would send, and lets the annotator reply."""

    deterministic = False  # as a model is asked: about several samples at once, and about first versions too
    groups = True

    def __init__(
        self, client: OpenAILLM, role: str, annotator: LLM, listing: RequestListing, wanted: tuple[str, ...], count: TokenCounter
    ) -> None:
        self.name = client.name
        self.sees = client.settings.see
        self._client, self._role, self._listing, self._wanted, self._count = client, role, listing, wanted, count
        self._stand_in = OneByOne(annotator)
        self._grouped: dict[tuple[str, int], Any] = {}

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        if prompt.name in self._wanted and not self._is_repeated(prompt):
            await self._record(prompt, reply_type)
        return await self._stand_in.ask(prompt, reply_type)

    def _is_repeated(self, prompt: Prompt) -> bool:
        """Whether a request asks once more for what the annotator did not give; a model gives it at once."""
        samples = [case["sample"] for case in prompt.blanks.get("cases", ())]
        # The samples are kept, so that no other one gets the identity of one of them.
        self._grouped.update({(prompt.name, id(sample)): sample for sample in samples})
        alone = (prompt.name, id(prompt.blanks.get("sample")))
        return bool(prompt.blanks.get("attempt")) or (not samples and alone in self._grouped)

    async def _record(self, prompt: Prompt, reply_type: type[R]) -> None:
        try:
            request = await self._client.make_request(prompt, reply_type)
            body = await self._client.requester.build_body(request, None)
        except ReplyError as error:
            self._listing.refused[prompt.scene.id] = str(error)
            raise
        messages, image = _split_image(body["messages"])
        tokens = [(role, self._count(text)) for role, text in messages]
        schema = body.get("response_format")
        if schema:
            tokens.append(("schema", self._count(json.dumps(schema))))
        if image:
            price = find_price(self._client.requester.model, self._client.settings.prices)
            tokens.append(("image", price.image_tokens if price else IMAGE_TOKENS))
        counts: dict[str, int] = {}
        for part, number in [*tokens, ("all", sum(number for _, number in tokens))]:
            counts[part] = counts.get(part, 0) + number
        cases = prompt.blanks.get("cases") or ([prompt.blanks] if "sample" in prompt.blanks else [])
        self._listing.requests.append(
            ShownRequest(
                prompt.scene.id, prompt.name, self._role, len(cases), messages, schema, image, counts
            )
        )  # fmt: skip


def _split_image(messages: Iterable[Mapping[str, Any]]) -> tuple[tuple[tuple[str, str], ...], str]:
    """The texts of the messages with their roles, and what is to be said of the image between them."""
    texts, image = [], ""
    for message in messages:
        content = message["content"]
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts.append((message["role"], "\n".join(part["text"] for part in parts if part["type"] == "text")))
        for part in parts:
            if part["type"] == "image_url":
                image = _describe_image(part["image_url"]["url"], parts[0]["type"] == "image_url")
    return tuple(texts), image


def _describe_image(url: str, first: bool) -> str:
    """Describe an attached image, as in "JPEG of 640x480 pixels, 54,321 bytes, before the text"."""
    head, _, data = url.partition(",")
    encoded = base64.b64decode(data)
    width, height = images.read_size(encoded) or (0, 0)
    kind = head.removeprefix("data:image/").partition(";")[0].upper()
    return f"{kind} of {width}x{height} pixels, {len(encoded):,} bytes, {'before' if first else 'after'} the text"
