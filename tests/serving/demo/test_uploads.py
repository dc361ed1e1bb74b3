"""Which files may be opened, without the gate in front: the second door holds alone."""

import os
from pathlib import Path

import pytest
from PIL import Image

from comvint_hf.errors import ImageError
from comvint_hf.serving.demo.limits import Limits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The upload folder, with an image, a link to one outside, a pipe and a folder."""
    uploads = tmp_path / "uploads"
    (uploads / "folder").mkdir(parents=True)
    for path in (uploads / "image.png", tmp_path / "secret.png"):
        Image.new("RGB", (8, 6), "red").save(path)
    (uploads / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(uploads / "pipe.png")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    return uploads


@pytest.mark.parametrize(
    "name", ["link.png", "pipe.png", "folder", "../secret.png", "none.png", "/proc/self/fd/1", "/dev/zero", "image.png\0", ""]
)
def test_only_a_regular_file_of_the_folder_is_opened(folder: Path, name: str) -> None:
    import gradio as gr
    from gradio.data_classes import ImageData

    from comvint_hf.serving.demo.uploads import UploadedImage, read_upload

    path = os.path.join(folder, name)  # an absolute name replaces the folder
    with pytest.raises(ImageError, match="not uploaded here"):
        read_upload(path, Limits())
    for given in (path, name):
        with pytest.raises(gr.Error, match="not uploaded here"):
            UploadedImage().preprocess(ImageData(path=given))
    assert read_upload(str(folder / "image.png"), Limits()).size == (8, 6)


def test_one_upload_serves_one_session() -> None:
    from comvint_hf.serving.demo.uploads import Uploads

    uploads = Uploads()
    uploads.add("a")
    assert [uploads.claim("a", session) for session in ("one", "one", "two", None)] == [True, True, False, False]
    uploads.add("a")
    assert [uploads.claim("a", session) for session in ("two", "three", "one")] == [True, False, True]
    assert not uploads.claim("b", "one") and not uploads.claim(["a"], "one") and not uploads.claim(None, "one")
