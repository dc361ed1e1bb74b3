"""The door for pixels: what is decoded, what is refused, and with which words."""

import io
from pathlib import Path

import pytest
from PIL import Image

from comvint_hf import images
from comvint_hf.errors import ImageError
from comvint_hf.images import decode_image, fit_pixels, is_inside, read_checked, read_encoded, read_size, to_data_url
from comvint_hf.types import Scene


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A JPEG of 64 x 48 pixels."""
    Image.effect_noise((64, 48), 80).convert("RGB").save(tmp_path / "1.jpg", quality=95)
    return tmp_path / "1.jpg"


def test_every_form_of_an_image_is_decoded_to_rgb(file):
    grey = Image.new("L", (3, 2))
    forms = [file, str(file), file.read_bytes(), {"bytes": file.read_bytes(), "path": None}, {"bytes": None, "path": str(file)}]
    for form in forms:
        assert decode_image(form).size == (64, 48)
    assert decode_image(grey).mode == "RGB"
    assert decode_image(rgb := Image.new("RGB", (3, 2))) is rgb


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"no image", "The image cannot be decoded"),
        (Path("nowhere.jpg"), "The image nowhere.jpg cannot be decoded"),
        (7, "The image is of type int: expected a PIL image"),
        (None, "The image is of type NoneType"),
        ({}, "cannot be decoded"),
    ],
)
def test_anything_else_is_refused(image, message):
    with pytest.raises(ImageError, match=message):
        decode_image(image)


def test_a_truncated_file_is_refused_now_and_not_later(file):
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(ImageError, match="The image of toy/1 cannot be decoded"):
        Scene(id="toy/1", source="toy", image=file, width=64, height=48).open()


def test_an_image_is_turned_upright_where_that_is_asked(file):
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    Image.open(file).save(file, exif=exif)
    assert decode_image(file).size == (64, 48)
    assert decode_image(file, upright=True).size == (48, 64)


def test_encoded_images_stay_as_they_are_and_rendered_ones_become_png(file):
    assert read_encoded(file) == read_encoded(str(file)) == read_encoded(file.read_bytes()) == file.read_bytes()
    assert Image.open(io.BytesIO(read_encoded(lambda: Image.new("RGB", (4, 3))))).format == "PNG"


def test_a_size_comes_from_the_header_alone(file, tmp_path):
    assert read_size(file) == read_size(file.read_bytes()) == (64, 48)
    assert read_size(file.read_bytes()[:-100]) == (64, 48)
    assert read_size(b"not an image") is None
    assert read_size(tmp_path / "nowhere.jpg") is None


@pytest.mark.parametrize(
    ("image", "size", "reason"),
    [
        (None, (64, 48), images.MISSING),
        (Path("nowhere.jpg"), (64, 48), images.MISSING),
        (b"not an image", (64, 48), images.UNDECODABLE),
        ("file", (48, 64), images.ANOTHER_SHAPE),
        ("file", (640, 480), None),
    ],
)
def test_an_image_is_checked_against_its_annotation(file, image, size, reason):
    scene = Scene(id="toy/1", source="toy", image=file if image == "file" else image, width=size[0], height=size[1])
    encoded, problem = read_checked(scene)
    assert problem == reason
    assert encoded == (None if reason else file.read_bytes())


def test_pixels_are_bounded_on_both_sides():
    image = Image.new("RGB", (400, 100))
    assert fit_pixels(image) is image
    assert fit_pixels(image, max_pixels=10_000).size == (200, 50)
    assert fit_pixels(image, min_pixels=160_000).size == (800, 200)


def test_a_data_url_holds_the_whole_image():
    assert to_data_url(Image.new("RGB", (2, 2)), "PNG").startswith("data:image/png;base64,iVBOR")
    assert to_data_url(Image.new("RGB", (2, 2)), quality=90).startswith("data:image/jpeg;base64,/9j/")


@pytest.mark.parametrize("name", ["../1.jpg", "a/../../1.jpg", "/etc/passwd", "..\\1.jpg", "C:1.jpg", "1\0.jpg", "", ".."])
def test_names_that_leave_their_folder_are_recognised(name):
    assert not is_inside(name)


@pytest.mark.parametrize("name", ["1.jpg", "val2017/1.jpg", "a..b.jpg", "...jpg"])
def test_ordinary_names_are_not(name):
    assert is_inside(name)
