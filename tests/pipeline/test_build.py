"""Building: whole, in order, resumable to the byte, and in one sentence about what goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import get_dataset_config_names, load_dataset
from PIL import Image

from comvint_hf import build, load_scenes
from comvint_hf.dataset import shards
from comvint_hf.errors import BudgetError, EndpointError, InputError
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.types import Box, Object, Sample, Scene

NOBODY = LLMs.one(ScriptedLLM([]))


def digests(folder: Path) -> dict[str, str]:
    """What a dataset folder holds, by file; the state folder left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and shards.STATE not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def toys(out: Path, recipe, scenes: int = 25, **options):
    return build(load_scenes(f"shapes:{scenes}"), recipe, NOBODY, out, shard_scenes=10, split=0.3, progress=False, **options)


def rows_of(folder: Path, pattern: str = "data/**/*.parquet") -> list[dict]:
    return [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def test_the_folder_opens_with_load_dataset_plain_and_streaming_in_every_config(tmp_path, toy_recipe) -> None:
    report = toys(tmp_path / "toy", toy_recipe)
    folder = str(tmp_path / "toy")
    cache = str(tmp_path / "cache")
    assert get_dataset_config_names(folder) == ["conversation", "cross_modal", "default", "referring_qa", "rejected"]
    whole = load_dataset(folder, cache_dir=cache)
    assert sum(map(len, whole.values())) == report.kept > 0
    parts = [load_dataset(folder, task, cache_dir=cache) for task in ("conversation", "cross_modal", "referring_qa")]
    assert sorted(id for part in parts for split in part.values() for id in split["id"]) == sorted(
        id for split in whole.values() for id in split["id"]
    )
    for split, rows in whole.items():
        assert [row["id"] for row in load_dataset(folder, split=split, streaming=True)] == rows["id"][:]
    assert not set(whole["train"]["image_id"]) & set(whole["test"]["image_id"])
    row = whole["train"][0]
    assert row["images"][0].size == (row["width"], row["height"])
    assert len(load_dataset(folder, "rejected", split="train", cache_dir=cache)) == report.rejected


def test_every_sample_is_kept_or_rejected_with_its_reason_and_ids_are_unique(tmp_path, toy_recipe) -> None:
    report = toys(tmp_path, toy_recipe)
    made = 0
    for scene in load_scenes("shapes:25"):
        made += 2 * len(scene.objects) + 3
    kept, rejected = rows_of(tmp_path), rows_of(tmp_path, "rejected/*.parquet")
    assert (len(kept), len(rejected)) == (report.kept, report.rejected) and len(kept) + len(rejected) == made
    ids = [row["id"] for row in kept + rejected]
    assert len(set(ids)) == len(ids)
    assert dict(report.statistics.rejected) == {"too short": 25, "points at something the scene does not have": 25}
    assert all("[o99]" in row["reason"] for row in rejected if row["reason"].startswith("points"))


def test_rendered_boxes_are_the_annotated_ones(tmp_path, toy_recipe) -> None:
    toys(tmp_path, toy_recipe, scenes=5)
    known = {box.xyxy for scene in load_scenes("shapes:5") for thing in scene.objects for box in thing.boxes}
    rows = rows_of(tmp_path, "data/referring_qa/*.parquet")
    for row in rows:
        assert len(row["boxes"]) == len(row["phrases"]) == 1
        assert any(tuple(row["boxes"][0]) == pytest.approx(box, abs=1e-6) for box in known)
        assert f"<st>{row['phrases'][0]}<ed>[{row['boxes'][0][0]:.3f}" in row["messages"][1]["content"]


def test_a_second_run_does_nothing_and_changes_nothing(tmp_path, toy_recipe) -> None:
    toys(tmp_path, toy_recipe)
    before, times = digests(tmp_path), {path: path.stat().st_mtime_ns for path in tmp_path.glob("data/**/*.parquet")}
    again = toys(tmp_path, toy_recipe)
    assert digests(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert again.kept == len(rows_of(tmp_path))


CHILD = """
import asyncio, sys
sys.path.insert(0, sys.argv[2] + "/..")
from conftest import ToyRecipe
from comvint_hf import build, load_scenes
from comvint_hf.generation.llm import LLMs, ScriptedLLM

class Talking(ToyRecipe):
    async def run(self, scene, llms):
        await asyncio.sleep(0)
        print(scene.id, flush=True)
        sys.stdin.readline()
        return await super().run(scene, llms)

build(load_scenes("shapes:60"), Talking(), LLMs.one(ScriptedLLM([])), sys.argv[1], shard_scenes=7, progress=False, concurrency=3)
print("done", flush=True)
"""


def test_killed_at_any_moment_and_run_again_the_bytes_are_the_same(tmp_path) -> None:
    def start(out: Path) -> subprocess.Popen:
        code = [sys.executable, "-c", CHILD, str(out), str(Path(__file__).parent)]
        return subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    start(tmp_path / "whole" / "set").communicate()
    dice = random.Random(4)
    kills = 0
    while kills < 8:
        child = start(tmp_path / "killed" / "set")
        for _ in range(dice.randint(1, 30)):
            said = child.stdout.readline()
            if said.strip() in ("done", ""):
                break
            print(file=child.stdin, flush=True)  # it waits for this at each scene, so it is never ahead of the kill
        child.kill()
        child.wait()
        kills += 1
        if said.strip() in ("done", ""):
            break
    assert kills >= 3
    last, _ = start(tmp_path / "killed" / "set").communicate()
    assert "done" in last
    assert digests(tmp_path / "killed" / "set") == digests(tmp_path / "whole" / "set")
    assert len(rows_of(tmp_path / "whole" / "set")) > 100
    assert not list((tmp_path / "killed" / "set").rglob("*.partial"))


def test_broken_off_at_each_single_rename_the_bytes_are_the_same(tmp_path, toy_recipe, monkeypatch) -> None:
    toys(tmp_path / "whole" / "set", toy_recipe, scenes=12)
    replace = os.replace
    broken = 0
    while True:
        out = tmp_path / f"broken-{broken}" / "set"
        left = broken

        def breaking(source, target):
            nonlocal left
            if left == 0:
                raise SystemExit("killed")
            left -= 1
            replace(source, target)

        monkeypatch.setattr(os, "replace", breaking)
        try:
            toys(out, toy_recipe, scenes=12)
            break
        except SystemExit:
            monkeypatch.setattr(os, "replace", replace)
            toys(out, toy_recipe, scenes=12)
            assert digests(out) == digests(tmp_path / "whole" / "set"), broken
        broken += 1
    assert broken > 12


class Shuffling:
    """Finishes scenes in another order than they came."""

    name, prompts, settings = "toy", (), {}

    def __init__(self, inner) -> None:
        self.inner = inner
        self.running = self.most = 0
        self.finished: list[str] = []

    async def run(self, scene, llms):
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(random.Random(scene.id).random() / 50)
        self.running -= 1
        self.finished.append(scene.id)
        return await self.inner.run(scene, llms)


def test_scenes_run_side_by_side_and_the_rows_stay_in_order(tmp_path, toy_recipe) -> None:
    hasty, careful = Shuffling(toy_recipe), Shuffling(toy_recipe)
    toys(tmp_path / "hasty", hasty, concurrency=8)
    toys(tmp_path / "careful", careful, concurrency=1)
    ids = [scene.id for scene in load_scenes("shapes:25")]
    assert hasty.most == 8 and hasty.finished != ids
    assert careful.most == 1 and careful.finished == ids
    parquet = {name: digest for name, digest in digests(tmp_path / "hasty").items() if name.endswith(".parquet")}
    assert parquet.items() <= digests(tmp_path / "careful").items()


class Failing(Shuffling):
    """Runs out of money at one scene."""

    poor = True

    async def run(self, scene, llms):
        if self.poor and scene.id.endswith("-17"):
            raise BudgetError("The next request could pass the budget.")
        return await super().run(scene, llms)


def test_an_empty_budget_stops_the_run_and_the_next_one_goes_on(tmp_path, toy_recipe) -> None:
    recipe = Failing(toy_recipe)
    with pytest.raises(BudgetError):
        toys(tmp_path / "stopped", recipe, concurrency=4)
    assert (tmp_path / "stopped" / shards.STATE / "00000.json").exists()
    assert not list((tmp_path / "stopped").rglob("*-00001.parquet"))
    recipe.poor = False
    recipe.finished.clear()
    toys(tmp_path / "stopped", recipe, concurrency=4)
    assert len(recipe.finished) == 15
    toys(tmp_path / "whole", Shuffling(toy_recipe))
    assert (
        digests(tmp_path / "stopped").items()
        >= {name: digest for name, digest in digests(tmp_path / "whole").items() if name.endswith(".parquet")}.items()
    )


def test_another_plan_in_the_same_folder_is_refused_and_overwrite_replaces_it(tmp_path, toy_recipe) -> None:
    toys(tmp_path / "out", toy_recipe)
    with pytest.raises(InputError, match="made with --scenes shapes:25, and this command says --scenes shapes:12: .*--overwrite"):
        toys(tmp_path / "out", toy_recipe, scenes=12)
    with pytest.raises(InputError, match="made with --store-images rows, and this command says --store-images none"):
        toys(tmp_path / "out", toy_recipe, images=False)
    with pytest.raises(InputError, match="made with no --limit, and this command says --limit 0"):
        toys(tmp_path / "out", toy_recipe, limit=0)
    toys(tmp_path / "out", toy_recipe, scenes=12, overwrite=True)
    toys(tmp_path / "fresh", toy_recipe, scenes=12)
    same = {name: digest for name, digest in digests(tmp_path / "fresh").items() if name != "README.md"}
    assert digests(tmp_path / "out").items() >= same.items()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["README.md", "data/theirs.parquet"])
def test_a_folder_of_somebody_else_is_left_alone(name, overwrite, tmp_path, toy_recipe) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="no build wrote") as refused:
        toys(tmp_path, toy_recipe, overwrite=overwrite)
    assert "--overwrite" not in str(refused.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_a_dataset_that_came_without_its_plan_is_overwritten_only_when_told(tmp_path, toy_recipe) -> None:
    toys(tmp_path, toy_recipe)
    shutil.rmtree(tmp_path / ".build")
    with pytest.raises(InputError, match="did not begin.*--overwrite"):
        toys(tmp_path, toy_recipe)
    toys(tmp_path, toy_recipe, scenes=12, overwrite=True)


def test_photos_beside_a_dataset_survive_its_overwriting(tmp_path, toy_recipe) -> None:
    photo = tmp_path / "images" / "mine.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"mine")
    toys(tmp_path, toy_recipe)
    toys(tmp_path, toy_recipe, scenes=12, overwrite=True)
    assert photo.read_bytes() == b"mine"


def test_an_overwrite_that_fails_leaves_the_old_dataset_whole(tmp_path, toy_recipe) -> None:
    class Failing(type(toy_recipe)):
        async def run(self, scene, llms):
            if scene.id.endswith("20"):
                raise EndpointError("no quota")
            return await super().run(scene, llms)

    toys(tmp_path / "out", toy_recipe, scenes=12)
    (tmp_path / "out" / ".build" / "replies.sqlite").write_bytes(b"paid")
    before = digests(tmp_path / "out")
    with pytest.raises(EndpointError):
        toys(tmp_path / "out", Failing(), overwrite=True)
    assert digests(tmp_path / "out") == before
    report = toys(tmp_path / "out", toy_recipe, overwrite=True)
    assert report.out == tmp_path / "out" and sum(report.statistics.images.values()) == 25
    assert (tmp_path / "out" / ".build" / "replies.sqlite").read_bytes() == b"paid"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_source_that_changed_under_a_half_built_folder_is_noticed(tmp_path, toy_recipe) -> None:
    scenes = list(load_scenes("shapes:25"))
    build(scenes, toy_recipe, NOBODY, tmp_path, shard_scenes=10, progress=False)
    with pytest.raises(InputError, match="shard 0"):
        build(scenes[1:], toy_recipe, NOBODY, tmp_path, shard_scenes=10, progress=False)


def test_two_builds_at_once_do_not_share_a_folder(tmp_path, toy_recipe) -> None:
    class Nested(Shuffling):
        async def run(self, scene, llms):
            with pytest.raises(InputError, match="Another build"):
                await asyncio.to_thread(toys, tmp_path, toy_recipe)
            return await self.inner.run(scene, llms)

    toys(tmp_path, Nested(toy_recipe), scenes=1)


def test_it_builds_inside_a_running_loop_too(tmp_path, toy_recipe) -> None:
    async def notebook():
        return toys(tmp_path, toy_recipe, scenes=3)

    assert asyncio.run(notebook()).kept > 0


def test_a_repeated_image_is_counted_and_skipped(tmp_path, toy_recipe) -> None:
    scenes = list(load_scenes("shapes:3"))
    report = build(scenes + scenes[:1], toy_recipe, NOBODY, tmp_path, progress=False)
    assert report.scenes == 3 and report.statistics.notes["images skipped: their id came before"] == 1


class Silent(Shuffling):
    """Gets no reply for one scene."""

    async def run(self, scene, llms):
        if scene.id.endswith("-3"):
            return [Sample(scene=scene).reject("no usable reply: the model said nothing, three times")]
        return await super().run(scene, llms)


def test_what_got_no_reply_is_named_by_each_run_and_counts_as_failed(tmp_path, toy_recipe) -> None:
    for _ in range(2):
        report = toys(tmp_path, Silent(toy_recipe), scenes=9)
        assert report.failed == 1 < report.rejected and list(report.failures()) == [
            "shapes/grid-0-3/conversation/0: no usable reply: the model said nothing, three times"
        ]


def test_a_writer_of_fixed_answers_has_not_failed_where_it_has_none(tmp_path, toy_recipe) -> None:
    fixed = ScriptedLLM([])
    fixed.deterministic = True
    report = build(load_scenes("shapes:9"), Silent(toy_recipe), LLMs.one(fixed), tmp_path, progress=False)
    assert report.failed == 0 and list(report.failures()) == [] and report.statistics.rejected["no usable reply"] == 1


def test_limit_zero_and_a_source_without_rows_leave_a_folder_that_says_so(tmp_path, toy_recipe) -> None:
    report = toys(tmp_path, toy_recipe, limit=0)
    assert report.kept == 0
    assert "0 rows of 0 images" in (tmp_path / "README.md").read_text()


def scene(number: int, image, size=(40, 30)) -> Scene:
    thing = Object(tag="o1", key="1", name="cup", boxes=(Box(x1=0.1, y1=0.2, x2=0.5, y2=0.6),))
    return Scene(id=f"test/{number}", source="test", image=image, width=size[0], height=size[1], objects=(thing,))


def jpeg(size=(40, 30), **options) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, "JPEG", **options)
    return buffer.getvalue()


