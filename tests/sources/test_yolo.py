"""YOLO exports of several tools, and what is wrong with some of them."""

import pytest

from comvint_hf.errors import SourceError
from comvint_hf.sources import load_scenes

NAMES = "train: ../train/images\nnc: 2\nnames: ['cat', 'traffic_light']\n"


@pytest.mark.parametrize("names", [NAMES, "names:\n  0: cat\n  1: traffic_light\n"])
def test_an_export_with_splits(names, put, photo, tmp_path):
    put("data.yaml", names)
    photo("train/images/a.jpg", (100, 50))
    put("train/labels/a.txt", "1 0.2 0.3 0.2 0.4\n")
    photo("valid/images/a.jpg", (40, 30))
    put("valid/labels/a.txt", "0 0.5 0.5 1 1 0.9\n")
    first, second = load_scenes(f"yolo:{tmp_path}")
    assert (first.id, first.width) == ("yolo/train/images/a", 100)
    assert [(item.name, item.boxes[0].xyxy) for item in first.objects] == [("traffic light", pytest.approx((0.1, 0.1, 0.3, 0.5)))]
    assert [item.name for item in second.objects] == ["cat"]


def test_labels_beside_photos_and_names_in_text(put, photo, tmp_path):
    put("obj.names", "cat\ndog\n")
    photo("obj_train_data/a.jpg")
    put("obj_train_data/a.txt", "1 0.5 0.5 0.5 0.5\n")
    (scene,) = load_scenes(f"yolo:{tmp_path}")
    assert scene.objects[0].name == "dog"


def test_the_points_of_a_segment_give_the_box_around_them(put, photo, tmp_path):
    put("data.yaml", NAMES)
    photo("images/a.jpg")
    put("labels/a.txt", "0 0.2 0.2 0.6 0.2 0.4 0.8\n")
    (scene,) = load_scenes(f"yolo:{tmp_path}")
    assert scene.objects[0].boxes[0].xyxy == pytest.approx((0.2, 0.2, 0.6, 0.8))


def test_what_cannot_be_read_is_counted(put, photo, tmp_path):
    put("data.yaml", NAMES)
    photo("images/a.jpg")
    put(
        "labels/a.txt",
        "\ufeff0 0.5 0.5 0.5 0.5\n\n7 0.5 0.5 0.5 0.5\nx y\n1 0.5 0.5\n0 nan 0.5 0.1 0.1\n0 0.5 0.5 0 0\n1e400 1 1 1 1\n",
    )
    photo("images/b.jpg")
    put("images/c.jpg", "no picture")
    stream = load_scenes(f"yolo:{tmp_path}")
    first, second = stream
    assert (len(first.objects), second.objects) == (1, ())
    assert stream.counts == {
        "objects dropped: their class has no name": 1,
        "boxes without four numbers dropped": 4,
        "zero-area boxes dropped": 1,
        "images without a label file, read as without objects": 1,
        "images skipped: they cannot be read": 1,
    }


def test_a_photo_that_leads_out_of_the_folder_is_refused(put, photo, tmp_path):
    put("set/classes.txt", "cat\n")
    photo("set/a.jpg")
    (tmp_path / "set" / "b.jpg").symlink_to(photo("secret.jpg"))
    stream = load_scenes(f"yolo:{tmp_path / 'set'}")
    assert len(list(stream)) == 1
    assert stream.counts["image files refused because links lead out of the named folders (name theirs with --images)"] == 1


@pytest.mark.parametrize("content", [None, "names: 5", ": [", "a: &a [*a]"])
def test_an_export_without_names_is_refused(content, put, photo, tmp_path):
    photo("a.jpg")
    if content:
        put("data.yaml", content)
    with pytest.raises(SourceError, match="names"):
        load_scenes(f"yolo:{tmp_path}")
