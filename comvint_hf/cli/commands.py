"""The command `comvint`: build, push, preview, stats. Each parses and calls one function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comvint_hf.cli.build import make_dataset
from comvint_hf.cli.exit_codes import calm, wrong_use
from comvint_hf.cli.options import PRIVATE, build_options
from comvint_hf.cli.output import look_at, show
from comvint_hf.cli.push import push_folder
from comvint_hf.errors import InputError
from comvint_hf.pipeline.options import BuildOptions

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe

RECIPES = ("svit", "comvint", "vlit")


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
    with wrong_use():
        made = open_recipe(recipe, settings)
    make_dataset(made, options)


def open_recipe(name: str, settings: tuple[str, ...] = ()) -> Recipe:
    """Make a recipe by its name; each setting is "name=value", lists with commas. Raises `InputError` for a wrong one."""
    import inspect
    from importlib import import_module

    maker = getattr(import_module(f"comvint_hf.generation.recipes.{name}"), name)
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
@click.option("--private/--public", default=None, help=PRIVATE)
@click.option("--base", metavar="ORG/NAME", help="Of a tuned model: its base on the Hub, if it was tuned from a folder.")
@calm
def push(folder: Path, repository: str, private: bool | None, base: str | None) -> None:
    """Push a dataset, or the folder of a tuned model, to the Hub in one commit: all of it arrives, or nothing changes.

    \b
      comvint push build/comvint ORG/NAME
      comvint push build/demo/model ORG/NAME      # draws its card anew, with the scores in results.json if that lies there
    """
    push_folder(folder, repository, private, base)


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rows", default=50, show_default=True, type=click.IntRange(1), help="How many rows of each folder.")
@click.option("--config", default="default", show_default=True, help="Which config, as in rejected.")
@click.option("--seed", default=0, show_default=True, help="Which rows.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with pictures instead of text.")
@calm
def preview(folders: tuple[Path, ...], rows: int, config: str, seed: int, out: Path | None) -> None:
    """Show some rows of each folder: as text here, or as a page with pictures and drawn boxes (--out FILE.html)."""
    from comvint_hf.dataset.preview import page, sample_rows, text

    with wrong_use():
        chosen = [row for folder in folders for row in sample_rows(folder, rows, config, seed)]
    if out is None:
        click.echo("\n".join(map(text, chosen)))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(chosen, ", ".join(folder.resolve().name for folder in folders)), encoding="utf-8")
    click.echo(f"{len(chosen)} rows: {out}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--pictures", type=click.Path(path_type=Path, file_okay=False), help="Draw them into this folder too.")
@click.option("--quality", is_flag=True, help="Measure balance and the diversity of instructions too (takes longer).")
@calm
def stats(folder: Path, pictures: Path | None, quality: bool) -> None:
    """Count what a dataset folder holds; say what looks wrong with it."""
    from comvint_hf.quality.measure import look, measure

    with wrong_use():
        found = look(folder, pictures)
    show(found.statistics)
    look_at(found.signs)
    for picture in found.pictures:
        click.echo(picture)
    if quality:
        for name, value in measure(folder).items():
            click.echo(f"{name}: {value}")
