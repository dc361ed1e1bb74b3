"""Files of somebody else: each gives scenes or one sentence, in seconds and megabytes, and none reads a file outside its folder."""

import resource
import time

import pytest
from sources import hostile_annotations as hostile

from comvint_hf.errors import ComvintError
from comvint_hf.sources import load_scenes

# The whole of it is good but one entry: the rest must be read.
ONE_BAD_ENTRY = [
    "coco: nested in an annotation",
    "coco: entries that are none",
    "coco: NaN and infinity",
    "coco: numbers of 5,000 digits",
    "coco: numbers of 400 digits",
    "coco: sizes of 400 digits",
    "coco: a lone surrogate",
    "coco: bytes that are no UTF-8",
    "coco: captions of other types",
    "genome: objects of other types",
    "genome: ids of 5,000 digits",
    "genome: merged ids of other types",
    "flickr: numbers of 5,000 digits",
    "flickr: no UTF-8",
    "flickr: a mark again and again",
]


def read(name, folder):
    """The scenes, the counts and the error."""
    stream = None
    try:
        stream = load_scenes(hostile.write(name, folder))
        return list(stream), stream.counts, None
    except ComvintError as error:
        return [], stream and stream.counts, error


def test_the_table_is_large_enough():
    assert len(hostile.FILES) >= 36
    assert {source for source, _ in hostile.FILES.values()} == {"coco", "visual_genome", "flickr30k"}


@pytest.mark.parametrize("name", hostile.FILES)
def test_a_hostile_file_ends_in_scenes_or_a_sentence(name, tmp_path):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    scenes, _, error = read(name, tmp_path)
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024
    told = str(error)
    assert len(told) < 1500 and "\x1b" not in told and hostile.SECRET not in told
    for scene in scenes:
        assert scene.image is None or scene.image.resolve().is_relative_to(tmp_path / "corpus")
        written = scene.model_dump_json()
        assert hostile.SECRET not in written
        assert all(len(side) <= 6 for side in (str(scene.width), str(scene.height)))


@pytest.mark.parametrize("name", ONE_BAD_ENTRY)
def test_one_bad_entry_costs_itself_and_is_counted_with_an_example(name, tmp_path):
    scenes, counts, error = read(name, tmp_path)
    assert error is None and len(scenes) == 1
    if name.startswith("coco"):
        assert [thing.key for thing in scenes[0].objects] == ["1"]
    lost = counts.lost
    assert sum(lost.values()) >= 1
    assert all(counts.examples.get(reason) or "UTF-8" in reason for reason in lost if reason != "image files not found")
