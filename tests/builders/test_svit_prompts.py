"""What SVIT's builder sends about real images: the paper's counts, region boxes for referring only; and its test images."""

from __future__ import annotations

import base64
import io
import json
import re

import pyarrow.parquet as pq
import pytest
from builders.wired import asked_of, finish, start
from endpoint.server import Endpoint, serve
from PIL import Image

from comvint_hf import load_scenes
from comvint_hf.sources.visual_genome import official_test_ids

COUNTS = {
    "conversation": "Write 3 conversations",
    "complex_reasoning": "Write 15 questions",
    "referring_qa": "Write 10 questions",
    "detail_description": "Write one long, detailed description",
}
REGION = re.compile(r"^\[r\d+\] (.*)$", re.MULTILINE)
BOX = re.compile(r": \[\d\.\d{3}, \d\.\d{3}, \d\.\d{3}, \d\.\d{3}\]$")


@pytest.fixture(scope="module")
def built(shared, tmp_path_factory):
    out, endpoint = tmp_path_factory.mktemp("vg") / "set", Endpoint()
    spec = f"visual_genome:{shared / 'visual_genome'}"
    with serve(endpoint) as url:
        finish(start(url, out, "--store-images", "none", scenes=spec))
    return list(load_scenes(spec)), endpoint


def test_each_image_is_asked_for_four_tasks_with_the_papers_counts(built) -> None:
    scenes, endpoint = built
    for wanted in COUNTS.values():
        assert len(asked_of(endpoint, wanted)) == len(scenes), wanted
    assert all("write 5 questions with their answers" in text for text in asked_of(endpoint, COUNTS["conversation"]))


def test_objects_have_boxes_everywhere_and_regions_for_referring_only(built) -> None:
    _, endpoint = built
    seen = 0
    for task, wanted in COUNTS.items():
        for text in asked_of(endpoint, wanted):
            regions = REGION.findall(text)
            seen += len(regions)
            assert all(bool(BOX.search(region)) == (task == "referring_qa") for region in regions), task
            assert re.search(r"^\[o\d+\] .*: \[\d\.\d{3}, ", text, re.MULTILINE), task
            example = re.search(r"followed by its reference: <st>([^<>]+)<ed>\[(o\d+)\]", text)
            assert bool(example) == (task == "referring_qa")
            assert example is None or f"\n[{example[2]}] {example[1]}" in text, "the example is one of the scene's own objects"
    assert seen > 100


def test_the_official_held_out_images_are_the_test_split(shared, tmp_path) -> None:
    """The real annotations of two images, the second under the id of an image that SVIT holds out."""
    held_out = min(map(int, official_test_ids()))
    for role in ("objects", "region_graphs"):
        known = {entry["image_id"]: entry for entry in json.loads((shared / "visual_genome" / f"{role}.json").read_text())}
        (tmp_path / f"{role}.json").write_text(json.dumps([known[1], {**known[2], "image_id": held_out}]))
    sizes = [{"image_id": number, "width": 800, "height": 600, "coco_id": None} for number in (1, held_out)]
    (tmp_path / "image_data.json").write_text(json.dumps(sizes))
    endpoint, out = Endpoint(), tmp_path / "set"
    with serve(endpoint) as url:
        finish(start(url, out, "--store-images", "none", scenes=f"visual_genome:{tmp_path}"))
    splits = {"train": set(), "test": set()}
    for path in out.glob("without_images/**/*.parquet"):
        splits[path.name.split("-")[0]] |= set(pq.read_table(path, columns=["image_id"])["image_id"].to_pylist())
    assert splits == {"train": {"visual_genome/1"}, "test": {f"visual_genome/{held_out}"}}


def test_tasks_selects_what_is_asked(tmp_path) -> None:
    endpoint = Endpoint()
    with serve(endpoint) as url:
        finish(start(url, tmp_path / "set", "--tasks", "conversation,referring_qa", scenes="shapes:3"))
    found = {task for task, wanted in COUNTS.items() if asked_of(endpoint, wanted)}
    assert found == {"conversation", "referring_qa"}


@pytest.mark.parametrize(("flags", "side"), [((), 96), (("--see-pixels", "2500"), 50)])
def test_with_see_the_photo_goes_along_within_its_bound(flags, side, tmp_path) -> None:
    endpoint = Endpoint()
    with serve(endpoint) as url:
        finish(start(url, tmp_path / "set", "--see", *flags, "--tasks", "detail_description", scenes="shapes:2"))
    assert endpoint.requests
    for body in endpoint.requests:
        (picture,) = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        photo = Image.open(io.BytesIO(base64.b64decode(picture.removeprefix("data:image/jpeg;base64,"))))
        assert photo.size == (side, side)
