"""JSON in a stream: positions of faults, the join by image id, and memory that does not grow with the files."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comvint_hf.errors import SourceError
from comvint_hf.sources import json_stream
from comvint_hf.sources.json_stream import group_by_image, read_entries, read_integer


def test_entries_come_one_by_one(put):
    path = put("a.json", {"images": [{"id": 1}, {"id": 2.5}], "other": [3]})
    assert list(read_entries(path, "images.item")) == [{"id": 1}, {"id": 2.5}]


def test_a_byte_order_mark_is_no_fault(put):
    assert list(read_entries(put("a.json", b'\xef\xbb\xbf[{"id": 1}]'), "item")) == [{"id": 1}]


@pytest.mark.parametrize("broken", [b"", b"[", b'[{"id": 1}, {"id"', b'[{"id": 1} 2]', b'[{"id": 1}] more', b'{"id" 1}'])
def test_a_broken_file_is_an_error_that_names_file_and_byte(put, broken):
    path = put("broken.json", broken)
    with pytest.raises(SourceError, match=r"is not whole JSON: .*, at byte [\d,]+") as refusal:
        list(read_entries(path, "images.item" if broken.startswith(b"{") else "item", Counter()))
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("bad", [b"nonsense", b'{"a": "\xff\xfe"}', b'{"a": "\\ud800"}', b"[" * 300 + b"]" * 300, b'{"a": tru}'])
def test_a_broken_entry_is_skipped_and_counted_and_an_error_where_nobody_counts(put, bad):
    path, counts = put("a.json", b'[{"id": 1}, ' + bad + b', {"id": NaN}, {"id": 3}]'), Counter()
    numbers = [entry["id"] for entry in read_entries(path, "item", counts)]
    assert numbers[::2] == [1, 3] and numbers[1] != numbers[1] and counts.total() == 1
    with pytest.raises(SourceError, match=r"entry 2 is .* at byte 12"):
        list(read_entries(path, "item"))


def test_the_position_of_a_late_fault_is_late(put):
    text = json.dumps([{"id": number} for number in range(40_000)])
    path = put("broken.json", text[:-1] + ", oops]")
    with pytest.raises(SourceError, match=f"at byte {len(text) + 1:,}"):
        list(read_entries(path, "item"))


def test_whole_numbers_are_read_strictly():
    assert read_integer({"id": "12"}, "image_id", "id") == 12
    assert read_integer({"id": 12.0}, "id") == 12
    for bad in (True, None, "x", "", 1.5, [1], 1 << 70, "9" * 5000):
        assert read_integer({"id": bad}, "id") is None
    assert read_integer(["id"], "id") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=3), st.integers(8, 40))
def test_files_in_any_order_meet_by_image_id(tmp_path_factory, monkeypatch, numbers, block):
    monkeypatch.setattr(json_stream, "BLOCK", block)  # so that numbers are cut by block borders
    folder = tmp_path_factory.mktemp("join")
    files = []
    for position, listed in enumerate(numbers):
        path = folder / f"{position}.json"
        path.write_text(json.dumps([{"note": f"{position}.{at}", "image_id": number} for at, number in enumerate(listed)]))
        files.append((f"role{position}", path))
    expected = {
        number: {
            f"role{position}": [f"{position}.{at}" for at, other in enumerate(listed) if other == number]
            for position, listed in enumerate(numbers)
            if number in listed
        }
        for number in sorted({number for listed in numbers for number in listed})
    }
    walked = [(number, roles) for number, roles in group_by_image(files, Counter())]
    assert [number for number, _ in walked] == list(expected)
    assert {
        number: {role: [entry["note"] for entry in found] for role, found in roles.items()} for number, roles in walked
    } == expected


def test_a_single_entry_is_a_file_too_and_one_without_id_is_counted(put):
    counts: Counter[str] = Counter()
    one, more = put("one.json", {"image_id": 3, "attributes": []}), put("more.json", [{"relationships": []}, {"id": 3}, 7])
    assert [(number, sorted(roles)) for number, roles in group_by_image([("a", one), ("b", more)], counts)] == [(3, ["a", "b"])]
    assert counts == {f"more.json: {json_stream.NO_ID}": 2}
    words = put("words.json", [{"image_id": "a"}, {"image_id": 1.5}, {"image_id": 3}])
    assert [number for number, _ in group_by_image([("a", words)], counts)] == [3]
    assert counts[f"words.json: {json_stream.NO_NUMBER}"] == 2


def test_a_file_whose_order_cannot_be_seen_is_an_error_not_a_wrong_join(put):
    path = put("odd.json", '[{"image\\u005fid": 2}, {"image\\u005fid": 1}]')
    with pytest.raises(SourceError, match="back from image 2 to 1"):
        list(group_by_image([("a", path)], Counter()))


WRITE = """
import json, sys
folder, entries, order = sys.argv[1], int(sys.argv[2]), sys.argv[3]
numbers = list(range(1, entries + 1))
if order == "reversed": numbers.reverse()
filler = ["padding.n.01" * 20] * 40
with open(folder + "/objects.json", "w") as file:
    file.write("[")
    for position, number in enumerate(numbers):
        thing = {"object_id": number, "names": ["cat"], "synsets": filler, "x": 1, "y": 1, "w": 9, "h": 9}
        file.write((", " if position else "") + json.dumps({"image_id": number, "objects": [thing]}))
    file.write("]")
with open(folder + "/image_data.json", "w") as file:
    json.dump([{"image_id": number, "width": 100, "height": 50} for number in numbers], file)
with open(folder + "/instances_val2017.json", "w") as file:
    file.write('{"images": ' + json.dumps([{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 50} for n in numbers]))
    file.write(', "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}], "annotations": [')
    polygon = [[1.25] * 1900]
    for position, number in enumerate(reversed(numbers)):
        thing = {"id": number, "image_id": number, "category_id": 1, "bbox": [1, 1, 9.5, 9], "segmentation": polygon}
        file.write((", " if position else "") + json.dumps(thing))
    file.write("]}")
"""
READ = """
import resource, sys
from comvint_hf.sources import load_scenes
count = sum(len(scene.objects) for scene in load_scenes(sys.argv[1]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _script(code: str, *arguments: object) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, timeout=240, check=True
    )
    return list(map(int, done.stdout.split()))


@pytest.mark.parametrize(("order", "spec"), [("sorted", "visual_genome"), ("reversed", "visual_genome"), ("sorted", "coco")])
def test_memory_does_not_grow_with_the_files(tmp_path: Path, order, spec):
    small, large = tmp_path / "small", tmp_path / "large"
    peaks = []
    for folder, images in ((small, 50), (large, 6000)):
        folder.mkdir()
        _script(WRITE, folder, images, order)
        found, peak = _script(READ, f"{spec}:{folder}")
        assert found == images
        peaks.append(peak / 1024)
    main = large / ("objects.json" if spec == "visual_genome" else "instances_val2017.json")
    assert main.stat().st_size > 55e6
    assert peaks[1] - peaks[0] < 30, f"peak memory grew from {peaks[0]:.0f} to {peaks[1]:.0f} MiB"
