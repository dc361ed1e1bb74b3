"""Stages for all samples of an image at once, and `ask_each`, which asks about several of them in one request.

A request shows the whole scene, so asking about each sample alone pays for the scene as often as there are samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from math import ceil
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from pydantic import Field, create_model

from comvint_hf.errors import ReplyError
from comvint_hf.generation.forms import Form
from comvint_hf.generation.llm import LLM, LLMs, R, Reply
from comvint_hf.generation.prompt import Prompt

T = TypeVar("T")
U = TypeVar("U")
Case: TypeAlias = Mapping[str, Any]
"""What is asked about one sample: the blank `sample`, and further blanks of its own."""
FormMaker: TypeAlias = Callable[[Sequence[Case]], Form]
TOGETHER = 8
"""Samples in one request by default."""


class Numbered(Reply):
    """An item of a list: `number` is that of the sample in the prompt, from 1."""

    number: int


class _Partial(Reply):
    """A list that is of use without some of its items."""

    partial = True


class _Items(Protocol):
    items: list[Any]


@cache
def list_form(form: type[Reply], count: int) -> type[Reply]:
    """Make the form for `count` samples from the form for one: a list `items` of it, each with its number first.

    The JSON schema demands all of them; a reply that lacks some is read all the same.

    >>> class Colour(Reply):
    ...     colour: str
    >>> list(list_form(Colour, 2).model_validate({"items": [{"number": 1, "colour": "red"}]}).items[0].model_dump())
    ['number', 'colour']
    """
    number = Field(json_schema_extra={"minimum": 1, "maximum": count})
    item = create_model(f"Numbered{form.__name__}", __base__=(form, Numbered), __doc__=form.__doc__, number=(int, number))
    items = Field(json_schema_extra={"minItems": count, "maxItems": count})
    return create_model(f"{form.__name__}List", __base__=_Partial, items=(list[item], items))  # type: ignore[valid-type]


def profits_from_groups(llm: LLM) -> bool:
    """Whether a request about several samples saves anything: not where every answer is computed by itself."""
    return getattr(llm, "groups", not llm.deterministic)


async def run_all(work: Callable[[T], Awaitable[U]], items: Sequence[T], llms: LLMs) -> list[U]:
    """Run the work on every item: concurrently, or in turn where no model has to be waited for."""
    # Tasks of the event loop cost more than the annotator's answers, and they would only take turns.
    if llms.writer.deterministic and llms.judge.deterministic:
        return [await work(item) for item in items]
    return list(await asyncio.gather(*map(work, items)))


def split_evenly(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Split into the fewest parts of at most `most` items, of about the same size.

    >>> split_evenly("abcdefghi", 8)
    ['abcde', 'fghi']
    """
    parts = ceil(len(items) / most)
    ends = [ceil(len(items) * number / parts) for number in range(parts + 1)] if parts else []
    return [items[start:end] for start, end in pairwise(ends)]


async def ask_each(
    llm: LLM,
    prompt: str,
    form: type[R],
    cases: Sequence[Case],
    make_form: FormMaker | None = None,
    together: int = TOGETHER,
    **blanks: Any,
) -> list[R | ReplyError]:
    """Ask the same of several samples of one image, `together` in a request; what a reply lacks is asked again alone.

    Args:
        prompt: A prompt that lists the samples of the blank `cases`. With one case, its blanks are the prompt's own.
        form: The reply about one sample; for several, the model fills in its `list_form`.
        cases: The samples, each with blanks of its own.
        make_form: Makes the form of a reply about some of the cases (see `generation.forms`).
        together: Most samples in a request, 1 to ask about each alone.
        blanks: Blanks of all requests.

    Returns:
        For each case a filled form, or the error of a sample that got none.
    """

    async def ask_alone(case: Case) -> R | ReplyError:
        try:
            return await llm.ask(Prompt(prompt, _bind(make_form, [case]), **case, **blanks), form)
        except ReplyError as error:
            return error

    async def ask_group(group: Sequence[Case]) -> list[R | ReplyError]:
        found: dict[int, R | ReplyError] = {}
        if len(group) > 1:
            asked = Prompt(prompt, _bind(make_form, group), cases=list(group), scene=group[0]["sample"].scene, **blanks)
            found.update(await _ask_together(llm, asked, form, len(group)))
        missing = [number for number in range(1, len(group) + 1) if number not in found]
        alone = await run_all(ask_alone, [group[number - 1] for number in missing], LLMs.one(llm))
        found.update(zip(missing, alone, strict=True))
        return [found[number] for number in range(1, len(group) + 1)]

    groups = split_evenly(cases, together if profits_from_groups(llm) else 1)
    answered = await run_all(ask_group, groups, LLMs.one(llm))
    return [reply for group in answered for reply in group]


def _bind(make_form: FormMaker | None, cases: Sequence[Case]) -> Callable[[], Form] | None:
    return partial(make_form, cases) if make_form else None


async def _ask_together(llm: LLM, prompt: Prompt, form: type[R], count: int) -> dict[int, R]:
    """The replies to one request by the numbers of their samples; {} where it got no usable reply."""
    try:
        reply = await llm.ask(prompt, list_form(form, count))
    except ReplyError:
        return {}
    items = cast("_Items", reply).items
    numbers = [item.number for item in items]
    # A reply that counts otherwise (from 0, or on from the scene's own lists) would give samples each other's text.
    if not set(numbers) <= set(range(1, count + 1)):
        return {}
    return {item.number: item for item in items if numbers.count(item.number) == 1}


class OneByOne:
    """An LLM that answers a prompt about several samples by asking another one about each alone.

    It lets a stand-in that knows only the form for one sample, such as the annotator, answer what a language model is asked.
    """

    groups = True

    def __init__(self, llm: LLM) -> None:
        self.name, self.deterministic = llm.name, llm.deterministic
        self._llm = llm

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Answer a prompt. Samples to which the other LLM has no answer are missing in the list."""
        cases = prompt.blanks.get("cases", ())
        if len(cases) < 2:
            return await self._llm.ask(prompt, reply_type)
        form = _item_form(reply_type)
        shared = {name: value for name, value in prompt.blanks.items() if name not in ("cases", "scene")}
        items = []
        for number, case in enumerate(cases, start=1):
            try:
                reply = await self._llm.ask(Prompt(prompt.name, **shared, **case), form)
            except ReplyError:
                continue
            items.append({"number": number, **reply.model_dump()})
        return reply_type.model_validate({"items": items})


def _item_form(several: type[Reply]) -> type[Reply]:
    """The form for one sample that `list_form` was made of."""
    item = several.model_fields["items"].annotation.__args__[0]  # type: ignore[union-attr]
    return item.__bases__[0]
