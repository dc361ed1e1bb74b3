"""`comvint check` reads everything, writes nothing, and says what would be lost."""

import json

import pytest
from click.testing import CliRunner

from comvint_hf.cli import main
from comvint_hf.pipeline.check import check
from comvint_hf.sources import load_scenes


@pytest.fixture
def coco(tmp_path):
    """Three photos: one whole, one shown again smaller, one missing; an annotation without a box."""
    photo = next(iter(load_scenes("shapes:1"))).open().crop((0, 0, 96, 48))
    (tmp_path / "images").mkdir()
    photo.resize((100, 50)).save(tmp_path / "images" / "1.jpg", quality=95)
    photo.resize((200, 100)).save(tmp_path / "images" / "2.jpg", quality=60)
    images = [
        {"id": number, "file_name": f"{number}.jpg", "width": 100 * (1 + (number == 2)), "height": 50 * (1 + (number == 2))}
        for number in (1, 2, 3)
    ]
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 25]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": None},
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "instances_x.json").write_text(json.dumps(content))
    return tmp_path


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_source_with_losses(coco):
    before = snapshot(coco)
    report = check(f"coco:{coco}", shown=False)
    assert (report.read, report.complete) == (3, False)
    assert report.holding == {"objects": 1}
    assert report.counts.lost == {"boxes without four numbers dropped": 1, "image files not found": 1}
    assert report.duplicates == [["coco/1", "coco/2"]]
    assert "3.jpg" in " ".join(report.lines())
    assert snapshot(coco) == before, "a check writes nothing"


def test_a_source_without_any_photo_loses_none(coco):
    for path in (coco / "images").iterdir():
        path.unlink()
    report = check(f"coco:{coco}", shown=False)
    assert report.counts.lost == {"boxes without four numbers dropped": 1}


def test_the_command_ends_with_1_where_something_is_lost(coco):
    run = CliRunner().invoke(main, ["check", f"coco:{coco}", "--json"])
    assert run.exit_code == 1, run.output
    told = json.loads(run.stdout)
    assert (told["images"], told["complete"], told["lost"]["boxes without four numbers dropped"]) == (3, False, 1)


def test_the_command_ends_with_0_where_nothing_is_lost():
    run = CliRunner().invoke(main, ["check", "shapes:5"])
    assert run.exit_code == 0, run.output
    assert "5 images can be used" in run.output
    assert "Nothing would be lost." in run.output


def test_llava_records(tmp_path):
    turns = [{"from": "human", "value": "Is it red?"}, {"from": "gpt", "value": "Yes."}]
    records = [{"id": "a", "conversations": turns}, {"id": "b", "conversations": []}, {"id": "c", "conversations": turns}]
    (tmp_path / "mix.json").write_text(json.dumps(records))
    report = check(str(tmp_path / "mix.json"), shown=False)
    assert report.read == 2
    assert sum(report.counts.lost.values()) == 1


def test_a_dataset_that_was_built_here(tmp_path):
    out = tmp_path / "built"
    assert CliRunner().invoke(main, ["build", "--recipe", "svit", "--scenes", "shapes:3", "--out", str(out)]).exit_code == 0
    report = check(str(out), shown=False)
    assert report.complete
    assert report.read > 3


@pytest.mark.parametrize("name", ["coco:nowhere", "nowhere/at/all", "nowhere.json"])
def test_what_is_not_there_is_one_sentence(name):
    run = CliRunner().invoke(main, ["check", name])
    assert run.exit_code in (1, 2)
    assert "Traceback" not in run.output
