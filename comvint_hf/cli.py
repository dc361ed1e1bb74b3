"""The command `comvint`, and the flags that it shares with the scripts in builders/.

Everything here parses, calls one function of the library and says how it went; nothing here decides.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comvint_hf.errors import ComvintError, InputError

if TYPE_CHECKING:
    from comvint_hf.conductor import BuildReport
    from comvint_hf.synthesis.recipes import Recipe

STORE = {"rows": True, "table": "table", "none": False}
RECIPES = ("svit", "comvint", "vlit")


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
    see: bool
    temperature: float | None
    requests_per_minute: float | None
    tokens_per_minute: float | None
    prices: Path | None
    cache: Path | None
    batch: bool
    poll: float
    dry_run: bool
    concurrency: int
    images: Path | None
    store_images: str
    split: float | None
    shard_scenes: int
    push_to: str | None
    private: bool
    overwrite: bool


_FLAGS = (
    click.option(
        "--scenes", required=True, metavar="SOURCE:PATH", help="shapes:500, coco:DIR, visual_genome:DIR or flickr30k:DIR."
    ),
    click.option(
        "--llm",
        default="annotations",
        show_default=True,
        metavar="annotations|MODEL",
        help="Who writes: the annotations themselves (offline, no key), or a model of an OpenAI-compatible endpoint.",
    ),
    click.option("--judge", metavar="MODEL", help="Who checks; the writer unless given."),
    click.option("--base-url", metavar="URL", help="The endpoint's address; the key is read from OPENAI_API_KEY."),
    click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The dataset's folder."),
    click.option("--limit", type=click.IntRange(1), help="Stop after so many images."),
    click.option("--seed", default=0, show_default=True, help="Draws wordings and rendered scenes."),
    click.option("--budget", type=click.FloatRange(0), metavar="USD", help="Stop before the endpoint has cost more than this."),
    click.option("--see", is_flag=True, help="Show the writer the photo too, not only its annotations."),
    click.option("--temperature", type=click.FloatRange(0), help="The writer's and judge's temperature; theirs unless given."),
    click.option("--requests-per-minute", type=click.FloatRange(0, min_open=True), help="Ask no faster than this."),
    click.option("--tokens-per-minute", type=click.FloatRange(0, min_open=True), help="Ask for no more tokens than this."),
    click.option(
        "--prices", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file of prices, for --budget."
    ),
    click.option(
        "--cache", type=click.Path(path_type=Path, dir_okay=False), help="Where paid replies are kept.  [default: in --out]"
    ),
    click.option("--batch", is_flag=True, help="Ask through the provider's batch API: cheaper, and slower."),
    click.option(
        "--poll",
        default=30.0,
        show_default=True,
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="How often to look whether a batch is ready.",
    ),
    click.option("--dry-run", is_flag=True, help="Ask nobody and write nothing: say how many requests and rows to expect."),
    click.option("--concurrency", default=64, show_default=True, type=click.IntRange(1), help="Images under way at once."),
    click.option(
        "--images",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Look for photos here first.",
    ),
    click.option(
        "--store-images",
        default="rows",
        show_default=True,
        type=click.Choice(list(STORE)),
        help="Photos in each row, once an image in the config `images`, or not at all.",
    ),
    click.option(
        "--split",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="SHARE",
        help="Share of images to hold out for the split test.  [default: 0.1; SVIT's own list for Visual Genome]",
    ),
    click.option("--shard-scenes", default=1000, show_default=True, type=click.IntRange(1), help="Images a shard."),
    click.option("--push-to", metavar="ORG/NAME", help="Push the finished dataset to the Hub."),
    click.option("--private", is_flag=True, help="Make the Hub repository private if it is new."),
    click.option("--overwrite", is_flag=True, help="Delete an earlier dataset in --out first."),
)


def build_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of every builder; it receives them as one `BuildOptions`."""

    @functools.wraps(command)
    def gathered(**values: Any) -> None:
        common = {field.name: values.pop(field.name) for field in fields(BuildOptions)}
        command(options=BuildOptions(**common), **values)

    for flag in reversed(_FLAGS):
        gathered = flag(gathered)
    return gathered


