"""Create or update a Gradio Space on the Hub: the page, this checkout's package as a wheel, and the model to serve."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from comvint_hf.cli import handle_errors
from comvint_hf.errors import InputError
from comvint_hf.hub.push import push_space

HERE = Path(__file__).resolve().parent
EPOCH = "315532800"
"""The start of 1980, the earliest time that a wheel can hold."""


@click.command(context_settings={"max_content_width": 110})
@click.argument("space", metavar="ORG/SPACE")
@click.option("--model", required=True, metavar="ORG/NAME", help="The adapter or model on the Hub that the Space serves.")
@click.option("--base", metavar="ORG/NAME", help="The adapter's base model, if it has moved.")
@click.option("--private/--public", default=None, help="Who can see a new Space.  [default: everybody, or as your account says]")
@handle_errors
def main(space: str, model: str, base: str | None, private: bool | None) -> None:
    """Upload the page of this checkout to the Hub in one commit. Run it again to update the Space.

    \b
      python space/deploy.py ORG/SPACE --model ORG/NAME
    """
    for name in filter(None, (model, base)):
        if Path(name).exists():
            raise click.UsageError(
                f"{name} is a local folder, which a Space cannot read: push it first (comvint push {name} ORG/NAME)."
            )
    variables = {"COMVINT_MODEL": model, **({"COMVINT_BASE": base} if base else {})}
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        files = {path.relative_to(HERE).as_posix(): path for path in HERE.rglob("*") if is_uploaded(path)}
        click.echo(f"Deployed: {push_space(space, {**files, wheel.name: wheel}, variables, private=private)}")


def is_uploaded(path: Path) -> bool:
    """Whether a file of this folder is part of the Space."""
    return path.is_file() and path.name != Path(__file__).name and "__pycache__" not in path.parts


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the checkout in a folder. An unchanged checkout gives the same bytes. Raises `InputError`."""
    checkout, copy = HERE.parent, folder / "checkout"
    if not (checkout / "pyproject.toml").exists():
        raise InputError(f"{checkout} has no pyproject.toml: run space/deploy.py from a clone of the repository.")
    # From a copy, because setuptools leaves build files in the folder it builds from.
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
