"""Image files: the usual folders, nothing outside them, and broken files noticed only when they are opened."""

from collections import Counter

import pytest

from comvint_hf.errors import InputError
from comvint_hf.sources import load_scenes
from comvint_hf.sources.image_files import ESCAPING, MISSING, ImageFolders


def test_an_escaping_name_is_refused_even_where_the_file_exists(photo, tmp_path):
    photo("secret.jpg")
    photo("corpus/images/1.jpg")
    counts: Counter[str] = Counter()
    folders = ImageFolders(tmp_path / "corpus", None, ["images"], counts)
    assert folders.find("../secret.jpg", "1.jpg") is None
    assert counts == {ESCAPING: 1}


def test_the_given_folder_comes_before_the_usual_places(photo, tmp_path):
    usual, given = photo("corpus/images/1.jpg"), photo("elsewhere/1.jpg")
    counts: Counter[str] = Counter()
    assert ImageFolders(tmp_path / "corpus", None, ["images"], counts).find("1.jpg") == usual
    assert ImageFolders(tmp_path / "corpus", tmp_path / "elsewhere", ["images"], counts).find("1.jpg") == given
    assert ImageFolders(tmp_path / "corpus", None, ["images"], counts).find("2.jpg", "3.jpg") is None
    assert counts == {MISSING: 1}


def test_a_truncated_photo_is_noticed_when_it_is_opened(instances, photo, tmp_path):
    instances([(1, "000000000001.jpg")], [(5, 1, [0, 0, 10, 10])])
    path = photo("images/val2017/000000000001.jpg")
    path.write_bytes(path.read_bytes()[:-400])
    (scene,) = load_scenes(f"coco:{tmp_path}")
    assert scene.image == path
    with pytest.raises(InputError, match="cannot be decoded"):
        scene.open()
