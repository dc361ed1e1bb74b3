"""The flag `--serve` of commands that ask the model `--model` at the address `--base-url`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from comvint_hf.cli.exit_codes import usage_errors

LOG = Path("server.log")
"""Where the server's output goes, in the working directory."""


def serve_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--serve COMMAND`, which runs a server meanwhile; the command gets its address as `base_url`."""

    @click.option(
        "--serve",
        metavar="COMMAND",
        help='Start the endpoint of --model first, as in "vllm serve {model} --port {port}", and end it afterwards.',
    )
    @functools.wraps(command)
    def run(*arguments: Any, serve: str | None, **options: Any) -> Any:
        if serve is None:
            return command(*arguments, **options)
        from comvint_hf.generation.client.serve import ModelServer, parse_command

        with usage_errors():
            found = parse_command(serve, options.get("model") or "", options.get("base_url"))
        with ModelServer(found, LOG) as server:
            return command(*arguments, **{**options, "base_url": server.base_url})

    return run
