"""The command `comvint`: build, check, push, preview, stats. Each subcommand parses its flags and calls one function."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comvint_hf import registry
from comvint_hf.cli.build import make_dataset
from comvint_hf.cli.exit_codes import handle_errors, usage_errors
from comvint_hf.cli.options import PRIVATE_HELP, BuildCommand, Command
from comvint_hf.cli.output import echo, print_statistics, print_warnings, push_folder
from comvint_hf.cli.prompts import prompts
from comvint_hf.errors import InputError, make_output_folder
from comvint_hf.pipeline.options import BuildOptions
from comvint_hf.sources import add_columns
from comvint_hf.strict_reader import clean_text

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe


@click.group(context_settings={"max_content_width": 110})
def main() -> None:
    """From annotated images to an instruction dataset on the Hub.

    \b
      comvint check coco:data/coco
      comvint prompts --recipe svit --scenes shapes:1
      comvint build --recipe svit --scenes shapes:100 --out build/shapes
      comvint stats build/shapes
      comvint preview build/shapes --out build/samples.html
      comvint push build/shapes ORG/NAME
    """


main.add_command(prompts)


@main.command(cls=BuildCommand)
@click.option(
    "--recipe",
    required=True,
    metavar="NAME|MODULE:NAME",
    help="How samples are made: svit, comvint, vlit, an installed recipe, or one of a Python module here.",
)
@click.option("--tasks", metavar="NAME[,...]", help="Make only samples of these tasks, as in conversation,referring_qa (svit).")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe, as in rounds=2; may be repeated."
)
@handle_errors
def build(options: BuildOptions, recipe: str, tasks: str | None, settings: tuple[str, ...]) -> None:
    """Build a dataset folder that `load_dataset` opens.

    \b
    Two tasks of SVIT from COCO's annotations, in four processes:
      comvint build --recipe svit --tasks conversation,referring_qa --scenes coco:DIR --num-workers 4 --out build/svit
    ComVint with two rounds, by a language model, for at most 5 dollars:
      comvint build --recipe comvint --set rounds=2 --scenes flickr30k:DIR --llm MODEL --base-url URL --budget 5 --out build/comvint
    A recipe of my_recipe.py and a source of my_source.py, both in this folder:
      comvint build --recipe my_recipe:MY_RECIPE --scenes my_source:DIR --out build/mine
    """
    with usage_errors():
        opened = open_recipe(recipe, [*settings, *([f"tasks={tasks}"] if tasks else [])])
    make_dataset(opened, options)


def open_recipe(name: str, settings: Iterable[str] = ()) -> Recipe:
    """Open a recipe of the registry.

    Args:
        name: A registered or installed name, a module that registers one recipe, or `module:attribute`.
        settings: "name=value" for parameters of the function that makes the recipe; lists are joined by commas.

    Raises:
        InputError: For an unknown name or setting, and for a value that does not fit.
    """
    entry = registry.recipes.get(name)
    parameters = inspect.signature(entry).parameters if callable(entry) else {}
    given: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in parameters:
            expected = f"NAME=VALUE, where the names of {name} are {', '.join(parameters)}" if parameters else f"none for {name}"
            raise InputError(f"--set {setting}: expected {expected}.")
        given[key] = _parse_setting(setting, value, parameters[key])
    missing = [key for key, value in parameters.items() if value.default is inspect.Parameter.empty and key not in given]
    if missing:
        raise InputError(f"--recipe {name} needs {' and '.join(f'--set {key}=...' for key in missing)}.")
    recipe = entry(**given) if callable(entry) else entry
    # Not isinstance: a class of the user's own with the same attributes is a recipe, as the tests' toy is.
    if not all(hasattr(recipe, attribute) for attribute in ("name", "prompts", "run")):
        raise InputError(f"--recipe {name} is a {type(recipe).__name__}: expected a Recipe, or a function that returns one.")
    return recipe


def _parse_setting(setting: str, value: str, parameter: inspect.Parameter) -> Any:
    """A setting's value in the type of the parameter's default or, where it has none, of its annotation."""
    default = parameter.default
    kind = str(parameter.annotation) if default in (None, inspect.Parameter.empty) else type(default).__name__
    if kind == "bool":
        return value.lower() in ("true", "yes", "1")
    if kind in ("int", "float"):
        try:
            return int(value) if kind == "int" else float(value)
        except ValueError as error:
            raise InputError(f"--set {setting}: {parameter.name} is a {'whole ' * (kind == 'int')}number.") from error
    return value if kind.startswith(("str", "Path")) else tuple(value.split(","))


@main.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("repository", metavar="ORG/NAME")
@click.option("--private/--public", default=None, help=PRIVATE_HELP)
@click.option("--base", metavar="ORG/NAME", help="The base on the Hub of a model that was tuned from a local folder.")
@click.option("--keep-card", is_flag=True, help="Publish a dataset's README.md as it is, although the build did not write it so.")
@handle_errors
def push(folder: Path, repository: str, private: bool | None, base: str | None, keep_card: bool) -> None:
    """Push a dataset, or the folder of a tuned model, to the Hub in one commit: all of it arrives, or nothing changes.

    \b
      comvint push build/comvint ORG/NAME
      comvint push build/demo/model ORG/NAME      # writes its card anew, with the scores of its results.json
    """
    push_folder(folder, repository, private, base, keep_card=keep_card)


@main.command(cls=Command)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rows", default=50, type=click.IntRange(1), help="Rows of each folder.")
@click.option("--config", default="default", help="The config to show, as in rejected.")
@click.option("--seed", default=0, help="Draws the rows.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with images instead of text.")
@handle_errors
def preview(folders: tuple[Path, ...], rows: int, config: str, seed: int, out: Path | None) -> None:
    """Show some rows of each folder: as text here, or as a page with images and drawn boxes (--out FILE.html).

    \b
      comvint preview build/svit --rows 5
      comvint preview build/svit build/comvint --out samples.html
    """
    from comvint_hf.dataset.preview import render_page, render_text, sample_rows
    from comvint_hf.dataset.shards import write_text_atomic

    with usage_errors():
        sample = [row for folder in folders for row in sample_rows(folder, rows, config, seed)]
    if out is None:
        click.echo(clean_text("\n".join(map(render_text, sample))))
        return
    make_output_folder(out.parent)
    write_text_atomic(out, render_page(sample, ", ".join(folder.resolve().name for folder in folders)))
    echo(f"{len(sample)} rows: {out}")


@main.command(cls=Command, old_flags={"--pictures": ("--plots", bool)})
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Draw plots into this folder too.")
@click.option("--verify", is_flag=True, help="Compare every file of rows with the hash that was stored when it was written.")
@click.option("--quality", is_flag=True, help="Run all quality measures that need no model (takes longer).")
@click.option(
    "--measure", "measures", multiple=True, metavar="NAME", help="Run one measure; MODULE:NAME for your own; repeatable."
)
@handle_errors
def stats(folder: Path, plots: Path | None, verify: bool, quality: bool, measures: tuple[str, ...]) -> None:
    """Count what a dataset folder holds, and warn of signs of a failed build.

    With --verify it ends with the exit code 1 and names every file that is missing or not as it was written.

    \b
      comvint stats build/svit --plots build/plots
      comvint stats build/svit --verify
      comvint stats build/svit --measure my_measures:mean_words
    """
    from comvint_hf.dataset.integrity import require_integrity
    from comvint_hf.quality.measure import describe_dataset, format_result, run_measures

    verified = require_integrity(folder) if verify else None
    with usage_errors():
        description = describe_dataset(folder, plots)
    print_statistics(description.statistics)
    print_warnings(description.warnings)
    for plot in description.plots:
        echo(plot)
    if verified is not None:
        echo(verified)
    with usage_errors():
        results = run_measures(folder, (*(registry.measures.names() if quality else ()), *measures))
    for name, result in results.items():
        echo(f"{name}: {format_result(result)}")


@main.command(cls=Command)
@click.argument("name", metavar="SOURCE|DATASET")
@click.option("--images", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Look for image files here first.")
@click.option(
    "--columns", multiple=True, metavar="ROLE=COLUMN", help="Where a dataset keeps a part of a scene; see comvint build."
)
@click.option("--limit", type=click.IntRange(1), help="Stop after this many images or rows.")
@click.option("--duplicates/--no-duplicates", default=True, help="Look for images that show the same picture.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@handle_errors(resume_hint="Nothing was written.")
def check(name: str, images: Path | None, columns: tuple[str, ...], limit: int | None, duplicates: bool, as_json: bool) -> None:
    """Read a source or a dataset from end to end, write nothing, and say what would be lost and why.

    Exit code 1 if anything would be lost.

    \b
      comvint check coco:data/coco
      comvint check hub:ORG/NAME --limit 1000
      comvint check llava_v1_5_mix665k.json --images data/llava --json
    """
    from comvint_hf.pipeline.check import check as run_check

    with usage_errors():
        spec = add_columns(name, columns)
    report = run_check(spec, images=images, limit=limit, duplicates=duplicates)
    echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False) if as_json else "\n".join(report.lines()))
    if not report.complete:
        sys.exit(1)


@main.command(cls=Command)
@click.argument("dataset")
@click.option(
    "--measure", "measures", multiple=True, metavar="NAME", help="Run these measures only; MODULE:NAME for your own; repeatable."
)
@click.option("--seed", default=0, help="Draws the questions of the blind probe.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@handle_errors(resume_hint="Nothing was written.")
def quality(dataset: str, measures: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Measure a dataset: what can be answered without the image, and the registered measures that need no model.

    DATASET is a folder, a LLaVA file or a Hub repository.

    \b
      comvint quality build/svit
      comvint quality llava_v1_5_mix665k.json --json
    """
    from comvint_hf.quality.blind_probe import blind_probe
    from comvint_hf.quality.measure import DatasetRows, format_result, run_measures

    with usage_errors():
        probed = blind_probe(DatasetRows(dataset), seed)
        results = run_measures(dataset, measures or None)
    if as_json:
        echo(json.dumps({"blind_probe": [result.to_json() for result in probed], **results}, indent=2, ensure_ascii=False))
        return
    echo("Answered without the image (95 % interval):" if probed else "Too few closed questions for the blind probe.")
    for result in probed:
        echo(f"  {result}")
    print_warnings(result.warning for result in probed if result.warning)
    for name, result in results.items():
        echo(f"{name}: {format_result(result)}")
