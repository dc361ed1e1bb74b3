"""A recipe and a source of a user's own modules, in the working directory, through `comvint build` and its workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builders import wired
from comvint_hf.cli.commands import open_recipe
from comvint_hf.errors import InputError

pytestmark = pytest.mark.timeout(wired.PATIENCE)
MODULES = {
    "my_recipe.py": """
from comvint_hf import Recipe
from comvint_hf.registry import recipe


async def name_objects(sample, llms):
    names = ", ".join(thing.name for thing in sample.scene.objects)
    return [sample.write([("What is there?", f"There are {names}.")], task="conversation")]


MINE = Recipe("mine", (name_objects,), {}, citation="Me, My Recipe, 2025.", figures={"name": "My set"})


@recipe("often")
def often(times: int = 1, greeting: str = "Hi", share: float = 0.5, loud: bool = False, tasks: tuple[str, ...] = ()):
    settings = {"times": times, "greeting": greeting, "share": share, "loud": loud, "tasks": list(tasks)}
    return Recipe("often", (name_objects,) * times, settings)
""",
    "my_source.py": """
from pathlib import Path

from comvint_hf import Box, Object, Scene
from comvint_hf.registry import Licence, source


@source("my_source", licence=Licence("cc0-1.0", "Free for all.", True), citation="Me, My Corpus, 2025.")
def scenes(path: Path):
    for number, name in enumerate(path.read_text().split()):
        cup = Object(tag="o1", key="1", name=name, boxes=(Box(x1=0.1, y1=0.1, x2=0.5, y2=0.5),))
        yield Scene(id=f"my_source/{number}", source="my_source", image=None, width=40, height=30, objects=(cup,))
""",
    "names.txt": "cup dog tree house car bird",
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_recipe", "my_source"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def build(folder: Path, *flags: str, code: int = 0) -> str:
    command = [str(Path(sys.executable).parent / "comvint"), "build", "--recipe", "my_recipe:MINE", "--shard-scenes", "2", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_workers_build_what_one_process_does_and_the_card_cites_both(folder) -> None:
    pytest.importorskip("datatrove", reason="workers need datatrove: pip install '.[scale]'")
    build(folder, "--scenes", "my_source:names.txt", "--out", "one/set")
    build(folder, "--scenes", "my_source:names.txt", "--num-workers", "3", "--out", "many/set")
    assert wired.contents(folder / "one" / "set") == wired.contents(folder / "many" / "set")
    about = json.loads((folder / "one/set/build.json").read_text())
    assert about["rows"] == 6 and about["parts"][0]["figures"] == {"name": "My set"}
    assert about["parts"][0]["citations"] == ["Me, My Recipe, 2025.", "Me, My Corpus, 2025."]
    card = (folder / "one/set/README.md").read_text()
    assert "Me, My Recipe, 2025." in card and "Me, My Corpus, 2025." in card


def test_what_a_worker_cannot_import_is_a_sentence(folder, tmp_path) -> None:
    pytest.importorskip("dill", reason="workers need dill: pip install '.[scale]'")
    import dill

    from comvint_hf.pipeline.executor.pickled_call import PickledCall

    entry = open_recipe("my_recipe:MINE")
    (tmp_path / "call.pkl").write_bytes(dill.dumps(PickledCall(print, entry)))
    (tmp_path / "my_recipe.py").unlink()
    code = f"import dill; dill.load(open({str(tmp_path / 'call.pkl')!r}, 'rb'))()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert "InputError: A worker cannot import what the build needs (No module named 'my_recipe')" in done.stderr


def test_settings_fill_the_parameters_of_a_function(folder) -> None:
    settings = ("times=2", "greeting=Good day, you", "share=0.25", "loud=yes", "tasks=a,b")
    recipe = open_recipe("my_recipe:often", settings)
    assert recipe.settings == {"times": 2, "greeting": "Good day, you", "share": 0.25, "loud": True, "tasks": ["a", "b"]}
    assert len(recipe.stages) == 2 and open_recipe("often").settings["times"] == 1


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("my_recipe:MINE", ("times=2",), "--set times=2: expected none for my_recipe:MINE"),
        ("my_recipe:often", ("share=much",), "share is a number"),
        ("my_recipe:name_objects", (), "needs --set sample=... and --set llms=..."),
        ("my_recipe:MODULE", (), "The module my_recipe has no 'MODULE'"),
        ("my_source:Licence", ("name=x",), "is a Licence: expected a Recipe, or a function that returns one"),
        ("no_such_recipe", (), "No recipe is called 'no_such_recipe'"),
    ],
)
def test_what_is_no_recipe_is_refused_in_a_sentence(name, settings, said, folder) -> None:
    with pytest.raises(InputError) as raised:
        open_recipe(name, settings)
    assert said in str(raised.value)
