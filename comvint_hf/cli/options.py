"""The flags of a build and their help, and the commands that read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import click

from comvint_hf.cli.exit_codes import EXIT_CODES_HELP, usage_errors
from comvint_hf.cli.validation import check_flags
from comvint_hf.errors import InputError
from comvint_hf.generation.client.settings import (
    DEFAULT_MAX_TOKENS,
    MAX_PIXELS,
    LLMSettings,
    parse_extra_body,
    parse_header,
)
from comvint_hf.pipeline.executor.config import EXECUTORS
from comvint_hf.pipeline.options import ANNOTATIONS, IMAGE_STORAGE, BuildOptions
from comvint_hf.sources import add_columns


class NameList(click.ParamType):
    """Names joined by commas, each one of a known set, as in `--formats open,bool`."""

    name = "names"

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(self.names) + "[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        chosen = value if isinstance(value, tuple) else tuple(name.strip() for name in value.split(",") if name.strip())
        unknown = [name for name in chosen if name not in self.names]
        if unknown or not chosen:
            given = ", ".join(unknown) or "nothing"
            self.fail(f"{given} was given: expected some of {', '.join(self.names)}, joined by commas.", param, ctx)
        return tuple(dict.fromkeys(chosen))


def parse_limits(settings: Iterable[str]) -> dict[str, int]:
    """Parse "name=number" settings. Raises `InputError` for any other form.

    >>> parse_limits(["conversation=20000"])
    {'conversation': 20000}
    """
    limits = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        if not name or not number.isdecimal():
            raise InputError(f"{setting!r} is not of the form NAME=NUMBER, as in conversation=20000.")
        limits[name] = int(number)
    return limits


class Command(click.Command):
    """A command whose help groups its flags under titles, and which accepts old flags with a warning on stderr.

    Args:
        groups: The titles of --help with their flags, which are added to those of the command itself.
        title: The title of the command's own flags; it may be one of `groups`.
        old_flags: The new flag for each old one, and for which values it stands.
    """

    def __init__(
        self,
        *arguments: Any,
        groups: Mapping[str, Sequence[click.Option]] | None = None,
        title: str = "Options",
        old_flags: Mapping[str, tuple[str, Callable[[str], bool]]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **{"context_settings": {"max_content_width": 110, "show_default": True}, **settings})
        self.groups, self.title, self.old_flags = groups or {}, title, old_flags or {}
        self.params += chain.from_iterable(self.groups.values())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Replace old flags, then parse."""
        # Done on the words of the command line: --tasks is an old flag or a new one, which only its value tells.
        for place, (argument, following) in enumerate(zip(args, [*args[1:], ""], strict=True)):
            flag, equals, value = argument.partition("=")
            new, stands_for = self.old_flags.get(flag, ("", bool))
            if new and stands_for(value if equals else following):
                click.echo(f"{flag} is now called {new}; the old name goes with the next version.", err=True)
                args[place] = f"{new}{equals}{value}"
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags, a section for each group."""
        # click adds --help by itself, so it is in no group and not among the command's own flags.
        titles = {option.name: title for title, options in self.groups.items() for option in options}
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in (*list(self.groups)[:1], self.title, *self.groups)}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                title = "Other" if self.groups and param not in self.params else titles.get(param.name, self.title)
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class FiniteRange(click.FloatRange):
    """A range of finite numbers: NaN and infinity are in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


PRIVATE_HELP = (
    "Who may see the Hub repository, if it is new.  "
    "[default: private if a source's images may not be shared, else your account's]"
)
_POSITIVE = FiniteRange(0, min_open=True)
_FOLDER, _FILE = (click.Path(path_type=Path, exists=True, file_okay=folder, dir_okay=not folder) for folder in (False, True))


def _read_extra_body(context: click.Context, param: click.Parameter, text: str | None) -> dict[str, Any]:
    try:
        return parse_extra_body(text) if text else {}
    except InputError as error:
        raise click.BadParameter(str(error), context, param) from error


