"""The door for pixels: what is decoded, what is refused, and with which words."""

import io
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comvint_hf import images
from comvint_hf.errors import ImageError
from comvint_hf.image_paths import find_named, is_inside, resolve_inside
from comvint_hf.images import decode_image, fit_pixels, read_checked, read_encoded, read_size, to_data_url
from comvint_hf.read_counts import ReadCounts
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_door_shows_a_photo_upright(file, orientation, tmp_path):
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    Image.open(file).save(file, exif=exif)
    shown = (48, 64) if orientation >= 5 else (64, 48)
    counts = ReadCounts()
    opened, decoded = Image.open(file), decode_image(file, counts=counts)
    assert decoded.size == decode_image(opened).size == read_size(file) == read_size(file.read_bytes()) == shown
    assert decode_image(decoded).tobytes() == decoded.tobytes(), "what is upright is not turned again"
    assert counts == ({} if orientation == 1 else {images.TURNED: 1}) and not counts.lost
    scene = Scene(id="toy/1", source="toy", image=file, width=shown[0], height=shown[1])
    assert scene.open().size == shown and read_checked(scene) == (file.read_bytes(), None)


def test_a_broken_orientation_turns_nothing(file):
    encoded = file.read_bytes()
    broken = encoded[:2] + b"\xff\xe1\x00\x12Exif\0\0" + b"\xff" * 10 + encoded[2:]
    assert decode_image(broken).size == read_size(broken) == (64, 48)


def ramp(mode: str) -> Image.Image:
    """A ramp from dark to bright, 96 x 96, in a mode of more than 8 bits."""
    numbers = np.linspace(0, 65535, 96 * 96).reshape(96, 96)
    if mode == "F":
        return Image.fromarray((numbers / 65535).astype(np.float32))
    return Image.fromarray(numbers.astype(np.int32 if mode == "I" else np.uint16))


