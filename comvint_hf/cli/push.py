"""Push a folder and say where it is."""

from __future__ import annotations

from pathlib import Path

import click


def push_folder(folder: Path, repository: str, private: bool | None, base: str | None = None) -> None:
    """Push the folder of a dataset or of a tuned model, and say where it is and how its version is called."""
    from comvint_hf.hub import push

    if push.is_model(folder):
        click.echo(f"Pushed: {push.push_model(folder, repository, private=private, base=base)}")
        return
    click.echo(f"Pushed: {push.push(folder, repository, private=private)}")
    click.echo(f'This version: load_dataset("{repository}", revision="{push.version_of(folder)}")')
