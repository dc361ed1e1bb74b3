"""The command `comvint prompts`: read what a build would send, before anything is paid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comvint_hf.cli.exit_codes import handle_errors, usage_errors
from comvint_hf.cli.options import BUILD_FLAGS, Command
from comvint_hf.cli.output import echo
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.pipeline.options import ANNOTATIONS

if TYPE_CHECKING:
    from comvint_hf.pipeline.prompts import RequestListing, ShownRequest

_RULE = "-" * 8
_GROUPS = {title: BUILD_FLAGS[title] for title in ("Input", "Language models")}


@click.command(cls=Command, groups=_GROUPS, title="Prompts")
@click.option("--recipe", required=True, metavar="NAME|MODULE:NAME", help="svit, comvint, vlit, or a recipe of your own.")
@click.option("--stage", metavar="NAME", help="Only this prompt, as in complicate; all by default.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe; may be repeated.")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path, exists=True),
    help="Count tokens with this tokenizer.json, or that of a model's folder; else they are estimated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@handle_errors(resume_hint="Nothing was asked.")
def prompts(
    recipe: str, stage: str | None, settings: tuple[str, ...], tokenizer: Path | None, as_json: bool, **flags: Any
) -> None:
    """Print each request that a build would send, with its tokens. No model is asked, and no key is needed.

    \b
      comvint prompts --recipe comvint --stage complicate --scenes flickr30k:DIR
      comvint prompts --recipe svit --scenes coco:DIR --limit 20 --llm MODEL --json

    Without --limit it shows one image. The samples that later stages are asked about are written by the annotations here; a model writes
    others, and more.
    """
    from comvint_hf.cli.commands import open_recipe
    from comvint_hf.pipeline.llms import open_stand_in
    from comvint_hf.pipeline.prompts import list_requests
    from comvint_hf.sources import load_scenes

    with usage_errors():
        opened = open_recipe(recipe, settings)
        scenes = load_scenes(flags["scenes"], seed=flags["seed"], limit=flags["limit"], images=flags["images"])
        asked = LLMSettings(**{field.name: flags[field.name] for field in fields(LLMSettings) if field.name in flags})
        writer, judge = ("MODEL" if name == ANNOTATIONS else name for name in (flags["llm"], flags["judge"]))
        listing = list_requests(
            scenes, opened, open_stand_in(asked), writer=writer or "MODEL", judge=judge, settings=asked, stage=stage,
            tokenizer=tokenizer,
            one=flags["limit"] is None,
        )  # fmt: skip
    for line in [_to_json(listing)] if as_json else _format(listing):
        echo(line)


def _to_json(listing: RequestListing) -> str:
    requests = [
        asdict(request) | {"messages": [{"role": r, "content": c} for r, c in request.messages]} for request in listing.requests
    ]
    return json.dumps(
        {"tokens": listing.counted_by, "prompts": listing.by_prompt(), "requests": requests, "refused": listing.refused},
        ensure_ascii=False,
        indent=1,
    )


def _format(listing: RequestListing) -> Iterator[str]:
    for number, request in enumerate(listing.requests, start=1):
        yield from _format_request(request, number, len(listing.requests))
    for scene, reason in listing.refused.items():
        yield f"{scene}: {reason}"
    for name, counts in listing.by_prompt().items():
        requests = "1 request" if counts["requests"] == 1 else f"{counts['requests']:,} requests"
        yield f"{name}: {requests}, {counts['mean_tokens']:,} tokens on average, {counts['most_tokens']:,} at most"
    if not listing.requests and not listing.refused:
        yield "The annotations of these images lead to no such request; try more images with --limit."
    yield f"Tokens are {listing.counted_by}."


def _format_request(request: ShownRequest, number: int, total: int) -> Iterator[str]:
    samples = "one sample" if request.samples == 1 else f"{request.samples} samples"
    about = f", about {samples} that the annotations wrote here" if request.samples else ""
    yield f"{_RULE} request {number} of {total}: {request.prompt}, to the {request.asked_of}, {request.scene}{about}"
    tokens = request.tokens
    for role, text in request.messages:
        yield f"{_RULE} {role} ({tokens[role]:,} tokens)\n{text}"
    if request.image:
        yield f"{_RULE} image (at most {tokens['image']:,} tokens)\n{request.image}"
    if request.response_format:
        yield f"{_RULE} response_format ({tokens['schema']:,} tokens)\n{json.dumps(request.response_format, ensure_ascii=False)}"
    yield f"{_RULE} {tokens['all']:,} tokens in all\n"