class OneRow:
    name, prompts, settings = "one", (), {}

    async def run(self, scene, llms):
        return [Sample(scene=scene).write([("What is it?", "A <st>cup<ed>[o1].")])]


def test_missing_and_rotten_photos_are_counted_and_their_rows_stand_apart(tmp_path) -> None:
    (tmp_path / "good.jpg").write_bytes(jpeg())
    turned = Image.Exif()
    turned[0x0112] = 6
    scenes = [
        scene(0, tmp_path / "good.jpg"),
        scene(1, None),
        scene(2, tmp_path / "gone.jpg"),
        scene(3, jpeg()[:-200]),
        scene(4, b"this is no photo"),
        scene(5, jpeg((30, 40))),
        scene(6, jpeg((30, 40), exif=turned)),
        scene(7, jpeg((80, 60))),
    ]
    report = build(scenes, OneRow(), NOBODY, tmp_path / "out", progress=False, split=0)
    with_photo = rows_of(tmp_path / "out")
    assert [row["image_id"] for row in with_photo] == ["test/0", "test/6", "test/7"]
    assert with_photo[0]["images"][0]["bytes"] == (tmp_path / "good.jpg").read_bytes()
    without = load_dataset(str(tmp_path / "out"), "without_images", split="train", cache_dir=str(tmp_path / "cache"))
    assert without["image_id"][:] == [f"test/{number}" for number in (1, 2, 3, 4, 5)]
    assert "images" not in without.column_names
    notes = report.statistics.notes
    assert (notes["images without a file"], notes["image files that cannot be decoded"]) == (2, 2)
    assert notes["image files of another shape than annotated"] == 1


