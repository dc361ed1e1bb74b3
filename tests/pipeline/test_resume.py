"""Resuming: what has changed since the finished shards is named, and what is damaged is built again, never doubled or lost."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from comvint_hf import build
from comvint_hf.dataset import shards
from comvint_hf.dataset.plan import ShardSubset
from comvint_hf.dataset.reader import list_row_files, read_columns
from comvint_hf.errors import EndpointError, InputError
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.pipeline.build import build_shards
from comvint_hf.pipeline.plan import BuildState, make_plan
from comvint_hf.pipeline.progress import Progress
from comvint_hf.types import Box, Object, Sample, Scene

NOBODY = LLMs.one(ScriptedLLM([]))


def scene(number: int, name: str = "cat", image: Path | None = None) -> Scene:
    thing = Object(tag="o1", key="1", name=name, boxes=(Box(x1=0.1, y1=0.2, x2=0.5, y2=0.6),))
    return Scene(
        id=f"test/{number}", source="test", image=image, width=40, height=30, objects=(thing,), meta={"tags": {"a", "b"}}
    )


class Naming:
    """One row for each scene; it stops where it is told."""

    name, prompts, settings = "naming", (), {}

    def __init__(self, stop: int = -1) -> None:
        self.stop = stop

    async def run(self, scene: Scene, llms: LLMs) -> list[Sample]:
        if scene.id == f"test/{self.stop}":
            raise EndpointError("no quota")
        return [Sample(scene=scene).write([("What is it?", f"A {scene.objects[0].name} <st>it<ed>[o1].")])]


def make(scenes: list[Scene], out: Path, stop: int = -1, **options):
    return build(scenes, Naming(stop), NOBODY, out, shard_scenes=3, concurrency=1, progress=False, **options)


def photo(path: Path, colour: str) -> Path:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "BMP")
    path.write_bytes(buffer.getvalue())
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_renamed_object_is_noticed_and_its_image_named(tmp_path) -> None:
    out = tmp_path / "out"
    with pytest.raises(EndpointError):
        make([scene(number) for number in range(9)], out, stop=7)
    before = content(out)
    changed = [scene(number, "zebra" if number in (1, 4) else "cat") for number in range(9)]
    with pytest.raises(
        InputError, match=r"Shard 0 in .* was built before the annotations of test/1 changed: .*--overwrite"
    ) as told:
        make(changed, out)
    assert "\n" not in str(told.value)
    assert content(out) == before
    assert make([scene(number) for number in range(9)], out).kept == 9, "annotations that were put back are as good as before"
    assert make(changed, out, overwrite=True).kept == 9


def test_a_shard_that_was_not_finished_takes_the_annotations_of_today(tmp_path) -> None:
    with pytest.raises(EndpointError):
        make([scene(number) for number in range(6)], tmp_path, stop=4)
    assert make([scene(number, "zebra" if number > 2 else "cat") for number in range(6)], tmp_path).kept == 6


def test_every_worker_refuses_scenes_that_changed(tmp_path) -> None:
    import asyncio

    scenes = [scene(number) for number in range(12)]
    make(scenes, tmp_path)
    changed = [scene(number, "zebra" if number == 4 else "cat") for number in range(12)]
    plan = make_plan(scenes, Naming(), NOBODY, limit=None, seed=0, shard_scenes=3, images=True, split=None)

    def work(rank: int) -> None:
        state = BuildState(plan, Naming(), NOBODY, tmp_path, concurrency=4, subset=ShardSubset(rank, 2))
        asyncio.run(build_shards(state, changed, Progress("", None, shown=False)))

    for rank in (0, 1):  # the first only passes over that shard, and would build its own from other annotations
        with pytest.raises(InputError, match="Shard 1 .* the annotations of test/4"):
            work(rank)


@pytest.mark.parametrize("images", [True, "table"])
def test_another_photo_under_the_same_name_is_noticed_where_rows_hold_it(images, tmp_path) -> None:
    path = photo(tmp_path / "photo.png", "red")
    held, stamp = path.stat(), path.stat().st_mtime_ns
    make([scene(0, image=path)], tmp_path / "out", images=images)
    make([scene(0, image=path)], tmp_path / "text", images=False)
    photo(path, "tan")
    os.utime(path, ns=(stamp, stamp))
    assert path.stat().st_size == held.st_size, "neither size nor time tell them apart"
    with pytest.raises(InputError, match="the image of test/0 changed"):
        make([scene(0, image=path)], tmp_path / "out", images=images)
    make([scene(0, image=path)], tmp_path / "text", images=False)


def test_a_photo_that_came_later_is_noticed(tmp_path) -> None:
    path = tmp_path / "photo.png"
    report = make([scene(0, image=path)], tmp_path / "out")
    assert report.statistics.notes["images without a file"] == 1
    make([scene(0, image=path)], tmp_path / "out")
    photo(path, "red")
    with pytest.raises(InputError, match="the image of test/0 changed"):
        make([scene(0, image=path)], tmp_path / "out")


def test_a_shard_of_an_older_version_is_compared_by_its_ids(tmp_path) -> None:
    make([scene(0)], tmp_path)
    path = shards.marker_path(tmp_path, 0)
    marker = json.loads(path.read_text())
    path.write_text(json.dumps({name: marker[name] for name in ("files", "bytes", "scenes", "statistics")}))
    assert make([scene(0, "zebra")], tmp_path).kept == 1


def damage(marker: str, other: str) -> dict[str, bytes]:
    """Markers that a full disk, a copy or a person may leave."""
    known = json.loads(marker)
    changed = {
        "no files": {**known, "files": {}},
        "rows as text": {**known, "files": dict.fromkeys(known["files"], "3")},
        "other rows": {**known, "files": dict.fromkeys(known["files"], 2)},
        "a file elsewhere": {**known, "files": {"../x-00001.parquet": 3}, "bytes": {"../x-00001.parquet": 1}},
        "no statistics": {name: known[name] for name in ("files", "bytes", "sha256", "scenes")},
        "statistics of another kind": {**known, "statistics": {"tasks": [], "rejected": 1, "images": {}, "notes": {}}},
        "hashes of another kind": {**known, "sha256": ["x"]},
        "annotations of another kind": {**known, "annotations": 3},
        "endless numbers": {**known, "statistics": {**known["statistics"], "images": {"train": 1e308}}},
    }
    cuts = {f"cut after {end}": marker.encode()[:end] for end in (0, 1, 40, len(marker) // 2, len(marker) - 1)}
    texts = {
        "null": b"null",
        "a list": b"[]",
        "an object": b"{}",
        "zeros": bytes(300),
        "not UTF-8": b"\xff\xfe{}",
        "deep": b"[" * 10**5,
    }
    return {**cuts, **texts, "another shard's": other.encode(), **{name: json.dumps(it).encode() for name, it in changed.items()}}


def test_a_damaged_marker_has_its_shard_built_again_with_a_word(tmp_path, capfd) -> None:
    scenes = [scene(number) for number in range(8)]
    make(scenes, tmp_path)
    whole, path = content(tmp_path), shards.marker_path(tmp_path, 1)
    kinds = damage(path.read_text(), shards.marker_path(tmp_path, 0).read_text())
    for kind, written in kinds.items():
        path.write_bytes(written)
        report = make(scenes, tmp_path)
        said = capfd.readouterr().err
        assert report.kept == 8 and content(tmp_path) == whole, kind
        assert said.count("\n") == 1 and "shard 1 is built again" in said and "Traceback" not in said, (kind, said)


def test_a_file_that_is_not_as_it_was_written_is_built_again_with_a_word(tmp_path, capfd) -> None:
    scenes = [scene(number) for number in range(8)]
    make(scenes, tmp_path)
    whole = content(tmp_path)
    path = next(tmp_path.glob("without_images/*/*-00001.parquet"))
    for place in (10, path.stat().st_size // 2, path.stat().st_size - 10):
        flipped = bytearray(path.read_bytes())
        flipped[place] ^= 4
        path.write_bytes(flipped)
        assert make(scenes, tmp_path).kept == 8
        assert content(tmp_path) == whole
        assert f"{path} is not as it was written. Its shard 1 is built again" in capfd.readouterr().err
    path.unlink()
    assert make(scenes, tmp_path).kept == 8 and content(tmp_path) == whole


def test_a_shard_from_elsewhere_never_becomes_part_of_the_dataset(tmp_path) -> None:
    """Its marker and its files are whole, and its number is one that the scenes do not reach."""
    make([scene(number) for number in range(21)], tmp_path / "large")
    out = tmp_path / "out"
    make([scene(number) for number in range(6)], out)
    for name in [
        f".build/{6:05d}.json",
        *(path.relative_to(tmp_path / "large") for path in (tmp_path / "large").rglob("*-00006.parquet")),
    ]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes((tmp_path / "large" / name).read_bytes())
    with pytest.raises(InputError, match="has a shard 6, and .* gives only .*--overwrite"):
        make([scene(number) for number in range(6)], out)


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b"null", b'{"settings": 3}', bytes(100), b"[" * 10**5])
def test_a_damaged_plan_is_said_in_a_sentence_or_written_anew(written, tmp_path) -> None:
    out = tmp_path / "out"
    make([scene(0)], out)
    (out / ".build" / "plan.json").write_bytes(written)
    with pytest.raises(InputError, match=r"plan\.json.*nobody knows which command.*--overwrite") as told:
        make([scene(0)], out)
    assert "\n" not in str(told.value)
    assert make([scene(0)], out, overwrite=True).kept == 1
    begun = tmp_path / "begun"
    (begun / ".build").mkdir(parents=True)
    (begun / ".build" / "plan.json").write_bytes(written)
    assert make([scene(0)], begun).kept == 1, "without rows nothing depends on it"


def test_damaged_metadata_of_a_finished_build_is_written_anew(tmp_path) -> None:
    make([scene(0)], tmp_path)
    whole = content(tmp_path)
    for name in ("build.json", "stats.json", "README.md", "comvint.json"):
        (tmp_path / name).write_bytes(b"{")
    make([scene(0)], tmp_path)
    assert content(tmp_path) == whole


class Rejecting(Naming):
    async def run(self, scene: Scene, llms: LLMs) -> list[Sample]:
        return [sample.reject("too short: one word") for sample in await super().run(scene, llms)]


def test_rejected_rows_never_become_the_dataset(tmp_path) -> None:
    from datasets import load_dataset

    out = tmp_path / "out"
    make([scene(number) for number in range(5)], out)
    before = content(out)
    with pytest.raises(InputError, match=r"No row was kept of .*5 samples were rejected \(too short: 5\)"):
        build([scene(number) for number in range(5)], Rejecting(), NOBODY, out, progress=False, overwrite=True)
    assert content(out) == before, "the dataset that was to be replaced stays"
    with pytest.raises(InputError, match="No row was kept"):
        build([scene(number) for number in range(5)], Rejecting(), NOBODY, tmp_path / "none", progress=False)
    with pytest.raises(ValueError, match="data file"):
        load_dataset(str(tmp_path / "none"))
    assert len(load_dataset(str(tmp_path / "none"), "rejected")["train"]) == 5
    with pytest.raises(InputError, match="no sample was made"):
        build([], Rejecting(), NOBODY, tmp_path / "empty", progress=False)


def coco(folder: Path, name: str) -> Path:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    images = [{"id": number, "width": 640, "height": 480, "file_name": f"{number}.jpg"} for number in range(1, 9)]
    boxes = [
        {
            "id": 10 * number + other,
            "image_id": number,
            "category_id": 1 + other,
            "bbox": [10, 20 + 200 * other, 100, 90],
            "area": 9000,
            "iscrowd": 0,
        }
        for number in range(1, 9)
        for other in (0, 1)
    ]
    categories = [{"id": 1, "name": name, "supercategory": "animal"}, {"id": 2, "name": "bench", "supercategory": "outdoor"}]
    written = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(written))
    return folder


def test_a_build_in_workers_never_holds_two_states_of_the_annotations(tmp_path) -> None:
    """The command itself, in two processes: a cat is renamed to a zebra when half of the shards are there."""
    script = Path(__file__).parents[2] / "builders" / "svit.py"
    flags = ["--tasks", "conversation", "--shard-scenes", "2", "--store-images", "none", "--num-workers", "2"]
    command = [
        sys.executable,
        str(script),
        "--scenes",
        f"coco:{coco(tmp_path / 'coco', 'cat')}",
        "--out",
        str(tmp_path / "out"),
        *flags,
    ]

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    first = run()
    assert first.returncode == 0, first.stderr
    for number in (1, 3):
        shards.remove_shard(tmp_path / "out", number)
    coco(tmp_path / "coco", "zebra")
    second = run()
    assert second.returncode == 1 and "Traceback" not in second.stderr, second.stderr
    assert "the annotations of coco/" in second.stderr and "--overwrite" in second.stderr
    assert len(shards.read_markers(tmp_path / "out")) == 2
    told = [str(row) for path in tmp_path.glob("out/without_images/**/*.parquet") for row in read_columns(path, ["messages"])]
    assert any("cat" in row for row in told) and not any("zebra" in row for row in told)


def test_a_build_that_kept_nothing_ends_with_an_error_code(tmp_path) -> None:
    from click.testing import CliRunner

    from comvint_hf.cli import main

    module = tmp_path / "rejecting_all.py"
    module.write_text(
        "class Recipe:\n    name, prompts, settings = 'all', (), {}\n    async def run(self, scene, llms):\n"
        "        from comvint_hf.types import Sample\n        return [Sample(scene=scene).reject('too short: one word')]\n\nRECIPE = Recipe()\n"
    )
    sys.path.append(str(tmp_path))
    try:
        flags = ["build", "--recipe", "rejecting_all:RECIPE", "--scenes", "shapes:3", "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(main, flags)
        pushed = CliRunner().invoke(main, ["push", str(tmp_path / "out"), "tester/none"])
    finally:
        sys.path.remove(str(tmp_path))
    assert done.exit_code == 1 and "3 samples were rejected (too short: 3)" in done.output, done.output
    assert pushed.exit_code == 1 and "has no rows to push" in pushed.output


def test_no_reason_carries_a_secret_into_rows_card_or_statistics(tmp_path) -> None:
    """From an endpoint's error, through the stage that asked and one of a user's own that formats the error itself."""
    from comvint_hf.errors import ReplyError
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.generation.stage import missing_reply_reason, stage

    error = ReplyError("http://me:hidden-word@host/v1 said \x1b[31mno to sk-abcdefghijkl")
    assert missing_reply_reason(error) == "no usable reply: http://***@host/v1 said no to ***"

    @stage()
    async def ask(sample: Sample, llms: LLMs) -> list[Sample]:
        if sample.scene.id == "test/0":
            raise error
        if sample.scene.id == "test/1":
            return [sample.reject(f"http://me:hidden-word@host refused it: {error}")]
        return [sample.write([("What is it?", "A <st>cat<ed>[o1].")])]

    scenes = [scene(number) for number in range(3)]
    report = build(scenes, Recipe("asking", (ask,)), NOBODY, tmp_path, progress=False)
    assert report.rejected == 2
    told = [*report.failures(), *(str(row) for path in list_row_files(tmp_path, "rejected") for row in read_columns(path))]
    told += [(tmp_path / name).read_text() for name in ("README.md", "stats.json", "build.json", ".build/00000.json")]
    assert len(told) == 7
    assert not [text for text in told if "hidden-word" in text or "sk-abc" in text or "\x1b" in text or "\\x1b" in text]


@pytest.mark.parametrize(
    "written", [b"", b"[]", b'{"files": {"../../x-00001.parquet": 1}, "bytes": {"../../x-00001.parquet": 1}}']
)
def test_a_damaged_marker_on_the_remote_folder_takes_nothing_from_there(written, tmp_path, capfd) -> None:
    from comvint_hf.pipeline.storage import RemoteFolder

    make([scene(number) for number in range(8)], tmp_path / "out")
    remote = RemoteFolder(f"file://{tmp_path / 'far' / 'away' / 'remote'}")
    for number in range(3):
        remote.upload_shard(tmp_path / "out", number)
    (tmp_path / "x-00001.parquet").write_bytes(b"mine")
    (tmp_path / "far" / "away" / "remote" / ".build" / "00001.json").write_bytes(written)
    remote.download_shards(tmp_path / "home" / "out")
    assert "The shard is built again" in capfd.readouterr().err
    assert sorted(path.name for path in (tmp_path / "home" / "out" / ".build").iterdir()) == ["00000.json", "00002.json"]
    assert remote.finished_shards() == {0, 2} and [path.name for path in (tmp_path / "home").iterdir()] == ["out"]


@pytest.mark.parametrize("written", [b"", b"[]", b'{"scenes": "many"}', b'{"scenes": 1e400}'])
def test_a_cut_status_of_a_worker_counts_as_none(written, tmp_path) -> None:
    from comvint_hf.pipeline.worker_status import WorkerProgress, read_statuses, status_path

    WorkerProgress(status_path(tmp_path, 0)).write(done=True)
    status_path(tmp_path, 1).write_bytes(written)
    first, *others = read_statuses(tmp_path, 3)
    assert first is not None and first["done"] and others == [None, None]