def calm(command: Callable[..., None]) -> Callable[..., None]:
    """Say what went wrong in one sentence, and that a stopped run can go on."""

    @functools.wraps(command)
    def guarded(*arguments: Any, **values: Any) -> None:
        try:
            command(*arguments, **values)
        except ComvintError as error:
            click.echo(f"{error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. Run the same command again to go on where it was.", err=True)
            sys.exit(130)

    return guarded


def make_dataset(recipe: Recipe, options: BuildOptions) -> None:
    """Open the scenes and the language models, build, show what came out, and push if asked to."""
    import asyncio

    from comvint_hf.conductor import rehearse
    from comvint_hf.sources import load_scenes
    from comvint_hf.synthesis.engine import endpoints

    scenes = load_scenes(options.scenes, seed=options.seed, limit=options.limit, images=options.images)
    if options.push_to and options.store_images != "none":
        refuse_unshareable(scenes.name, scenes.licence.images_may_be_shared)
    if options.dry_run:
        rehearsal = endpoints.rehearse(
            options.llm, options.judge, see=options.see, batch=options.batch, prices=options.prices, seed=options.seed
        )
        click.echo(asyncio.run(rehearse(scenes, recipe, rehearsal, concurrency=options.concurrency)))
        return
    llms = endpoints.open_llms(
        options.llm,
        options.judge,
        base_url=options.base_url,
        cache=options.cache or options.out / ".build" / "replies.sqlite",
        concurrency=options.concurrency,
        budget=options.budget,
        see=options.see,
        temperature=options.temperature,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
        prices=options.prices,
        batch=options.batch,
        poll=options.poll,
        seed=options.seed,
    )
    report = asyncio.run(_build(scenes, recipe, llms, options))
    show(report.statistics)
    click.echo(report)
    if options.llm != endpoints.ANNOTATIONS:
        click.echo(llms.usage.line())
    if options.push_to:
        push_folder(options.out, options.push_to, options.private)


async def _build(scenes: Any, recipe: Recipe, llms: Any, options: BuildOptions) -> BuildReport:
    """Build at once, or in rounds while batches bring replies; connections are closed however it ends."""
    from comvint_hf.conductor import build_async
    from comvint_hf.errors import PendingError
    from comvint_hf.synthesis.engine.batch import in_batches

    asking = {"see": options.see, "temperature": options.temperature}
    work = functools.partial(
        build_async,
        scenes,
        recipe,
        llms,
        options.out,
        limit=options.limit,
        seed=options.seed,
        shard_scenes=options.shard_scenes,
        images=STORE[options.store_images],
        concurrency=options.concurrency,
        split=options.split,
        asking={name: value for name, value in asking.items() if value},
    )

    overwrite = [options.overwrite]  # only the first round starts afresh

    async def one_round() -> BuildReport:
        return await work(overwrite=overwrite.pop() if overwrite else False)

    async def round_of_batches() -> None:
        with contextlib.suppress(PendingError):
            await one_round()

    try:
        if llms.batches:
            await in_batches(round_of_batches, llms.batches, told=click.echo)
        return await one_round()
    finally:
        await llms.close()


def refuse_unshareable(source: str, may_be_shared: bool) -> None:
    """Raise `InputError` where photos may not be re-hosted, before any work is done."""
    if not may_be_shared:
        raise InputError(f"The photos of {source} may not be re-hosted: add --store-images none, or leave out --push-to.")