def _read_headers(context: click.Context, param: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    try:
        return dict(map(parse_header, texts))
    except InputError as error:
        raise click.BadParameter(str(error), context, param) from error


def _flag(name: str, help: str, **settings: Any) -> click.Option:
    return click.Option([name], help=help, **settings)


BUILD_FLAGS: dict[str, tuple[click.Option, ...]] = {
    "Input": (
        _flag(
            "--scenes",
            "shapes:500, coco:DIR, visual_genome:DIR, flickr30k:DIR, hub:ORG/NAME, dataset:DIR, imagefolder:DIR, voc:DIR, yolo:DIR, "
            "or MODULE:PATH for a source of your own.",
            required=True,
            metavar="SOURCE:PATH",
        ),
        _flag(
            "--columns",
            "Where a dataset of hub:, dataset: or imagefolder: keeps a part of a scene, as in objects.bbox=annotations.box or "
            "caption=text; may be repeated. By default columns are found by name and form.",
            multiple=True,
            metavar="ROLE=COLUMN",
        ),
        _flag("--images", "Look for image files here first.", type=_FOLDER),
        _flag("--limit", "Stop after this many images.", type=click.IntRange(1)),
        _flag("--seed", "Draws wordings and rendered scenes.", default=0),
    ),
    "Language models": (
        _flag(
            "--llm",
            "The writer: the annotations themselves (offline, no key), or a model of an OpenAI-compatible endpoint.",
            default=ANNOTATIONS,
            metavar="annotations|MODEL",
        ),
        _flag("--judge", "The judge of what the writer wrote (ComVint); by default the writer.", metavar="annotations|MODEL"),
        _flag(
            "--base-url",
            "The endpoint's address; by default OPENAI_BASE_URL, else OpenAI. The key is read from the environment: "
            "OPENAI_API_KEY, HF_TOKEN for huggingface.co, AZURE_OPENAI_API_KEY for Azure. Your own server needs none.",
            metavar="URL",
        ),
        _flag(
            "--temperature",
            "The sampling temperature; by default the model's own. A model that takes none is asked without.",
            type=FiniteRange(0),
        ),
        _flag(
            "--max-tokens",
            "Most tokens of a reply, thoughts included; lowered where the endpoint takes fewer. By default the model's own bound, "
            f"with --budget {DEFAULT_MAX_TOKENS} or what the context leaves.",
            type=click.IntRange(1),
            metavar="N",
        ),
        _flag(
            "--timeout",
            "Seconds of silence after which a request has failed; it is then asked again in a stream, where each part counts.",
            default=LLMSettings.timeout,
            type=_POSITIVE,
            metavar="SECONDS",
        ),
        _flag(
            "--extra-body", 'Further fields of every request, as in {"top_p": 0.9}.', callback=_read_extra_body, metavar="JSON"
        ),
        _flag(
            "--header",
            "A further HTTP header of every request; may be repeated. Its value is in no message and no log.",
            multiple=True,
            callback=_read_headers,
            metavar="NAME=VALUE",
        ),
        _flag(
            "--attempts",
            "Ask a prompt this often, each time with what did not fit, before its sample is rejected.",
            default=LLMSettings.attempts,
            type=click.IntRange(1),
        ),
        _flag(
            "--see",
            "Show writer and judge the image too. What they see may be used beyond the annotations, of which an image then needs none.",
            is_flag=True,
        ),
        _flag(
            "--see-pixels",
            f"Shrink an image to at most N pixels before it is shown.  [default: {MAX_PIXELS}, as 1024x1024]",
            type=click.IntRange(1),
            metavar="N",
        ),
        _flag(
            "--serve",
            'Start a server of your own for the run, as in "vllm serve {model} --port {port}": {port} becomes a free port and '
            "{model} the name of --llm. It is restarted when it dies and ended with the run.",
            metavar="COMMAND",
        ),
        _flag(
            "--serve-timeout",
            "Wait so long until the server has loaded its model.",
            default=BuildOptions.serve_timeout,
            type=_POSITIVE,
            metavar="SECONDS",
        ),
    ),
    "Cost and speed": (
        _flag("--dry-run", "Ask no model and write nothing: estimate requests, tokens, dollars, hours and rows.", is_flag=True),
        _flag(
            "--pilot",
            "Ask about N random scenes only, and project from their real replies what all will cost. The replies are kept.",
            type=click.IntRange(1),
            metavar="N",
        ),
        _flag("--yes", "Build after the --pilot, whatever it projects; without it the command stops there.", is_flag=True),
        _flag(
            "--judge-pass-rate",
            "With --dry-run or --pilot: the share of rewrites that the judge is taken to pass (ComVint).",
            default=BuildOptions.judge_pass_rate,
            type=FiniteRange(0, 1),
            metavar="SHARE",
        ),
        _flag(
            "--budget",
            "Stop before --cache has paid more than this, in all runs together. Requests in flight and replies that did not fit "
            "count too.",
            type=FiniteRange(0),
            metavar="USD",
        ),
        _flag(
            "--prices",
            "A file of prices (TOML: dollars per million tokens by model), read over generation/client/prices.toml.",
            type=_FILE,
        ),
        _flag(
            "--cache",
            "The file of paid replies; builds may share one.  [default: OUT/.build/replies.sqlite]",
            type=click.Path(path_type=Path, dir_okay=False),
        ),
        _flag(
            "--concurrency",
            "Most requests in flight to one model; it sends fewer while the endpoint refuses more.",
            default=64,
            type=click.IntRange(1),
        ),
        _flag("--requests-per-minute", "Send each model at most N requests a minute.", type=_POSITIVE, metavar="N"),
        _flag("--tokens-per-minute", "Send and receive at most N tokens a minute of each model.", type=_POSITIVE, metavar="N"),
        _flag(
            "--batch",
            "Ask through the provider's batch API: cheaper and slower. You may stop it while it waits; the next run collects "
            "what was submitted.",
            is_flag=True,
        ),
        _flag("--poll", "Time between two checks of a batch.", default=LLMSettings.poll, type=_POSITIVE, metavar="SECONDS"),
    ),
    "Output": (
        _flag("--out", "The dataset folder.", required=True, type=click.Path(path_type=Path, file_okay=False)),
        _flag(
            "--store-images",
            "Store images in each row, there with the regions drawn that its first question points at (marked), once for each "
            "image in the config `images` (table), or not at all.",
            default="rows",
            type=click.Choice(list(IMAGE_STORAGE)),
        ),
        _flag(
            "--split",
            "Share of images to hold out as the split `test`.  [default: 0.1; SVIT's own list for Visual Genome]",
            type=FiniteRange(0, 1, max_open=True),
            metavar="SHARE",
        ),
        _flag("--shard-scenes", "Images in a shard.", default=1000, type=click.IntRange(1)),
        _flag(
            "--retry-failed",
            "Ask once more, up to --attempts times, for the samples that got no usable reply. Every other row stays.",
            is_flag=True,
        ),
        _flag(
            "--overwrite",
            "Replace an earlier dataset in --out, once the new one is finished; paid replies are kept.",
            is_flag=True,
        ),
        _flag("--push-to", "Push the finished dataset to the Hub.", metavar="ORG/NAME"),
        _flag("--private/--public", PRIVATE_HELP, default=None),
    ),
    "Workers": (
        _flag(
            "--num-workers",
            "Build in N processes; the dataset is the same for any number.",
            default=1,
            type=click.IntRange(1),
            metavar="N",
        ),
        _flag(
            "--executor",
            "Run the workers as processes here, on a Ray cluster, on Slurm, or as Hugging Face Jobs.",
            default="local",
            type=click.Choice(list(EXECUTORS)),
        ),
        _flag(
            "--executor-set",
            "A setting of datatrove's executor, as in partition=cpu for slurm; may be repeated.",
            multiple=True,
            metavar="NAME=VALUE",
        ),
    ),
}


class BuildCommand(Command):
    """A command with the flags of a build, which it receives as one `options: BuildOptions`."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        numbers: dict[str, tuple[str, Callable[[str], bool]]] = {
            "--tasks": ("--num-workers", lambda value: value.lstrip("-").isdecimal())
        }
        settings = {"groups": BUILD_FLAGS, "title": "Recipe", "old_flags": numbers, "epilog": EXIT_CODES_HELP, **settings}
        super().__init__(*arguments, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Put the values of the build's flags into one `BuildOptions`, check them, and call the command."""
        values = ctx.params
        with usage_errors():
            values["scenes"] = add_columns(values["scenes"], values["columns"])
        known = {"headers": values["header"], **values}
        settings = LLMSettings(**{field.name: known[field.name] for field in fields(LLMSettings) if field.name in known})
        build = {field.name: values[field.name] for field in fields(BuildOptions) if field.name in values}
        options = BuildOptions(**build, llm_settings=settings)
        check_flags(options, ctx)
        # The recipe's own flags stay as they are; the build's flags have all become `options`.
        own = {name: value for name, value in values.items() if name not in {flag.name for flag in chain(*BUILD_FLAGS.values())}}
        ctx.params = {"options": options, **own}
        return super().invoke(ctx)


def remote_chat_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of a chat at an endpoint: `temperature`, `timeout`, `extra_body` and `headers`."""
    options = (
        click.option(
            "--temperature", default=0.0, type=FiniteRange(0), help="With --base-url: the sampling temperature; 0 is greedy."
        ),
        click.option(
            "--timeout",
            type=_POSITIVE,
            metavar="SECONDS",
            help="With --base-url: the longest silence of an answer.  [default: 120]",
        ),
        click.option(
            "--extra-body", callback=_read_extra_body, metavar="JSON", help="With --base-url: further fields of every request."
        ),
        click.option(
            "--header",
            "headers",
            multiple=True,
            callback=_read_headers,
            metavar="NAME=VALUE",
            help="With --base-url: a further HTTP header; its value is in no message and no log.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def tasks_option(tasks: Iterable[str]) -> Callable[[Any], Any]:
    """Give a command `--tasks`, which chooses some of the tasks that its recipe makes; all of them by default."""
    known = tuple(tasks)
    return click.option(
        "--tasks",
        multiple=True,
        type=NameList(known),
        # Given twice, the lists are joined: the last one alone would silently drop tasks that were asked for.
        callback=lambda _, __, given: tuple(dict.fromkeys(chain(*given))) or known,
        help="Make only samples of these tasks; all by default.",
    )
