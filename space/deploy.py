"""Create or update a Gradio Space on the Hub: the page, this checkout's package as a wheel, and the model it serves."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from comvint_hf.cli import calm
from comvint_hf.errors import InputError
from comvint_hf.hub.push import push_space

HERE = Path(__file__).resolve().parent
EPOCH = "315532800"
"""1980, the first year that a wheel can name."""


@click.command(context_settings={"max_content_width": 110})
@click.argument("space", metavar="ORG/SPACE")
@click.option("--model", required=True, metavar="ORG/NAME", help="The adapter or model on the Hub that the Space serves.")
@click.option("--base", metavar="ORG/NAME", help="The adapter's base, if it is not where the adapter says.")
@click.option(
    "--private/--public", default=None, help="Who may see the Space, if it is new; everybody unless your account says so."
)
@calm
def main(space: str, model: str, base: str | None, private: bool | None) -> None:
    """Put the page of this checkout on the Hub, in one commit; run it again to bring the Space up to date.

    \b
      python space/deploy.py ORG/SPACE --model ORG/NAME
    """
    for place in filter(None, (model, base)):
        if Path(place).exists():
            raise click.UsageError(
                f"{place} is a folder here, where a Space cannot read it: push it first (comvint push {place} ORG/NAME)."
            )
    variables = {"COMVINT_MODEL": model, **({"COMVINT_BASE": base} if base else {})}
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        files = {path.relative_to(HERE).as_posix(): path for path in HERE.rglob("*") if is_page(path)}
        click.echo(f"Deployed: {push_space(space, {**files, wheel.name: wheel}, variables, private=private)}")


def is_page(path: Path) -> bool:
    """Whether a file of this folder belongs into the Space."""
    return path.is_file() and path.name != Path(__file__).name and "__pycache__" not in path.parts


def build_wheel(folder: Path) -> Path:
    """Build the checkout's wheel in a folder, from a copy; an unchanged checkout gives the same bytes.

    Raises `InputError` with pip's last word if that fails.
    """
    checkout, copy = HERE.parent, folder / "checkout"
    if not (checkout / "pyproject.toml").exists():
        raise InputError(f"{checkout} has no pyproject.toml: run space/deploy.py from a clone, which it makes the wheel of.")
    shutil.copytree(checkout / "comvint_hf", copy / "comvint_hf", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(checkout / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(copy)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"The wheel cannot be built ({done.stderr.strip().splitlines()[-1]}); is setuptools installed?")
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    main()
