"""The scripts of docs/collator.md for other projects: each runs where only its own dependencies can be imported."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPTS = re.findall(r"```py\n(.*?)```", (ROOT / "docs/collator.md").read_text(), re.DOTALL)
NAMES = ("trl", "trainer", "loop")
FEW = """
import sys

class Only:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Only(finder) for finder in sys.meta_path]
"""
EACH = pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)


def brought_by(*requirements: str) -> set[str]:
    """The distributions that pip would install for these, of those that are installed here."""
    waiting, seen = [Requirement(text) for text in requirements], set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for extra in ("", *wanted.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                needs = map(Requirement, metadata.requires(name) or ())
            except metadata.PackageNotFoundError:
                continue
            waiting += [one for one in needs if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def collator_needs() -> list[str]:
    return [*project()["dependencies"], *project()["optional-dependencies"]["collator"]]


def blocked(script: str) -> list[str]:
    """What is installed here and would not be with `comvint-hf[collator]`, and trl where the script imports it."""
    there = brought_by(*collator_needs(), *(["trl"] if "import SFT" in script else []))
    names = metadata.packages_distributions().items()
    return sorted(name for name, owners in names if name != "comvint_hf" and not there & set(map(canonicalize_name, owners)))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with a tiny model under `build/demo/model`, which the scripts name."""
    from comvint_hf.training.tiny_model import make_tiny_model

    folder = tmp_path_factory.mktemp("guest")
    make_tiny_model(folder / "build/demo/model", ["Which colour? Use one word. Red"] * 3, pixels=32)
    return folder


def test_there_are_three_short_scripts() -> None:
    assert len(SCRIPTS) == len(NAMES)
    assert all(len([line for line in script.splitlines() if line.strip()]) <= 22 for script in SCRIPTS)


@EACH
@pytest.mark.timeout(1800)
def test_a_script_runs_where_only_what_it_asks_for_is_there(script, workplace) -> None:
    absent = blocked(script)
    assert {"gradio", "peft", "bitsandbytes", "openai"} <= set(absent) and not {"torch", "transformers"} & set(absent)
    assert ("datasets" in absent) == ("import SFT" not in script)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    code = f"BLOCKED = {set(absent)!r}\n{FEW}\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "loss" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_scripts_run_in_an_empty_environment_with_the_wheel(workplace, tmp_path) -> None:
    """A real one: the wheel is built and installed with pip, at the versions that were tried together."""
    python = tmp_path / "empty" / "bin" / "python"
    pins = ["-c", ROOT / "constraints.txt"]

    def do(*command: object) -> str:
        return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, cwd=workplace).stdout

    # Building leaves files beside the sources, so a copy is built.
    source = tmp_path / "source"
    shutil.copytree(ROOT / "comvint_hf", source / "comvint_hf")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    do(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheel", source)
    do(sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile", *pins]
    wheel = next((tmp_path / "wheel").glob("*.whl"))
    do(*install, f"{wheel}[collator]")
    for script in (*SCRIPTS[1:], SCRIPTS[0]):
        if script is SCRIPTS[0]:
            do(*install, "trl")
        assert "loss" in do(python, "-c", script)
