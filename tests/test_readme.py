"""The README's Python examples run as they stand, one after the other, on a small dataset and an untrained tiny model."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with `build/comvint` and `build/demo/model`, as the commands above the examples leave them."""
    from comvint_hf import LLMs, build, load_scenes
    from comvint_hf.annotator import AnnotationLLM
    from comvint_hf.generation.recipes.comvint import comvint
    from comvint_hf.training.tiny_model import make_tiny

    folder = tmp_path_factory.mktemp("readme")
    build(load_scenes("shapes:30"), comvint(), LLMs.one(AnnotationLLM()), folder / "build/comvint", progress=False)
    make_tiny(folder / "build/demo/model", ["What colour is the circle? Answer with yes or no. It is red."])
    return folder


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS.findall(README.read_text()) if name == language]


def test_the_python_examples_run(workplace: Path) -> None:
    code = "\n".join(blocks("python"))
    assert "L2TCollator" in code and "load_dataset" in code and "load_chat" in code
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=workplace, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'role': 'user'" in done.stdout


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in README.read_text()


def test_every_script_and_target_that_is_named_exists() -> None:
    root = README.parent
    makefile = (root / "Makefile").read_text()
    for block in blocks("bash"):
        for script in re.findall(r"python (\S+\.py)", block):
            assert (root / script).is_file(), script
        for target in re.findall(r"\bmake (\w[\w-]*)", block):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_tree_of_the_house_is_true() -> None:
    import comvint_hf

    package = Path(comvint_hf.__file__).parent
    tree = next(text for text in blocks("text") if "comvint_hf/" in text)
    named = re.findall(r"^  (\w+(?:\.py|/))", tree, re.MULTILINE)
    assert len(named) > 8
    for name in named:
        assert (package / name).exists(), name
    for room, inside in re.findall(r"^  (\w+)/.*\n((?:    .*\n)+)", tree, re.MULTILINE):
        for name in re.findall(r"\w+\.py", inside):
            assert (package / room / name).exists(), f"{room}/{name}"
    for room in (path for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"):
        assert f"{room.name}/" in named, room.name
