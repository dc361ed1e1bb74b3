"""The architecture is a test: who may import whom, and which heavy library has which door."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("comvint_hf").origin).parent
REPOSITORY = Path(__file__).parents[1]
GROUND = {
    "_deprecated",
    "errors",
    "registry",
    "formatting",
    "text",
    "answers",
    "images",
    "image_paths",
    "types",
    "box_formats",
    "image_geometry",
    "model_families",
    "grounding",
    "conventions",
    "strict_reader",
    "read_counts",
    "record_stream",
    "thoughts",
    "endpoint",
}
MAY_IMPORT = {
    "_deprecated": set(),
    "errors": set(),
    "registry": {"errors"},
    "formatting": set(),
    "text": set(),
    "answers": {"text", "thoughts"},
    "images": {"errors", "strict_reader", "image_paths", "read_counts"},
    "image_paths": {"strict_reader"},
    "types": {"errors", "images"},
    "box_formats": {"errors", "types"},
    "image_geometry": {"box_formats"},
    "model_families": set(),
    "grounding": {"errors", "types", "box_formats"},
    "conventions": {"errors", "box_formats", "images", "strict_reader"},
    "strict_reader": {"errors"},
    "read_counts": {"strict_reader"},
    "record_stream": {"errors", "strict_reader", "read_counts"},
    "thoughts": set(),
    "endpoint": {"errors", "strict_reader"},
    "sources": GROUND,
    "generation": GROUND,
    "annotator": GROUND | {"generation"},
    "dataset": GROUND,
    "quality": GROUND | {"dataset"},
    "hub": GROUND | {"dataset"},
    "pipeline": GROUND | {"sources", "generation", "annotator", "dataset", "quality", "hub"},
    "training": GROUND | {"dataset", "hub"},
    "evaluation": GROUND | {"dataset", "serving"},
    "serving": GROUND | {"dataset"},
    "cli": GROUND | {"sources", "generation", "dataset", "quality", "hub", "pipeline"},
    "__init__": GROUND | {"sources", "generation", "annotator", "dataset", "hub", "pipeline", "training", "serving"},
}
DATASET_DOORS = {"comvint_hf.dataset.schema", "comvint_hf.dataset.locate"}
DOORS = {
    "torch": {"training", "serving", "evaluation", "quality"},
    "transformers": {"model_families", "training", "serving", "evaluation", "quality"},
    "peft": {"training", "serving"},
    "trl": {"training"},
    "pyarrow": {"dataset", "hub", "quality", "record_stream"},
    "datasets": {"dataset", "hub", "quality", "training/data_loading", "sources/datasets_rows"},
    "huggingface_hub": {"dataset", "hub", "sources/datasets_rows"},
    "gradio": {"serving/demo"},
    "openai": {"endpoint", "generation/client", "serving/remote"},
    "datatrove": {"pipeline/executor"},
    "ray": {"pipeline/executor"},
    "matplotlib": {"dataset"},
    "PIL": {"images", "sources/shapes", "serving/demo", "dataset", "training", "evaluation"},
}
LONGEST_CHAIN = 10
LIGHT = ("torch", "transformers", "datasets", "openai", "gradio", "pydantic", "PIL")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    hidden = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} uses a relative import; write the whole name"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        if name.startswith("comvint_hf."):
            other = name.split(".")[1]
            assert other == here or other in MAY_IMPORT[here] or name == "comvint_hf.__version__", f"{here} may not import {name}"
            if here in {"training", "serving", "evaluation"} and other == "dataset":
                assert name == "comvint_hf.dataset" or name.startswith(tuple(DATASET_DOORS)), (
                    f"{here} goes through dataset's doors, not {name}"
                )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_have_named_doors(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").as_posix()
    for name in {name.split(".")[0] for name in imports(path)} & set(DOORS):
        assert any(here == door or here.startswith(f"{door}/") for door in DOORS[name]), f"{here} imports {name}"


def test_every_room_has_its_rule() -> None:
    assert {room(path) for path in modules()} <= set(MAY_IMPORT)


def test_import_chains_are_short_and_have_no_cycle() -> None:
    edges = {path: set() for path in modules()}
    by_name = {"comvint_hf." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in edges}
    by_name |= {name.removesuffix(".__init__"): path for name, path in by_name.items()}
    for path in edges:
        names = imports(path, top_level_only=True)
        edges[path] = {by_name[name] for name in names if name in by_name} - {path, PACKAGE / "__init__.py"}
    done: dict[Path, int] = {}

    def measure(path: Path, trail: tuple[Path, ...]) -> int:
        assert path not in trail, " -> ".join(p.stem for p in (*trail, path))
        if path not in done:
            done[path] = 1 + max((measure(other, (*trail, path)) for other in edges[path]), default=0)
        return done[path]

    for path in edges:
        assert measure(path, ()) <= LONGEST_CHAIN, path


def test_nothing_imports_a_script() -> None:
    scripts = {path.stem for folder in ("builders", "train", "space") for path in (REPOSITORY / folder).glob("*.py")}
    for path in modules():
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"builders", "train", "space"}, path
        assert not {root for root in roots & scripts if not importlib.util.find_spec(root)}, path


def test_importing_the_package_is_light_and_fast() -> None:
    code = (
        "import sys, time; start = time.process_time(); import comvint_hf; "
        f"print(time.process_time() - start, [name for name in {LIGHT} if name in sys.modules])"
    )
    seconds, heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split(" ", 1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 0.3


def test_the_tests_run_against_the_wheel_when_make_says_so() -> None:
    import os

    if not os.environ.get("COMVINT_WHEEL"):
        pytest.skip("run by hand on the checkout; make test runs on the wheel")
    assert "site-packages" in str(PACKAGE)
    for kind in ("*.jinja", "*.toml"):
        shipped = {path.relative_to(PACKAGE) for path in PACKAGE.rglob(kind)}
        assert (
            shipped == {path.relative_to(REPOSITORY / "comvint_hf") for path in (REPOSITORY / "comvint_hf").rglob(kind)} != set()
        )


def test_no_file_names_the_machine_or_hides_a_gap() -> None:
    for path in [*modules(), *(p for d in ("builders", "train", "space") for p in (REPOSITORY / d).glob("*.py"))]:
        text = path.read_text()
        assert "/work/" not in text and "/tmp/" not in text, path
        assert "TODO" not in text and "FIXME" not in text and "NotImplementedError" not in text, path
