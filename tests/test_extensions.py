"""Extensions as docs/extending shows them: one file in a folder, run through the commands from there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from endpoint.server import Endpoint, serve
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
PAGES = REPOSITORY / "docs" / "extending"
COMVINT = (sys.executable, "-m", "comvint_hf.cli")
EVALUATE = (sys.executable, str(REPOSITORY / "train" / "evaluate.py"))
MIX = (sys.executable, str(REPOSITORY / "builders" / "mix.py"))
OWN = ("--recipe", "my_recipe:MY_RECIPE", "--scenes", "my_source:corpus")
CITATIONS = ("Doe et al., Our Photos, 2026", "Doe et al., Where Questions, 2026")
NOUNS = ["pan", "cup", "bowl", "fork", "spoon", "knife", "glass", "jug", "pot", "tray", "vase", "jar"]
PATIENCE = 3600
pytestmark = pytest.mark.timeout(2 * PATIENCE)


def read_page(name: str) -> dict[str, str]:
    """The files of a page, by their names."""
    return dict(re.findall(r'```python title="([\w.]+)"\n(.*?)```', (PAGES / f"{name}.md").read_text(), re.DOTALL))


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with the files of all pages, and a corpus of 12 images for the source, one of them without an object."""
    for page in PAGES.glob("*.md"):
        for name, content in read_page(page.stem).items():
            (tmp_path / name).write_text(content)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(12):
        name = corpus / f"{number:02d}"
        Image.new("RGB", (64, 48), (number * 20, 80, 120)).save(name.with_suffix(".jpg"))
        objects = [[NOUNS[number], 0.1, 0.1, 0.4, 0.5], ["plate", 0.5, 0.4, 0.9, 0.8]] if number else []
        record = {"width": 64, "height": 48, "captions": [f"A {NOUNS[number]} and a plate."], "objects": objects}
        name.with_suffix(".json").write_text(json.dumps(record))
    return tmp_path


def start(folder: Path, *command: object) -> subprocess.Popen[str]:
    """Start a command as a user would, from the folder that holds the extensions."""
    environment = {**os.environ, "OPENAI_API_KEY": "local", "COLUMNS": "200"}
    return subprocess.Popen(
        list(map(str, command)), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, *command: object, code: int = 0) -> str:
    """Run a command to its end; returns what it printed."""
    child = start(folder, *command)
    output, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == code, (output + errors)[-3000:]
    assert "Traceback" not in errors
    return output + errors


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".build" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("page", ["source", "recipe", "benchmark", "measure"])
def test_a_page_is_short_and_holds_one_whole_file(page: str) -> None:
    assert len((PAGES / f"{page}.md").read_text().splitlines()) < 40
    assert len(read_page(page)) == 1


def test_a_recipe_and_a_source_of_ones_own_become_a_dataset(workplace: Path) -> None:
    output = run(workplace, *COMVINT, "build", *OWN, "--llm", "annotations", "--out", "set")
    assert "images skipped: no objects" in output
    rows = load_dataset(str(workplace / "set"), cache_dir=str(workplace / "cache"))
    rows = [row for split in rows.values() for row in split]
    assert len(rows) == 11
    assert {row["source"] for row in rows} == {"my_source"} and all(row["images"] for row in rows)
    assert re.search(
        r"<st>(plate|jar|vase|tray|pot|jug|glass|knife|spoon|fork|bowl|cup)<ed>\[0\.\d{3}, ", rows[0]["messages"][1]["content"]
    )
    card = (workplace / "set" / "README.md").read_text()
    for words in (*CITATIONS, "Our photos are CC BY 4.0.", "The questions are CC0.", "license: cc-by-4.0", "Where"):
        assert words in card, words


def test_the_card_keeps_its_citations_where_the_extension_is_not_installed(workplace: Path) -> None:
    run(workplace, *COMVINT, "build", *OWN, "--llm", "annotations", "--out", "set")
    (workplace / "elsewhere").mkdir()
    run(workplace / "elsewhere", *MIX, "--dataset", "../set", "--out", "mixed")
    card = (workplace / "elsewhere" / "mixed" / "README.md").read_text()
    assert all(citation in card for citation in CITATIONS)


def test_two_workers_make_the_same_dataset(workplace: Path) -> None:
    flags = ("--llm", "annotations", "--shard-scenes", "2")
    run(workplace, *COMVINT, "build", *OWN, *flags, "--out", "alone")
    run(workplace, *COMVINT, "build", *OWN, *flags, "--out", "together", "--num-workers", "2")
    assert contents(workplace / "alone") == contents(workplace / "together")


