"""The flags that every builder and `comvint build` share, and the forms that some flags take.

This file reads a command line; what is done with it is `running`'s.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from comvint_hf.errors import InputError

EXECUTORS = ("local", "ray", "slurm", "jobs")
STORE = {"rows": True, "table": "table", "none": False}
ENDINGS = """\b
It ends with the code 0 when all is done; 1 when it had to stop, with one sentence that says why; 2 for wrong flags;
3 when the dataset is finished but some prompts got no usable reply: their samples are in the config `rejected` with
the reason, and are named on stderr, and --retry-failed asks for them again; 130 after Ctrl-C. Whatever happened, the
same command goes on where it was."""


@dataclass(frozen=True)
class BuildOptions:
    """What every builder's command line says."""

    scenes: str
    llm: str
    out: Path
    judge: str | None
    base_url: str | None
    limit: int | None
    seed: int
    budget: float | None
    prices: Path | None
    see: bool
    see_pixels: int | None
    temperature: float | None
    attempts: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    concurrency: int
    cache: Path | None
    batch: bool
    poll: float
    dry_run: bool
    images: Path | None
    store_images: str
    split: float | None
    shard_scenes: int
    push_to: str | None
    private: bool | None
    retry_failed: bool
    overwrite: bool
    executor: str = "local"
    executor_set: tuple[str, ...] = ()
    tasks: int = 1

    @property
    def in_one_process(self) -> bool:
        """Whether the command builds by itself, with no executor between."""
        return self.executor == "local" and self.tasks == 1

    @property
    def asks_models(self) -> bool:
        """Whether a language model is asked, and not the annotations alone."""
        return {self.llm, self.judge or self.llm} != {ANNOTATIONS}

    @property
    def replies(self) -> Path:
        """Where paid replies are kept."""
        return self.cache or self.out / ".build" / "replies.sqlite"

    @property
    def asking(self) -> dict[str, Any]:
        """What decides the replies besides the models and the prompts; what was left as it is, is left out."""
        given = {
            "see": self.see,
            "see_pixels": self.see_pixels if self.see else None,
            "temperature": self.temperature,
            "attempts": None if self.attempts == ATTEMPTS else self.attempts,
        }
        return {name: value for name, value in given.items() if value not in (None, False)}


ANNOTATIONS = "annotations"
ATTEMPTS = 3
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
        help="A file of prices (TOML: dollars per million tokens by model), read over the one in synthesis/engine/prices.toml.",
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
        _look_over(options)
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


@dataclass(frozen=True)
class _Need:
    """Flags that say nothing unless something else is so: what that is, and what to say where it is not.

    `harmless` ones only bound or place what does not happen, so a command that works with a model works without it too.
    """

    flags: tuple[str, ...]
    met: Callable[[BuildOptions], bool]
    said: str
    harmless: bool = False


_NO_MODEL = "no language model is asked"
_NAME_ONE = f"{_NO_MODEL}: name one with --llm MODEL"
_NEEDS = (
    _Need(("base_url", "batch", "temperature", "attempts"), lambda options: options.asks_models, _NAME_ONE),
    _Need(
        ("see", "see_pixels"), lambda options: options.llm != ANNOTATIONS, "the annotations write: name a model with --llm MODEL"
    ),
    _Need(("see_pixels",), lambda options: options.see, "no photo is shown: add --see"),
    _Need(("retry_failed",), lambda options: not options.overwrite, "--overwrite makes all anew: choose one of them"),
    _Need(("retry_failed",), lambda options: not options.dry_run, "--dry-run is of a whole build: choose one of them"),
    _Need(("budget", "prices", "cache", "concurrency"), lambda options: options.asks_models, _NO_MODEL, harmless=True),
    _Need(("requests_per_minute", "tokens_per_minute"), lambda options: options.asks_models, _NO_MODEL, harmless=True),
    _Need(("retry_failed",), lambda options: options.asks_models, _NO_MODEL, harmless=True),
    _Need(
        ("requests_per_minute", "tokens_per_minute"),
        lambda options: not options.batch,
        "a batch goes at the provider's pace",
        harmless=True,
    ),
    _Need(("poll",), lambda options: options.batch, "there is no --batch to look at", harmless=True),
    _Need(("private",), lambda options: options.push_to is not None, "there is no --push-to", harmless=True),
)


def _look_over(options: BuildOptions) -> None:
    """Refuse flags that were given and cannot have what they are for; say of harmless ones that they change nothing."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    for need in _NEEDS:
        named = [_as_flag(name, options) for name in need.flags if name in given]
        if not named or need.met(options):
            continue
        if not need.harmless:
            raise click.UsageError(f"{', '.join(named)} cannot be used, as {need.said}.")
        click.echo(f"{', '.join(named)} change{'s' * (len(named) == 1)} nothing, as {need.said}.", err=True)


def _as_flag(name: str, options: BuildOptions) -> str:
    return "--public" if name == "private" and options.private is False else f"--{name.replace('_', '-')}"


@contextmanager
def wrong_use() -> Iterator[None]:
    """Have what cannot be used of a command line end it as click's own refusals do, with the code 2."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(str(error)) from error


class Several(click.ParamType):
    """Names joined by commas, each one of a known set, as in `--formats open,bool`."""

    name = "several"

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(self.names) + "[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        chosen = value if isinstance(value, tuple) else tuple(name.strip() for name in value.split(",") if name.strip())
        unknown = [name for name in chosen if name not in self.names]
        if unknown or not chosen:
            self.fail(
                f"{', '.join(unknown) or 'nothing'} was given: expected some of {', '.join(self.names)}, joined by commas.",
                param,
                ctx,
            )
        return tuple(dict.fromkeys(chosen))


class Tasks(click.ParamType):
    """How many tasks, or which: a number, or names of `kinds` joined by commas."""

    name = "tasks"

    def __init__(self, kinds: tuple[str, ...] = ()) -> None:
        self.kinds = Several(kinds)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"N|{self.kinds.get_metavar(param, ctx)}" if self.kinds.names else "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[str, ...]:
        if not isinstance(value, str):
            return value
        if value.isdecimal() and int(value):
            return int(value)
        if self.kinds.names and not value.lstrip("-").replace(".", "").isdecimal():
            return self.kinds.convert(value, param, ctx)
        names = f", or some of {', '.join(self.kinds.names)}" if self.kinds.names else ""
        self.fail(f"{value!r} was given: expected a number from 1{names}.", param, ctx)


def limits(settings: tuple[str, ...]) -> dict[str, int]:
    """Read "name=number" settings. Raises `InputError` for any other form.

    >>> limits(("conversation=20000",))
    {'conversation': 20000}
    """
    read = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        if not name or not number.isdecimal():
            raise InputError(f"{setting!r} is not of the form NAME=NUMBER, as in conversation=20000.")
        read[name] = int(number)
    return read
