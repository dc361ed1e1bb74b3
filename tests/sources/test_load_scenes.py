"""The one door: its grammar, its laziness, its counts."""

import subprocess
import sys
from collections import Counter

import pytest

from comvint_hf.errors import SourceError
from comvint_hf.registry import sources
from comvint_hf.sources import load_scenes


@pytest.mark.parametrize(
    "spec", ["", "shapes", "shapes:", "shapes:many", "shapes:5,size=3", "shapes:5,level", "shapes:-1", "coco"]
)
def test_a_name_that_is_no_source_is_refused_with_the_grammar(spec):
    with pytest.raises(SourceError, match="expected shapes:COUNT"):
        load_scenes(spec)


def test_a_name_that_nobody_declares_is_refused_with_the_names():
    with pytest.raises(SourceError, match="No source is called 'photos': expected shapes, coco"):
        load_scenes("photos:here")


@pytest.mark.parametrize("name", ["coco", "visual_genome", "flickr30k"])
def test_a_missing_folder_is_refused_before_anything_is_read(name, tmp_path):
    with pytest.raises(SourceError, match="is not a folder"):
        load_scenes(f"{name}:{tmp_path}/nowhere")


@pytest.mark.parametrize(
    ("name", "expected"), [("coco", "instances_"), ("visual_genome", "objects.json"), ("flickr30k", "Annotations")]
)
def test_an_empty_folder_is_refused_naming_the_files(name, expected, tmp_path):
    with pytest.raises(SourceError, match=expected) as refusal:
        load_scenes(f"{name}:{tmp_path}")
    assert str(tmp_path) in str(refusal.value)


def test_a_missing_folder_of_photos_is_refused(instances, tmp_path):
    instances([(1, "1.jpg")])
    with pytest.raises(SourceError, match="--images"):
        load_scenes(f"coco:{tmp_path}", images=tmp_path / "nowhere")
    with pytest.raises(SourceError, match="its own images"):
        load_scenes("shapes:3", images=tmp_path)


def test_a_stream_can_be_read_again_and_counts_each_time_from_zero(instances, tmp_path):
    instances([(1, "1.jpg"), (2, "2.jpg")], [(7, 1, [0, 0, 0, 5])])
    stream = load_scenes(f"coco:{tmp_path}")
    first, counted = list(stream), Counter(stream.counts)
    assert list(stream) == first
    assert stream.counts == counted == {"image files not found": 2, "zero-area boxes dropped": 1}


def test_limit_ends_the_stream(instances, tmp_path):
    instances([(number, f"{number}.jpg") for number in range(1, 6)])
    assert [scene.id for scene in load_scenes(f"coco:{tmp_path}", limit=2)] == ["coco/1", "coco/2"]
    assert list(load_scenes(f"coco:{tmp_path}", limit=0)) == []
    with pytest.raises(SourceError, match="limit"):
        load_scenes(f"coco:{tmp_path}", limit=-1)


def test_a_corpus_without_one_usable_scene_says_why(flickr):
    folder = flickr("1", "<object>", "Hello .")
    with pytest.raises(SourceError, match="their XML is broken: 1"):
        list(load_scenes(f"flickr30k:{folder}"))


def test_shapes_take_their_level_and_seed():
    grid, free = (list(load_scenes(spec, seed=3)) for spec in ("shapes:4", "shapes:4,level=free"))
    assert len(grid) == len(free) == 4
    assert grid != free
    assert [scene.captions for scene in grid] == [scene.captions for scene in load_scenes("shapes:4", seed=3)]
    assert [scene.captions for scene in grid] != [scene.captions for scene in load_scenes("shapes:4", seed=4)]


def test_terms_travel_with_the_stream():
    assert load_scenes("shapes:1").licence.name == "apache-2.0"
    assert not sources.get("flickr30k").licence.images_may_be_shared
    assert sources.get("visual_genome").licence.name == sources.get("coco").licence.name == "cc-by-4.0"


def test_the_door_is_light():
    heavy = "('torch', 'datasets', 'PIL', 'sqlite3', 'comvint_hf.sources.coco', 'comvint_hf.sources.shapes')"
    code = f"import sys, comvint_hf.sources; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.strip() == "[]"
