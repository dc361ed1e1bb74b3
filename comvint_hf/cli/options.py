"""The flags that every builder and `comvint build` share, and their help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from comvint_hf.cli.exit_codes import ENDINGS
from comvint_hf.cli.param_types import Tasks
from comvint_hf.cli.validation import look_over
from comvint_hf.pipeline.options import ANNOTATIONS, ATTEMPTS, EXECUTORS, STORE, BuildOptions

PRIVATE = "Who may see the Hub repository, if it is new.  [default: private if a source's photos may not be shared, else your account's]"
_PER_MINUTE = click.FloatRange(0, min_open=True)
_FLAGS = (
    click.option(
        "--scenes", required=True, metavar="SOURCE:PATH", help="shapes:500, coco:DIR, visual_genome:DIR or flickr30k:DIR."
    ),
    click.option(
        "--llm",
        default=ANNOTATIONS,
        show_default=True,
        metavar="annotations|MODEL",
        help="Who writes: the annotations themselves (offline, no key), or a model of an OpenAI-compatible endpoint.",
    ),
    click.option(
        "--judge", metavar="annotations|MODEL", help="Who checks what the writer wrote (ComVint); the writer itself unless given."
    ),
    click.option(
        "--base-url",
        metavar="URL",
        help="The endpoint's address, else OPENAI_BASE_URL, else OpenAI. The key is read from the environment: OPENAI_API_KEY, "
        "HF_TOKEN for huggingface.co, AZURE_OPENAI_API_KEY for Azure; a server of your own needs none.",
    ),
    click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The dataset's folder."),
    click.option("--limit", type=click.IntRange(1), help="Stop after so many images."),
    click.option("--seed", default=0, show_default=True, help="Draws wordings and rendered scenes."),
    click.option(
        "--budget",
        type=click.FloatRange(0),
        metavar="USD",
        help="Stop before --cache has paid more than this, in all runs together; requests on their way and replies that did not "
        "fit count too.",
    ),
    click.option(
        "--prices",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A file of prices (TOML: dollars per million tokens by model), read over the one in generation/client/prices.toml.",
    ),
    click.option("--see", is_flag=True, help="Show the writer the photo too, not only its annotations."),
    click.option(
        "--see-pixels",
        type=click.IntRange(1),
        metavar="N",
        help="Make a photo smaller until it has N pixels at most before it is shown.  [default: 1048576, as 1024x1024]",
    ),
    click.option("--temperature", type=click.FloatRange(0), help="The writer's and judge's temperature; theirs unless given."),
    click.option(
        "--attempts",
        default=ATTEMPTS,
        show_default=True,
        type=click.IntRange(1),
        help="Ask a prompt so often, each time saying what did not fit, before its sample is rejected.",
    ),
    click.option("--requests-per-minute", type=_PER_MINUTE, metavar="N", help="Ask each model no faster than this."),
    click.option(
        "--tokens-per-minute", type=_PER_MINUTE, metavar="N", help="Send and get no more tokens of each model than this."
    ),
    click.option(
        "--concurrency",
        default=64,
        show_default=True,
        type=click.IntRange(1),
        help="Requests to a model on their way at once; fewer by itself while the endpoint says it is too much.",
    ),
    click.option(
        "--cache",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where paid replies are kept; builds may share one.  [default: OUT/.build/replies.sqlite]",
    ),
    click.option(
        "--batch",
        is_flag=True,
        help="Ask through the provider's batch API: cheaper, and slower. May be stopped while it waits: what was submitted is "
        "collected by the next run.",
    ),
    click.option(
        "--poll",
        default=30.0,
        show_default=True,
        type=_PER_MINUTE,
        metavar="SECONDS",
        help="How often to look whether a batch is ready.",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Ask nobody and write nothing: say how many requests, tokens, dollars, hours and rows to expect.",
    ),
    click.option("--images", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Look for photos here first."),
    click.option(
        "--store-images",
        default="rows",
        show_default=True,
        type=click.Choice(list(STORE)),
        help="Photos in each row, once an image in the config `images` (table), or not at all.",
    ),
    click.option(
        "--split",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="SHARE",
        help="Share of images to hold out for the split test.  [default: 0.1; SVIT's own list for Visual Genome]",
    ),
    click.option("--shard-scenes", default=1000, show_default=True, type=click.IntRange(1), help="Images a shard."),
    click.option(
        "--executor",
        default="local",
        show_default=True,
        type=click.Choice(EXECUTORS),
        help="Where the work is done if it is split: processes here, a Ray cluster, Slurm, or Hugging Face Jobs.",
    ),
    click.option(
        "--executor-set",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of datatrove's executor, as in partition=cpu for slurm; may be given again.",
    ),
    click.option("--push-to", metavar="ORG/NAME", help="Push the finished dataset to the Hub."),
    click.option("--private/--public", default=None, help=PRIVATE),
    click.option(
        "--retry-failed",
        is_flag=True,
        help="Ask once more, up to --attempts times, for the samples that got no usable reply; every other row stays as it is.",
    ),
    click.option("--overwrite", is_flag=True, help="Delete an earlier dataset in --out first; replies that were paid for stay."),
)


def build_options(command: Callable[..., None] | None = None, *, kinds: Iterable[str] = ()) -> Callable[..., Any]:
    """Give a command the flags of every builder; it receives them as one `BuildOptions`, and its help says how it can end.

    Where there are `kinds` of tasks, `--tasks` takes their names too, and the command receives them as `tasks`.
    """
    if command is None:
        return functools.partial(build_options, kinds=kinds)
    kinds = tuple(kinds)

    @functools.wraps(command)
    def gathered(**values: Any) -> None:
        number, chosen = _sorted_out(values["tasks"], kinds)
        common = {field.name: values.pop(field.name) for field in fields(BuildOptions)}
        options = BuildOptions(**{**common, "tasks": number})
        look_over(options)
        command(options=options, **({"tasks": chosen} if kinds else {}), **values)

    gathered.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{ENDINGS}"
    for flag in reversed((*_FLAGS, _tasks_flag(kinds))):
        gathered = flag(gathered)
    return gathered


def _tasks_flag(kinds: tuple[str, ...]) -> Callable[..., Any]:
    split = "Split the work into N tasks, each a process of its own; the dataset is the same for any number."
    return click.option(
        "--tasks",
        multiple=True,
        type=Tasks(kinds),
        help=f"{split} Or, by their names, make only these; may be given once as each." if kinds else f"{split}  [default: 1]",
    )


def _sorted_out(given: tuple[int | tuple[str, ...], ...], kinds: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """The number of tasks and the names of tasks that `--tasks` said."""
    numbers = [one for one in given if isinstance(one, int)]
    named = [one for one in given if not isinstance(one, int)]
    if len(numbers) > 1 or len(named) > 1:
        raise click.UsageError(
            f"--tasks was given {len(given)} times: expected one number at most"
            f"{', and one list of names, as in --tasks conversation,referring_qa --tasks 4' if kinds else ''}."
        )
    return numbers[0] if numbers else 1, named[0] if named else kinds