def test_a_killed_build_is_resumed_and_pays_once(workplace: Path) -> None:
    flags = ("--llm", "toy-model", "--shard-scenes", "2", "--concurrency", "2", "--out", "set")
    endpoint = Endpoint(latency=0.2)
    with serve(endpoint) as url:
        child = start(workplace, *COMVINT, "build", *OWN, *flags, "--base-url", url)
        deadline = time.monotonic() + PATIENCE
        while endpoint.paid.total() < 3:
            assert child.poll() is None and time.monotonic() < deadline, child.communicate()
            time.sleep(0.01)
        child.kill()
        child.communicate(timeout=PATIENCE)
        output = run(workplace, *COMVINT, "build", *OWN, *flags, "--base-url", url)
    assert "from the cache" in output
    assert max(endpoint.paid.values()) <= 2, "a request under way when the process is killed may be sent again"
    assert {
        row["generator"] for path in (workplace / "set").glob("data/**/*.parquet") for row in pq.read_table(path).to_pylist()
    } == {"toy-model"}


def test_a_budget_stops_the_build_and_the_next_run_goes_on(workplace: Path) -> None:
    (workplace / "prices.toml").write_text('["toy-model"]\ninput = 100\noutput = 200\n')
    flags = ("--llm", "toy-model", "--prices", "prices.toml", "--concurrency", "1", "--out", "set")
    endpoint = Endpoint()
    with serve(endpoint) as url:
        stopped = run(workplace, *COMVINT, "build", *OWN, *flags, "--base-url", url, "--budget", "0.5", code=1)
        assert "has no room for the next request" in stopped
        run(workplace, *COMVINT, "build", *OWN, *flags, "--base-url", url, "--budget", "500")
    assert set(endpoint.paid.values()) == {1}, "no reply was paid for twice"


def test_names_that_nobody_declares_are_one_calm_sentence(workplace: Path) -> None:
    flags = ("--llm", "annotations", "--out", "set")
    for recipe, source, message in (
        ("my_recipe:OTHER", "shapes:2", "The module my_recipe has no 'OTHER': expected the name of a recipe in it."),
        ("nowhere:MY_RECIPE", "shapes:2", "There is no Python module 'nowhere' for the recipe nowhere:MY_RECIPE"),
        ("svit", "my_recipe:corpus", "The module my_recipe declares no source: expected one source, as in @source('my_recipe')."),
        ("svit", "my_source:nowhere", "nowhere is not a folder: expected the my_source folder."),
        ("svit", "my_sauce:corpus", "No source is called 'my_sauce'"),
    ):
        errors = run(workplace, *COMVINT, "build", "--recipe", recipe, "--scenes", source, *flags, code=2)
        assert message in errors.replace("\n", " "), errors


def test_a_scene_under_another_name_is_refused(workplace: Path) -> None:
    text = (workplace / "my_source.py").read_text()
    (workplace / "my_source.py").write_text(text.replace('source="my_source"', 'source="coco"'))
    errors = run(workplace, *COMVINT, "build", *OWN, "--llm", "annotations", "--out", "set", code=1)
    assert "of the source 'coco': expected 'my_source/...' of the source 'my_source'" in errors


def test_a_benchmark_of_ones_own_is_scored(workplace: Path) -> None:
    questions = [{"id": n, "image": f"{n}.jpg", "question": "Is there a cup?", "answer": "yes"} for n in (1, 2)]
    (workplace / "questions.json").write_text(json.dumps(questions))
    answers = [{"question_id": 1, "answer": "Yes, there is."}, {"question_id": 2, "answer": "No."}]
    (workplace / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
    flags = ("--questions", "questions.json", "--answers", "answers.jsonl", "--out", "results.json")
    run(workplace, *EVALUATE, "--benchmark", "my_bench", *flags)
    results = json.loads((workplace / "results.json").read_text())
    assert (results["benchmark"], results["n"], results["accuracy"]) == ("my_bench", 2, 0.5)


def test_a_measure_of_ones_own_is_computed(workplace: Path) -> None:
    run(workplace, *COMVINT, "build", *OWN, "--llm", "annotations", "--out", "set")
    for name in ("my_measure", "my_measure:answer_words"):
        assert f"{name}: referring_qa " in run(workplace, *COMVINT, "stats", "set", "--measure", name)
    assert "my_measure" not in run(workplace, *COMVINT, "stats", "set", "--quality")


def test_installed_extensions_are_found_by_their_entry_points(workplace: Path, monkeypatch) -> None:
    site = workplace / "site"
    info = site / "my_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    groups = {
        "sources": "street = my_source",
        "recipes": "where = my_recipe:MY_RECIPE",
        "benchmarks": "cups = my_bench:my_bench",
        "measures": "words = my_measure",
    }
    (info / "entry_points.txt").write_text("".join(f"[comvint_hf.{group}]\n{point}\n" for group, point in groups.items()))
    for name in ("my_source", "my_recipe", "my_bench", "my_measure"):
        (workplace / f"{name}.py").rename(site / f"{name}.py")
    monkeypatch.setenv("PYTHONPATH", str(site))
    run(workplace, *COMVINT, "build", "--recipe", "where", "--scenes", "street:corpus", "--llm", "annotations", "--out", "set")
    output = run(workplace, *COMVINT, "stats", "set", "--quality")
    assert "words: referring_qa " in output and "\nbalance: " in output
    assert "No such" not in run(workplace, *EVALUATE, "--benchmark", "cups", "--questions", "set/build.json", code=2)