def show(statistics: Any) -> None:
    """Print the statistics as a table, and what was rejected."""
    from rich.console import Console
    from rich.table import Table

    from comvint_hf.data.report import table

    console = Console(width=None if sys.stdout.isatty() else 160)
    header, *lines = (line if console.width >= 120 else line[:-1] for line in table(statistics))
    drawn = Table(*header, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for line in lines:
        drawn.add_row(*line)
    console.print(drawn)
    for reason, count in statistics.rejected.most_common():
        console.print(f"rejected {count:,}: {reason}", highlight=False)
    for note, count in sorted(statistics.notes.items()):
        console.print(f"{note}: {count:,}", highlight=False)


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


def push_folder(folder: Path, repository: str, private: bool) -> None:
    """Push a dataset folder and say where it is."""
    from comvint_hf.data.hub import push

    click.echo(f"Pushed: {push(folder, repository, private=private)}")


@click.group(context_settings={"max_content_width": 110})
def main() -> None:
    """From annotated images to an instruction dataset on the Hub.

    \b
      comvint build --recipe svit --scenes shapes:100 --out build/shapes
      comvint stats build/shapes
      comvint preview build/shapes --out build/samples.html
      comvint push build/shapes ORG/NAME
    """


@main.command()
@build_options
@click.option("--recipe", required=True, type=click.Choice(RECIPES), help="How samples are made.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe, as in --set rounds=2.")
@calm
def build(options: BuildOptions, recipe: str, settings: tuple[str, ...]) -> None:
    """Build a dataset folder that `load_dataset` opens.

    \b
      comvint build --recipe comvint --set rounds=2 --set formats=open,bool --scenes flickr30k:DIR --out build/comvint
    """
    make_dataset(open_recipe(recipe, settings), options)


def open_recipe(name: str, settings: tuple[str, ...] = ()) -> Recipe:
    """Make a recipe by its name; each setting is "name=value", lists with commas. Raises `InputError` for a wrong one."""
    import inspect

    from comvint_hf.synthesis import recipes

    maker = getattr(recipes, name)
    known = inspect.signature(maker).parameters
    given: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in known:
            raise InputError(f"--set {setting}: expected NAME=VALUE, where the names of {name} are {', '.join(known)}.")
        counts = isinstance(known[key].default, int)
        if counts and not value.isdecimal():
            raise InputError(f"--set {setting}: {key} is a whole number.")
        given[key] = int(value) if counts else tuple(value.split(","))
    return maker(**given)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("repository", metavar="ORG/NAME")
@click.option("--private", is_flag=True, help="Make the repository private if it is new.")
@calm
def push(folder: Path, repository: str, private: bool) -> None:
    """Push a dataset folder to the Hub in one commit: all of it arrives, or nothing changes."""
    push_folder(folder, repository, private)


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rows", default=50, show_default=True, type=click.IntRange(1), help="How many rows of each folder.")
@click.option("--config", default="default", show_default=True, help="Which config, as in rejected.")
@click.option("--seed", default=0, show_default=True, help="Which rows.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with pictures instead of text.")
@calm
def preview(folders: tuple[Path, ...], rows: int, config: str, seed: int, out: Path | None) -> None:
    """Show some rows of each folder: as text here, or as a page with pictures and drawn boxes (--out FILE.html)."""
    from comvint_hf.data.preview import page, sample_rows, text

    chosen = [row for folder in folders for row in sample_rows(folder, rows, config, seed)]
    if out is None:
        click.echo("\n".join(map(text, chosen)))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(chosen, ", ".join(folder.resolve().name for folder in folders)), encoding="utf-8")
    click.echo(f"{len(chosen)} rows: {out}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--quality", is_flag=True, help="Measure balance and the diversity of instructions too (takes longer).")
@calm
def stats(folder: Path, quality: bool) -> None:
    """Count what a dataset folder holds."""
    from comvint_hf.data.folder import read_statistics
    from comvint_hf.data.measure import measure

    show(read_statistics(folder))
    if quality:
        for name, value in measure(folder).items():
            click.echo(f"{name}: {value}")


if __name__ == "__main__":
    main()