def test_without_any_photo_the_whole_dataset_has_no_images_column(tmp_path) -> None:
    build([scene(number, None) for number in range(3)], OneRow(), NOBODY, tmp_path / "out", progress=False, split=0)
    rows = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert "images" not in rows.column_names and rows["image_id"][:] == ["test/0", "test/1", "test/2"]


def test_photos_can_be_left_out_or_stored_once_an_image(tmp_path, toy_recipe) -> None:
    toys(tmp_path / "none", toy_recipe, scenes=5, images=False)
    assert not (tmp_path / "none" / "data").exists() and not (tmp_path / "none" / "images").exists()
    toys(tmp_path / "table", toy_recipe, scenes=5, images="table")
    images = load_dataset(str(tmp_path / "table"), "images", split="train", cache_dir=str(tmp_path / "cache"))
    rows = load_dataset(str(tmp_path / "table"), cache_dir=str(tmp_path / "cache"))
    assert len(images) == 5 and images[0]["image"].size == (96, 96)
    assert {id for split in rows.values() for id in split["image_id"]} == set(images["image_id"])


def test_an_image_is_stored_once_for_its_rows(tmp_path) -> None:
    class ManyRows(OneRow):
        async def run(self, scene, llms):
            return 30 * await super().run(scene, llms)

    photo = jpeg((400, 300), quality=95)
    build([scene(0, photo, (400, 300))], ManyRows(), NOBODY, tmp_path, progress=False, split=0)
    (file,) = tmp_path.glob("data/**/*.parquet")
    assert len(pq.read_table(file)) == 30
    assert file.stat().st_size < 1.5 * len(photo)


