"""Image files: the usual folders, nothing outside them, and broken files noticed only when they are opened."""

import os
from collections import Counter

import pytest

from comvint_hf.errors import InputError
from comvint_hf.sources import load_scenes
from comvint_hf.sources.image_files import ESCAPING, LINKED, MISSING, NOT_REGULAR, ImageFolders


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


def test_links_out_of_the_named_folders_are_refused_and_counted(photo, tmp_path):
    secret, own = photo("home/secret.jpg"), photo("corpus/images/1.jpg")
    (own.parent / "link.jpg").symlink_to(secret)
    (own.parent / "sub").symlink_to(secret.parent)
    (own.parent / "again.jpg").symlink_to(own)
    (own.parent / "loop.jpg").symlink_to(own.parent / "loop.jpg")
    (tmp_path / "named").symlink_to(tmp_path / "corpus")
    counts: Counter[str] = Counter()
    folders = ImageFolders(tmp_path / "named", None, ["images"], counts)
    assert [folders.find(name) for name in ("link.jpg", "sub/secret.jpg", "loop.jpg")] == [None] * 3
    assert counts == {LINKED: 2, MISSING: 1}
    assert folders.find("again.jpg") and folders.find("1.jpg"), "the folder itself may be named through a link"
    assert ImageFolders(tmp_path / "corpus", tmp_path / "home", ["images"], counts).find("link.jpg"), "the user named its folder"


def test_pipes_and_devices_are_never_opened(instances, photo, tmp_path):
    instances([(1, "000000000001.jpg")], [(5, 1, [0, 0, 10, 10])])
    (tmp_path / "images" / "val2017").mkdir(parents=True)
    os.mkfifo(tmp_path / "images" / "val2017" / "000000000001.jpg")
    scenes = load_scenes(f"coco:{tmp_path}")
    (scene,) = scenes
    assert scene.image is None and scenes.counts[NOT_REGULAR] == 1
