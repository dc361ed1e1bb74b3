"""The documentation: its examples run, everything it names exists, and it builds without a warning."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OTHER_FLAGS = {"--nproc_per_node", "--config_file", "--check", "--from", "--max-model-len", "--ctx-size", "--parallel"}
"""Flags of torchrun, accelerate, ruff, uvx, vLLM and llama.cpp."""
OTHER_NAMES = {"eval_loss", "nproc_per_node", "COMVINT_UPDATE_SCREENSHOTS"}
"""Names of transformers, torchrun and the tests."""
GROUPS = {f"comvint_hf.{kind}" for kind in ("sources", "recipes", "benchmarks", "measures")}
"""Groups of entry points, which are no modules."""
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:python|comvint|uv|uvx|torchrun|accelerate) ")
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for name, text in FENCE.findall(page.read_text()) if name in languages]


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text()))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with `build/comvint` and `build/demo/model`, as the commands of the README leave them."""
    from comvint_hf import AnnotationLLM, LLMs, build, comvint, load_scenes
    from comvint_hf.training.tiny_model import make_tiny_model

    folder = tmp_path_factory.mktemp("docs")
    build(load_scenes("shapes:30"), comvint(), LLMs.one(AnnotationLLM()), folder / "build/comvint", progress=False)
    make_tiny_model(folder / "build/demo/model", ["What colour is the circle? Answer with yes or no. It is red."])
    return folder


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_the_python_examples_of_a_page_run(page: Path, workplace: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=workplace, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]


@EACH_PAGE
def test_every_module_and_name_exists(page: Path) -> None:
    for path in set(re.findall(r"(?<![\w/.])comvint_hf(?:\.[A-Za-z_]\w*)+", page.read_text())):
        assert path in GROUPS or exists(path), path


def exists(path: str) -> bool:
    """Whether a dotted path is a module, or an attribute of one."""
    names = path.split(".")
    for count in range(len(names), 0, -1):
        try:
            found = importlib.import_module(".".join(names[:count]))
        except ModuleNotFoundError:
            continue
        for name in names[count:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.stem)
def test_every_identifier_occurs_in_the_code(page: Path) -> None:
    for text in inline_code(page):
        names = {
            *re.findall(r"\b[a-zA-Z]+_\w+", text),
            *re.findall(r"\b\w+(?=\()", text),
            *re.findall(r"\b[A-Z]\w+[a-z][A-Z]\w*", text),
        }
        unknown = (
            {name for name in names if "NAME" not in name and not name.startswith("my_")} - words_of_the_code() - OTHER_NAMES
        )
        assert not unknown, unknown


@cache
def words_of_the_code() -> set[str]:
    """The words of all code and settings that are not tests, and of the names of all files."""
    folders = [ROOT / name for name in ("comvint_hf", "builders", "train", "space", "examples", "tests")]
    paths = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".yaml", ".toml", ".jinja", ".ipynb"}
    ]
    texts = [path.read_text() for path in paths if not path.is_relative_to(ROOT / "tests") and path.name != "_deprecated.toml"]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return set(re.findall(r"\w+", "\n".join([*texts, *names, (ROOT / "Makefile").read_text()])))


@EACH_PAGE
def test_every_file_exists(page: Path) -> None:
    for text in [*inline_code(page), *" ".join(blocks(page, "bash", "text")).split()]:
        for path in re.findall(r"(?<!\S)((?:comvint_hf|builders|train|space|examples|docs|tests)/[\w./-]+)", text):
            assert "NAME" in path or (ROOT / path.rstrip(".,")).exists(), path


@EACH_PAGE
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in [*inline_code(page), *blocks(page, "bash", "text")]:
        assert set(re.findall(r"(?<![\w-])make (?:[A-Z]+=\S+ )*([a-z][\w-]*)", text)) <= targets, text


@EACH_PAGE
@pytest.mark.timeout(1800)
def test_every_flag_exists(page: Path) -> None:
    for command in commands(page):
        words = shlex.split(command.replace("|", " "), comments=True)
        name, flags = None, []
        for number, word in enumerate(words):
            if word.endswith(".py") and (ROOT / word).is_file():
                name = word
            elif word == "comvint" and name is None:
                name = f"comvint {words[number + 1]}"
            elif name and word.startswith("--"):
                flags.append(word.partition("=")[0])
        known = flags_of(name) if name else set()
        assert set(flags) <= known | OTHER_FLAGS, f"{command}: {sorted(set(flags) - known)}"
    for text in inline_code(page):
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]+", text):
            assert flag in all_flags() | OTHER_FLAGS, flag


def commands(page: Path) -> list[str]:
    """The command lines of a page; a line that ends with a backslash, or that begins with flags, belongs to the one before."""
    text = "\n".join(blocks(page, "bash", "text"))
    text = re.sub(r"\\\n\s*", " ", text)
    text = re.sub(r"[ ]*(?:#[^\n]*)?\n\s+(?=--)", " ", text)
    return [line.strip() for line in text.splitlines() if COMMAND.match(line.strip())]


@cache
def flags_of(name: str) -> set[str]:
    """The flags of a script, or of a command `comvint NAME`."""
    if name.startswith("comvint "):
        from comvint_hf.cli import main

        found = main.commands.get(name.split()[1])
        assert found is not None, name
        return {flag for param in found.params for flag in (*param.opts, *param.secondary_opts)} | set(
            getattr(found, "old_flags", ())
        )
    shown = subprocess.run([sys.executable, ROOT / name, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", shown))


@cache
def all_flags() -> set[str]:
    from comvint_hf.cli import main

    scripts = [
        path.relative_to(ROOT).as_posix() for room in ("builders", "train", "space") for path in (ROOT / room).glob("*.py")
    ]
    return set().union(*map(flags_of, [*scripts, *(f"comvint {name}" for name in main.commands)]))


def test_the_tree_of_packages_is_true() -> None:
    import comvint_hf

    package = Path(comvint_hf.__file__).parent
    tree = next(text for text in blocks(ROOT / "docs/architecture.md", "text") if text.startswith("comvint_hf/"))
    named, parent = set(), Path()
    for indent, name in re.findall(r"^( +)([\w.]+/?)", tree, re.MULTILINE):
        parent = package if len(indent) == 2 else parent
        assert (parent / name).exists(), name
        named.add((parent / name).relative_to(package).as_posix())
        if name.endswith("/"):
            parent = parent / name if len(indent) == 2 else parent
    tops = {path.name for path in package.iterdir() if path.suffix == ".py" or path.is_dir() and path.name != "__pycache__"}
    assert tops <= named, sorted(tops - named)


def test_the_front_door_lists_every_public_name() -> None:
    import comvint_hf

    listed = set(re.findall(r"`(\w+)`", (ROOT / "docs/reference/comvint_hf.md").read_text()))
    assert listed >= set(comvint_hf.__all__)


def test_versions_agree() -> None:
    import tomllib

    import comvint_hf

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert comvint_hf.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_and_the_pre_commit_settings_can_be_read() -> None:
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local" and {hook["language"] for hook in repository["hooks"]} == {"system"}


@pytest.mark.timeout(1800)
def test_the_documentation_builds_without_a_warning(tmp_path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    assert "L2TCollator" in (tmp_path / "site" / "reference" / "training.html").read_text()
