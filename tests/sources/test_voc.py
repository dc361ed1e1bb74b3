"""Pascal VOC files of several tools, and what is wrong with some of them."""

import pytest

from comvint_hf.errors import SourceError
from comvint_hf.sources import load_scenes

FILE = """<annotation><folder>x</folder><filename>{file}</filename><size><width>{width}</width><height>50</height><depth>3</depth></size>
<object><name>traffic_light</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>25</ymax></bndbox></object>{more}</annotation>"""
BROKEN = "<object><name>cat</name><bndbox><xmin>nan</xmin></bndbox></object><object><name></name></object>"


def xml(file: str = "a.jpg", width: int = 100, more: str = "") -> str:
    return FILE.format(file=file, width=width, more=more)


def test_the_official_layout(put, photo, tmp_path):
    put("Annotations/a.xml", xml())
    photo("JPEGImages/a.jpg", (100, 50))
    (scene,) = load_scenes(f"voc:{tmp_path}")
    assert scene.id == "voc/Annotations/a"
    assert scene.image == tmp_path / "JPEGImages" / "a.jpg"
    (found,) = scene.objects
    assert (found.name, found.boxes[0].xyxy, found.attributes) == ("traffic light", (0.1, 0.1, 0.3, 0.5), ("truncated",))


def test_an_export_with_the_same_names_in_every_split(put, photo, tmp_path):
    for split, size in (("train", (100, 50)), ("valid", (40, 50))):
        put(f"{split}/a.xml", xml(width=size[0]))
        photo(f"{split}/a.jpg", size)
    scenes = list(load_scenes(f"voc:{tmp_path}"))
    assert [(scene.id, scene.image.parent.name, scene.width) for scene in scenes] == [
        ("voc/train/a", "train", 100),
        ("voc/valid/a", "valid", 40),
    ]


def test_a_windows_path_and_a_size_of_zero(put, photo, tmp_path):
    put("a.xml", xml("C:\\photos\\a.jpg", width=0))
    photo("a.jpg", (100, 50))
    (scene,) = load_scenes(f"voc:{tmp_path}")
    assert (scene.width, scene.image.name) == (100, "a.jpg")


def test_what_cannot_be_read_is_counted(put, tmp_path):
    put("a.xml", xml(more=BROKEN))
    put("b.xml", "<annotation><object>")
    put("c.xml", '<!DOCTYPE a [<!ENTITY x "y">]><annotation/>')
    put("d.xml", "<project/>")
    put("e.xml", "<annotation><filename>no.jpg</filename></annotation>")
    stream = load_scenes(f"voc:{tmp_path}")
    (scene,) = stream
    assert len(scene.objects) == 1
    assert stream.counts == {
        "boxes without four numbers dropped": 1,
        "objects dropped: no name": 1,
        "annotation files skipped: their XML is broken": 1,
        "annotation files skipped: their XML declares a document type or entities": 1,
        "XML files left out: they hold no VOC annotation": 1,
        "images skipped: no size in the file and no readable image": 1,
        "image files not found": 2,
    }


def test_a_name_that_leaves_the_folder_reads_nothing(put, photo, tmp_path):
    photo("secret.jpg", (100, 50))
    put("set/a.xml", xml("../secret.jpg"))
    (scene,) = load_scenes(f"voc:{tmp_path / 'set'}")
    assert scene.image is None


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(SourceError, match="expected \\*.xml"):
        load_scenes(f"voc:{tmp_path}")
