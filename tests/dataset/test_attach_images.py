"""Joining photos to rows: by folder, by mapping, by a config `images`; plain, streaming, whole dictionaries."""

from __future__ import annotations

import pytest
from datasets import Dataset, load_dataset
from PIL import Image

from comvint_hf import attach_images
from comvint_hf.errors import RowError

IDS = ["coco/139", "coco/139", "coco/285", "flickr30k/36979", ""]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "val2017").mkdir(parents=True)
    for size, name in enumerate(("val2017/000000000139.jpg", "COCO_val2014_000000000285.jpg", "36979.PNG"), start=1):
        Image.new("RGB", (size, 1)).save(folder / name)
    return folder


@pytest.fixture
def rows():
    return Dataset.from_dict({"image_id": IDS, "id": list(range(len(IDS)))})


def widths(rows) -> list[list[int]]:
    return [[picture.size[0] for picture in row["images"]] for row in rows]


def test_a_folder_of_photos_is_found_by_name_with_or_without_zeros(rows, photos) -> None:
    expected = [[1], [1], [2], [3], []]
    assert widths(attach_images(rows, photos)) == expected
    assert widths(attach_images(rows.to_iterable_dataset(), photos)) == expected
    assert attach_images(rows, photos).column_names == ["image_id", "id", "images"]


def layout(tmp_path, *names: str):
    """A folder of photos, each of its own width."""
    for width, name in enumerate(names, start=1):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, 1)).save(tmp_path / name)
    return tmp_path


def of(*ids: str) -> Dataset:
    return Dataset.from_dict({"image_id": list(ids)})


def test_corpora_in_one_folder_keep_their_photos_apart(tmp_path) -> None:
    folder = layout(tmp_path, "coco/train2017/000000000009.jpg", "vg/VG_100K/9.jpg", "flickr30k/9.jpg")
    rows = of("coco/9", "visual_genome/9", "flickr30k/9", "mix/coco/train2017/000000000009.jpg", "mix/VG_100K/9.jpg")
    assert widths(attach_images(rows, folder)) == [[1], [2], [3], [1], [2]]


def test_a_photo_of_another_corpus_is_none(tmp_path) -> None:
    folder = layout(tmp_path, "coco/train2017/000000000009.jpg")
    with pytest.raises(RowError, match="1 of 1 images are missing there, such as visual_genome/9"):
        attach_images(of("visual_genome/9"), folder)
    with pytest.raises(RowError, match="such as mine/coco/val2014/000000000009.jpg"):
        attach_images(of("mine/coco/val2014/000000000009.jpg"), folder)


def test_two_files_that_could_be_an_image_are_named_unless_they_are_equal(tmp_path) -> None:
    folder = layout(tmp_path, "a/7.jpg", "b/7.jpg", "a/8.jpg")
    (tmp_path / "b" / "8.jpg").write_bytes((tmp_path / "a" / "8.jpg").read_bytes())
    assert widths(attach_images(of("mine/8"), folder)) == [[3]]
    for rows in (of("mine/7"), of("mine/7").to_iterable_dataset()):
        with pytest.raises(RowError, match="Several files could be the image mine/7: a/7.jpg and b/7.jpg"):
            list(attach_images(rows, folder))
    assert widths(attach_images(of("mine/a/7.jpg", "mine/b/7", "mine/b/7.jpg"), folder)) == [[1], [2], [2]]


def test_splits_that_number_their_own_photos_are_told_by_their_folder(tmp_path) -> None:
    folder = layout(tmp_path, "train/0.jpg", "valid/0.jpg")
    assert widths(attach_images(of("coco/train/0", "coco/valid/0"), folder)) == [[1], [2]]
    with pytest.raises(RowError, match="missing"):
        attach_images(of("coco/test/0"), folder)


def test_a_link_out_of_the_folder_is_no_photo_of_it(tmp_path) -> None:
    secret = layout(tmp_path / "home", "9.jpg") / "9.jpg"
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "9.jpg").symlink_to(secret)
    with pytest.raises(RowError, match="missing"):
        attach_images(of("mine/9"), tmp_path / "named")


def test_a_mapping_will_do(rows, photos) -> None:
    attached = attach_images(rows.select([3, 4]), {"flickr30k/36979": photos / "36979.PNG"})
    assert widths(attached) == [[3], []]


def test_a_missing_photo_is_an_error_or_its_rows_are_left_out(rows, photos) -> None:
    (photos / "36979.PNG").unlink()
    with pytest.raises(RowError, match="1 of 3 images are missing there, such as flickr30k/36979"):
        attach_images(rows, photos)
    with pytest.raises(RowError, match="The image flickr30k/36979 is missing"):
        list(attach_images(rows.to_iterable_dataset(), photos))
    with pytest.warns(UserWarning, match="1 row is left out: 1 of 3 images are missing there, such as flickr30k/36979"):
        assert attach_images(rows, photos, missing="drop")["id"][:] == [0, 1, 2, 4]
    stream = attach_images(rows.to_iterable_dataset(), photos, missing="drop")
    with pytest.warns(UserWarning, match="1 row is left out so far: the image flickr30k/36979 is missing"):
        assert [row["id"] for row in stream] == [0, 1, 2, 4]


def test_of_a_stream_the_rows_left_out_are_counted_now_and_then(photos) -> None:
    rows = Dataset.from_dict({"image_id": ["coco/1"] * 25 + ["coco/139"]}).to_iterable_dataset()
    with pytest.warns(UserWarning, match="left out so far") as told:
        assert len(list(attach_images(rows, photos, missing="drop"))) == 1
    assert [str(one.message).split()[0] for one in told] == ["1", "10"]


def test_rows_that_have_photos_are_left_alone(rows, photos) -> None:
    with pytest.raises(RowError, match="already"):
        attach_images(attach_images(rows, photos), photos)


def test_a_dataset_folder_with_the_config_images_gives_its_photos(toy_dataset) -> None:
    folder, whole = toy_dataset(images="table"), toy_dataset()
    attached = attach_images(load_dataset(str(folder)), str(folder))
    with_photos = load_dataset(str(whole))
    for split in with_photos:
        assert attached[split]["id"][:] == with_photos[split]["id"][:]
        for ours, theirs in zip(attached[split], with_photos[split], strict=True):
            assert ours["images"][0].tobytes() == theirs["images"][0].tobytes()
    assert attached["train"].features["images"] == with_photos["train"].features["images"]
