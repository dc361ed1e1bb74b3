"""Records refuse what is not true of them, and samples keep their history."""

import io

import pytest
from PIL import Image
from pydantic import ValidationError

from comvint_hf.errors import InputError
from comvint_hf.types import Box, Object, Region, Sample, Scene

BOX = Box(x1=0.1, y1=0.2, x2=0.5, y2=0.6)


def scene(**changes) -> Scene:
    man = Object(tag="o1", key="77", name="man", boxes=(BOX,))
    region = Region(tag="r1", text="a man on a bench", box=BOX, objects=("o1",))
    return Scene(
        **{"id": "toy/1", "source": "toy", "width": 100, "height": 50, "objects": (man,), "regions": (region,), **changes}
    )


@pytest.mark.parametrize("corners", [(0.5, 0, 0.4, 1), (0, -0.1, 1, 1), (0, 0, 1, 1.01), (float("nan"), 0, 1, 1)])
def test_a_box_is_ordered_fractions(corners: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="ordered fractions"):
        Box(**dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)))


def test_records_are_frozen_and_refuse_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        BOX.x1 = 0.3
    with pytest.raises(ValidationError):
        Object(tag="o1", key="1", name="man", nmae="typo")


def test_a_scene_finds_objects_and_regions_by_tag() -> None:
    assert scene().by_tag["o1"].name == "man"
    assert scene().by_tag["r1"].text == "a man on a bench"


def test_open_reads_files_bytes_and_renderers(tmp_path) -> None:
    picture = Image.new("RGB", (4, 3), "red")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    for image in (tmp_path / "a.png", buffer.getvalue(), lambda: picture):
        assert scene(image=image).open().getpixel((0, 0)) == (255, 0, 0)
        assert Image.open(io.BytesIO(scene(image=image).image_bytes())).size == (4, 3)


@pytest.mark.parametrize("image", [None, b"not a picture", b"\xff\xd8\xff\xe0truncated"])
def test_open_explains_a_missing_or_broken_image(image) -> None:
    with pytest.raises(InputError, match="toy/1"):
        scene(image=image).open()


def test_rewrite_keeps_what_was_said_before() -> None:
    first = Sample(scene=scene()).write([("Who is there?", "A man.")], task="cross_modal")
    second = first.rewrite("complicate", ("Who sits on the bench?", "A man does."), rounds=1)
    assert (second.instruction, second.response, second.rounds) == ("Who sits on the bench?", "A man does.", 1)
    assert [(e.stage, e.instruction, e.response) for e in second.history] == [("complicate", "Who is there?", "A man.")]
    assert first.history == () and second.reject("why").reason == "why" and second.reason is None
