"""The scripts, as a person runs them: on real annotations, twice, interrupted, and with wrong wishes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builders import wired
from comvint_hf.cli.exit_codes import INCOMPLETE
from comvint_hf.generation.client.settings import MAX_PIXELS
from comvint_hf.grounding import parse_boxes
from comvint_hf.sources import load_scenes


def run(script: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(wired.BUILDERS / f"{script}.py"), *map(str, arguments)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=wired.PATIENCE, env={**os.environ, "COLUMNS": "150"}
    )
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def rows_of(folder: Path) -> list[dict]:
    files = sorted(json.loads((folder / "build.json").read_text())["files"])
    return [
        row for name in files if not name.startswith(("rejected/", "images/")) for row in pq.read_table(folder / name).to_pylist()
    ]


@pytest.mark.parametrize("script", ["svit", "comvint", "vlit", "mix"])
def test_help_teaches_with_examples(script) -> None:
    told = run(script, "--help").stdout
    assert told.count(f"python builders/{script}.py") >= 2 and "--out" in told


@pytest.mark.parametrize("script", ["svit", "comvint", "vlit"])
def test_help_says_what_a_paid_run_can_be_told_and_how_it_ends(script) -> None:
    told = run(script, "--help").stdout
    paid = [
        "attempts",
        "requests-per-minute",
        "tokens-per-minute",
        "budget",
        "prices",
        "dry-run",
        "batch",
        "see",
        "judge",
        "cache",
        "base-url",
    ]
    assert [flag for flag in paid if not re.search(rf"^  --{flag} ", told, re.MULTILINE)] == []
    words = " ".join(told.split())
    assert f"[default: {MAX_PIXELS}, as 1024x1024]" in words and 1024 * 1024 == MAX_PIXELS
    assert f"{INCOMPLETE} the dataset is finished, but some prompts got no usable reply" in words
    for flags in re.findall(rf"^ +(?:python builders/{script}.py|--)(.*?)$", told.split("\nInput:")[0], re.MULTILINE):
        named = re.findall(r"--[a-z-]+", flags)
        assert [flag for flag in named if not re.search(rf"^  {flag} ", told, re.MULTILINE)] == [], (
            "an example uses what is not there"
        )


@pytest.mark.parametrize(
    ("script", "spec", "source"),
    [
        ("svit", "coco:{}/coco", "coco"),
        ("svit", "visual_genome:{}/visual_genome", "visual_genome"),
        ("comvint", "flickr30k:{}/flickr30k_entities", "flickr30k"),
        ("vlit", "coco:{}/coco", "coco"),
    ],
)
def test_real_annotations_become_rows_whose_boxes_are_annotated(script, spec, source, shared, tmp_path) -> None:
    spec = spec.format(shared)
    done = run(script, "--scenes", spec, "--llm", "annotations", "--limit", 30, "--out", tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert f"{len(rows):,} rows" in done.stdout and len(rows) > 5
    known = {}
    for scene in load_scenes(spec, limit=30):
        boxes = [box for thing in scene.objects for box in thing.boxes] + [region.box for region in scene.regions]
        known[scene.id] = {tuple(round(side, 3) for side in box.xyxy) for box in boxes}
    for row in rows:
        assert row["source"] == source and row["generator"] == "annotations"
        for message in row["messages"]:
            assert {tuple(round(side, 3) for side in box.xyxy) for box in parse_boxes(message["content"])} <= known[
                row["image_id"]
            ]


def test_a_finished_build_run_again_changes_nothing(tmp_path) -> None:
    arguments = ("--scenes", "shapes:8", "--out", tmp_path / "out", "--tasks", "referring_qa")
    run("svit", *arguments)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    run("svit", *arguments)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert {row["task"] for row in rows_of(tmp_path / "out")} == {"referring_qa"}


def test_control_c_is_calm_and_the_same_command_goes_on(tmp_path) -> None:
    arguments = ["--scenes", "shapes:1500", "--out", str(tmp_path / "out"), "--tasks", "referring_qa", "--shard-scenes", "25"]
    child = wired.run("svit", *arguments)
    wired.until(child, (tmp_path / "out" / ".build" / "00000.json").exists)
    child.send_signal(signal.SIGINT)
    _, said = wired.finish(child, code=130)
    assert said.strip().splitlines()[-1].startswith("Stopped. Run the same command again")
    assert not (tmp_path / "out" / "README.md").exists()
    run("svit", *arguments)
    assert len({row["image_id"] for row in rows_of(tmp_path / "out")}) == 1500


def test_a_dry_run_asks_nobody_and_writes_nothing(tmp_path) -> None:
    done = run("comvint", "--scenes", "shapes:30", "--llm", "gpt-4o-mini", "--dry-run", "--out", tmp_path / "out")
    assert "30 scenes" in done.stdout and "requests" in done.stdout and "rows" in done.stdout
    assert "$" in done.stdout and "min" in done.stdout and "  comvint/synthesize: about 60 requests" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "said", "code"),
    [
        ("svit", ("--scenes", "photos:here"), "No source is called", 2),
        ("comvint", ("--scenes", "shapes:3", "--votes", "2"), "expected an odd number", 2),
        ("comvint", ("--scenes", "shapes:3", "--kinds", "cross"), "cross was given for kinds", 2),
        ("mix", ("--dataset", "/nowhere"), "There is no folder /nowhere", 2),
        ("mix", ("--dataset", ".", "--take", "conversation"), "NAME=NUMBER", 2),
        ("svit", ("--scenes", "shapes:3", "--llm", "some-model"), "OPENAI_API_KEY", 1),
    ],
)
def test_wrong_wishes_are_answered_in_one_sentence(script, arguments, said, code, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    done = run(script, *arguments, "--out", tmp_path / "out", check=False)
    assert done.returncode == code and said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or code == 2 and done.stderr.startswith("Usage: ")


def test_flickr30k_photos_are_refused_for_the_hub_before_any_work(shared, tmp_path) -> None:
    spec = f"flickr30k:{shared / 'flickr30k_entities'}"
    done = run("comvint", "--scenes", spec, "--out", tmp_path / "out", "--push-to", "a/b", check=False)
    assert done.returncode == 2 and "may not be re-hosted" in done.stderr and not (tmp_path / "out").exists()


def test_a_mix_of_two_builds(tmp_path) -> None:
    run("svit", "--scenes", "shapes:10", "--out", tmp_path / "svit")
    run("comvint", "--scenes", "shapes:10", "--out", tmp_path / "comvint")
    done = run("mix", "--dataset", tmp_path / "svit", tmp_path / "comvint", "--take", "conversation=5", "--out", tmp_path / "mix")
    rows = rows_of(tmp_path / "mix")
    train = [path for path in (tmp_path / "mix" / "data" / "conversation").glob("train-*")]
    assert sum(pq.read_metadata(path).num_rows for path in train) == 5
    assert {"cross_modal", "referring_qa"} <= {row["task"] for row in rows} and f"{len(rows):,} rows" in done.stdout


@pytest.mark.parametrize("script", sorted((Path(__file__).parents[2] / "builders").glob("*.py")), ids=lambda path: path.stem)
def test_a_builder_says_what_it_needs_to_run_alone(script: Path) -> None:
    """`uv run builders/svit.py` in a clone: the inline metadata of PEP 723, and the clone itself as the package's source."""
    import tomllib

    block = re.search(r"(?m)^# /// script$\n((?:^#(?: .*)?$\n)+?)^# ///$", script.read_text())
    needs = tomllib.loads("".join(line[2:] + "\n" for line in block[1].splitlines()))
    project = tomllib.loads((script.parents[1] / "pyproject.toml").read_text())["project"]
    assert needs["requires-python"] == project["requires-python"]
    split = [] if script.stem == "mix" else [need for need in project["optional-dependencies"]["scale"] if "datatrove" in need]
    assert needs["dependencies"] == [f"{project['name']}[build]", *split], "what --num-workers needs is there too"
    source = (script.parent / needs["tool"]["uv"]["sources"][project["name"]]["path"]).resolve()
    assert source == script.parents[1]