MEASURE = """
import resource, sys
sys.path.insert(0, sys.argv[3] + "/..")
from conftest import ToyRecipe
from comvint_hf import build, load_scenes
from comvint_hf.generation.llm import LLMs, ScriptedLLM
build(load_scenes(f"shapes:{sys.argv[2]}"), ToyRecipe(), LLMs.one(ScriptedLLM([])), sys.argv[1], shard_scenes=100, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_the_data(tmp_path) -> None:
    def peak(scenes: int) -> float:
        code = [sys.executable, "-c", MEASURE, str(tmp_path / str(scenes)), str(scenes), str(Path(__file__).parent)]
        return float(subprocess.run(code, capture_output=True, text=True, check=True).stdout)

    assert peak(3000) - peak(500) < 30, "MiB"


def test_build_json_names_no_folder_of_this_machine(tmp_path, shared, toy_recipe) -> None:
    build(load_scenes(f"coco:{shared / 'coco'}", limit=5), toy_recipe, NOBODY, tmp_path, progress=False)
    written = "".join((tmp_path / name).read_text() for name in ("README.md", "build.json", "stats.json", "comvint.json"))
    assert str(shared) not in written and str(tmp_path) not in written
    assert json.loads((tmp_path / "build.json").read_text())["parts"][0]["scenes"] == "coco:coco"