@pytest.mark.parametrize(("mode", "format"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I", "TIFF"), ("F", "TIFF")])
def test_more_than_8_bits_are_scaled_and_not_cut(mode, format):
    encoded, counts = images.encode_image(ramp(mode), format), ReadCounts()
    decoded = np.asarray(decode_image(encoded, counts=counts))
    assert decoded.shape == (96, 96, 3) and counts == {images.DEEP: 1}
    assert abs(decoded.mean() - 127.5) < 2 and decoded.min() == 0 and decoded.max() >= 254
    assert (np.diff(decoded[..., 0].ravel().astype(int)) >= 0).all()
    assert decode_image(ramp(mode)).getpixel((95, 95)) == decode_image(encoded).getpixel((95, 95))


def test_values_without_a_known_range_are_refused():
    with pytest.raises(ImageError, match="reach from -5"):
        decode_image(images.encode_image(Image.fromarray(np.full((4, 4), -5, np.int32)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode):
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 2, 4))
    counts = ReadCounts()
    decoded = decode_image(images.encode_image(image.convert(mode) if mode != "P" else image.quantize(), "PNG"), counts=counts)
    assert decoded.getpixel((3, 0)) == (255, 255, 255) and decoded.getpixel((0, 0)) != (255, 255, 255)
    assert counts == {images.TRANSPARENT: 1}
    assert decode_image(Image.new("RGBA", (2, 2), (9, 9, 9, 255))).getpixel((0, 0)) == (9, 9, 9)


def test_print_colours_and_the_first_frame_are_read_and_counted():
    counts = ReadCounts()
    assert decode_image(images.encode_image(Image.new("CMYK", (4, 4)), "JPEG"), counts=counts).getpixel((0, 0)) == (255, 255, 255)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    film = images.encode_image(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(film, counts=counts).getpixel((0, 0)) == (255, 0, 0)
    assert counts == {images.PRINT_COLOURS: 1, images.FIRST_FRAME: 1}


def test_what_other_readers_would_show_otherwise_is_stored_as_it_is_shown(tmp_path):
    path, counts = tmp_path / "deep.png", ReadCounts()
    ramp("I;16").save(path)
    encoded, problem = read_checked(Scene(id="toy/1", source="toy", image=path, width=96, height=96), counts)
    assert problem is None and Image.open(io.BytesIO(encoded)).mode == "RGB"
    assert Image.open(io.BytesIO(encoded)).tobytes() == decode_image(path).tobytes()
    assert counts == {images.DEEP: 1}


def png_header(width: int, height: int) -> bytes:
    """A PNG of almost no bytes that says how large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + data + chunk(b"IEND", b"")
    )


HOSTILE = {
    "a bomb": png_header(20_000, 20_000),
    "a bomb on its side": png_header(100_000, 2),
    "no pixels": png_header(0, 5),
    "a postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "a pdf": b"%PDF-1.4\n",
    "an icon": b"icns" + b"\0" * 100,
    "html": b"<html></html>",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bombs_and_other_formats_are_refused_before_they_are_decoded(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_image(HOSTILE[name])
    assert read_size(HOSTILE[name]) is None
    assert read_checked(Scene(id="toy/1", source="toy", image=HOSTILE[name], width=9, height=9)) == (None, images.UNDECODABLE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_jpeg_of_thousands_of_passes_is_refused(file):
    encoded = file.read_bytes()
    with pytest.raises(ImageError, match="more than 300 passes"):
        decode_image(encoded[:-2] + b"\xff\xda" * 400 + encoded[-2:])


def test_pipes_devices_addresses_and_folders_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (
        tmp_path / "pipe.jpg",
        Path("/dev/zero"),
        "/dev/null",
        tmp_path,
        "http://127.0.0.1:9/a.jpg",
        "file:///etc/passwd",
    ):
        with pytest.raises(ImageError, match="cannot be decoded"):
            decode_image(path)
        assert read_size(Path(path)) is None


def test_a_link_out_of_the_named_folder_is_not_followed_but_for_the_cache_of_the_hub(file, tmp_path):
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "1.jpg").symlink_to(file)
    assert resolve_inside(tmp_path / "named", "1.jpg") is None
    repository = tmp_path / "datasets--org--photos"
    (repository / "blobs").mkdir(parents=True)
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    file.rename(repository / "blobs" / "0123")
    (snapshot / "1.jpg").symlink_to("../../blobs/0123")
    assert resolve_inside(snapshot, "1.jpg") == (repository / "blobs" / "0123").resolve()
    assert resolve_inside(snapshot, "../../blobs/../../secret.jpg") is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("coco\\1.jpg", True),
        ("./coco/1.jpg", True),
        ("/data/photos/coco/1.jpg", True),
        ("C:\\work\\coco\\1.jpg", True),
        ("https://host/coco/1.jpg", True),
        ("/elsewhere/1.jpg", False),  # its last part alone may be another photo
        ("../1.jpg", False),
        ("coco/../../1.jpg", False),
        ("", False),
        ("\0", False),
    ],
)
def test_a_name_from_another_machine_is_found_by_its_parts_and_only_inside(tmp_path, name, found):
    photos = tmp_path / "photos"
    (photos / "coco").mkdir(parents=True)
    for path in (photos / "coco" / "1.jpg", photos / "1.jpg", tmp_path / "1.jpg"):
        path.write_bytes(b"")
    path = find_named(photos, name)
    assert path == (photos / "coco" / "1.jpg" if found else None)


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


def test_boxes_are_outlined_and_the_rest_of_the_image_stays():
    import io

    from PIL import Image

    from comvint_hf.images import outline_boxes
    from comvint_hf.types import Box

    plain = io.BytesIO()
    Image.new("RGB", (100, 50), "white").save(plain, "PNG")
    drawn = Image.open(io.BytesIO(outline_boxes(plain.getvalue(), [Box(x1=0.1, y1=0.2, x2=0.5, y2=0.8)])))
    assert drawn.getpixel((10, 10)) == drawn.getpixel((49, 39)) == (255, 0, 0)
    assert drawn.getpixel((30, 25)) == drawn.getpixel((70, 25)) == (255, 255, 255)
