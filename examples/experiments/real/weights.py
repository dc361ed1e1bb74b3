"""Where the weights come from, and what serves them: a GGUF file, and llama.cpp's server in either of its forms."""

import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from comvint_hf.errors import InputError

SLOTS, CONTEXT = 2, 6144
"""Requests at once, and the tokens of each."""


def find_weights(given: Path | None, name: str, tools: Path, folder: Path) -> Path:
    """Return the GGUF file that was given, or fetch one by the tools. Raises `InputError` where there is neither."""
    if given is not None:
        if not given.is_file():
            raise InputError(f"REAL_GGUF names {given}, and there is no such file: expected a language model as GGUF.")
        return given
    path = folder / f"{name}.gguf"
    if path.is_file():
        return path
    if not (tools / "fetch").is_file():
        raise InputError(
            f"There are no weights: give a GGUF file (make real REAL_GGUF=FILE). {tools}/fetch, which gets one, is not here."
        )
    done = subprocess.run([sys.executable, str(tools / "fetch"), name, str(folder)], check=False)
    if done.returncode or not path.is_file():
        raise InputError(
            f"{tools}/fetch {name} got no weights (its words are above): give a GGUF file, make real REAL_GGUF=FILE."
        )
    return path


def make_serve_command(weights: Path, tools: Path) -> str:
    """The command for `--serve`: llama-server, or the same server in Python. Raises `InputError` where there is neither."""
    if shutil.which("llama-server"):
        size = ["--ctx-size", str(SLOTS * CONTEXT), "--parallel", str(SLOTS)]
        return shlex.join(["llama-server", "-m", str(weights), "--alias", weights.stem, "--port", "{port}", "--jinja", *size])
    if (tools / "serve_gguf").is_file() and find_spec("xllamacpp"):
        words = [sys.executable, str(tools / "serve_gguf"), str(weights), "{port}", str(CONTEXT), str(SLOTS), weights.stem]
        return shlex.join(words)
    raise InputError(
        "Nothing here serves a GGUF file: put llama.cpp's llama-server on the PATH (or pip install xllamacpp, with "
        f"{tools}/serve_gguf), or name a server of yours with make real REAL_SERVE=COMMAND."
    )
