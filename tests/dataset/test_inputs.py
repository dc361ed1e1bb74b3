"""Datasets that others made, as parts of a mix: pictures by path, one picture a row, odd tasks, columns of other forms."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Image, List, Value, load_dataset
from PIL import Image as Pillow

from comvint_hf.dataset.inputs import REFUSED, HubInput, import_rows, open_input
from comvint_hf.dataset.mix import mix
from comvint_hf.dataset.preview import render_page, sample_rows
from comvint_hf.dataset.reader import read_build_info, read_rows
from comvint_hf.errors import InputError, RowError
from comvint_hf.images import NOT_READABLE, OUTSIDE
from comvint_hf.read_counts import ReadCounts

TALK = [{"role": "user", "content": "<image>\nWhich colour?"}, {"role": "assistant", "content": "Red."}]


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Two photos of their own sizes."""
    (tmp_path / "photos").mkdir()
    paths = [tmp_path / "photos" / f"{number}.png" for number in range(2)]
    for width, path in enumerate(paths, start=1):
        Pillow.new("RGB", (width, 1)).save(path)
    return [str(path) for path in paths]


def widths(rows: list[dict]) -> list[list[int]]:
    return [[Pillow.open(io.BytesIO(picture["bytes"])).size[0] for picture in row["images"]] for row in rows]


def test_pictures_that_are_paths_become_bytes_and_name_their_image(files) -> None:
    """A repository of picture files and a metadata.jsonl is loaded so."""
    rows = Dataset.from_dict({"messages": [TALK] * 3, "images": [[files[0]], [files[1]], [files[0]]]})
    rows = rows.cast_column("images", List(Image()))
    folder = Path(files[0]).parent
    found = list(import_rows(rows, "org/theirs", "train", folder=folder))
    assert widths(found) == [[1], [2], [1]] and not [row for row in found if row["images"][0]["path"]]
    assert [row["image_id"] for row in import_rows(rows, "org/theirs", "train", True, folder)] == [
        row["image_id"] for row in found
    ]
    assert found[0]["image_id"] == found[2]["image_id"] != found[1]["image_id"]
    assert found[0]["image_id"].startswith("org/theirs/") and found[1]["width"] == 2
    assert found[0]["messages"][0]["content"] == "Which colour?"
    assert found[0]["image_id"] == next(import_rows(rows, "org/theirs", "test", folder=folder))["image_id"], (
        "or it could be trained and tested on"
    )


def test_one_picture_a_row_is_a_picture_too(files) -> None:
    rows = Dataset.from_dict({"messages": [TALK], "image": files[:1]}).cast_column("image", Image())
    (row,) = import_rows(rows, "org/theirs", "train", folder=Path(files[0]).parent)
    assert widths([row]) == [[1]] and "image" not in row


@pytest.mark.parametrize(
    ("path", "said"),
    [("gone.png", "its image 'gone.png' cannot be read: expected an image file in"), (__file__, "cannot be read")],
)
def test_a_path_that_is_no_picture_here_is_named(path, said) -> None:
    rows = Dataset.from_dict({"messages": [TALK], "images": [[path]]})
    with pytest.raises(RowError, match=f"Row 'org/theirs/train/0' of org/theirs.*{said}") as refusal:
        list(import_rows(rows, "org/theirs", "train", folder=Path(__file__).parent))
    assert refusal.value.reason == NOT_READABLE


def test_a_task_is_a_name_that_a_folder_can_have() -> None:
    tasks = ["../../outside", "a/b", "conversation", "/", None]
    rows = Dataset.from_dict({"messages": [TALK] * 5, "task": tasks, "image_id": ["1"] * 5})
    assert [row["task"] for row in import_rows(rows, "x", "train")] == [
        "outside",
        "a-b",
        "conversation",
        "conversation",
        "conversation",
    ]


def test_columns_of_other_forms_are_cast_or_left_out_with_a_word() -> None:
    rows = Dataset.from_dict(
        {"messages": [TALK], "image_id": ["1"], "id": [7], "rounds": ["many"], "topic": [None], "boxes": [[[0.0, 0.5, 1.0, 1.0]]]}
    )
    with pytest.warns(UserWarning, match="The column `rounds` of x is of another form"):
        (row,) = import_rows(rows, "x", "train")
    assert (row["id"], row["rounds"], row["topic"], row["boxes"]) == ("7", 0, "", [[0.0, 0.5, 1.0, 1.0]])


def test_turns_of_parts_are_read_and_turns_without_text_refused() -> None:
    def talk(content) -> Dataset:
        return Dataset.from_dict(
            {"messages": [[{"role": "user", "content": content}, {"role": "assistant", "content": content}]]}
        )

    (row,) = import_rows(talk([{"type": "text", "text": "a"}]), "x", "train")
    assert [message["content"] for message in row["messages"]] == ["a", "a"]
    with pytest.raises(RowError, match="expected a role .* and a text"):
        list(import_rows(talk(None), "x", "train"))
    counts = ReadCounts()
    (refused,) = import_rows(talk(None), "x", "train", counts=counts)
    assert refused["refused"] == "records skipped: a turn without text" and "Row 'x/train/0' of x" in str(counts.examples)


@pytest.mark.parametrize("column", ["image", "images"])
def test_a_row_whose_image_is_null_is_left_out_and_never_trained_blind(column, tmp_path) -> None:
    kind = Image() if column == "image" else List(Image())
    turn = {"role": Value("string"), "content": Value("string")}
    blank = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "That."}]
    given = [{column: None if column == "image" else [None], "messages": TALK}]
    if column == "image":
        given.append({column: None, "messages": blank})  # about no image
    rows = Dataset.from_list(given, features=Features({column: kind, "messages": List(turn)}))
    counts = ReadCounts()
    found = list(import_rows(rows, "x", "train", counts=counts))
    assert [row.get("refused", "") for row in found] == ["records skipped: about an image that they do not have", ""][
        : len(found)
    ]
    assert len(counts.examples) == 1


def test_conversations_of_llava_are_messages(files) -> None:
    talk = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "Red."}]
    rows = Dataset.from_dict({"conversations": [talk], "image": files[:1]}).cast_column("image", Image())
    (row,) = import_rows(rows, "x", "train", folder=Path(files[0]).parent)
    assert [tuple(message.values()) for message in row["messages"]] == [("user", "Which?"), ("assistant", "Red.")]


def test_a_dataset_without_messages_does_not_mix() -> None:
    with pytest.raises(RowError, match="no column `messages` but text"):
        list(import_rows(Dataset.from_dict({"text": ["a"]}), "x", "train"))


def test_rows_of_a_repository_come_with_the_photos_of_its_config_images(toy_dataset, tmp_path) -> None:
    folder = toy_dataset(images="table")
    mix([HubInput(str(folder), read_build_info(folder)["parts"])], tmp_path / "mix")
    found = {row["image_id"]: row["image"]["bytes"] for row in _images(tmp_path / "mix")}
    assert found == {row["image_id"]: row["image"]["bytes"] for row in _images(folder)} and len(found) > 5
    load_dataset(str(tmp_path / "mix"), cache_dir=str(tmp_path / "cache"))


def _images(folder) -> list[dict]:
    names = (name for name in read_build_info(folder)["files"] if name.startswith("images/"))
    return [row for name in names for row in read_rows(folder / name)]


def test_a_repository_that_is_not_there_is_said(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be loaded .*; expected a dataset folder here, a LLaVA file"):
        list(HubInput(str(tmp_path / "nothing"), []).rows())


def test_a_mix_of_picture_files_holds_its_pictures(files, tmp_path) -> None:
    """An imagefolder: `load_dataset` gives paths of this machine, of which none may be left."""
    import json

    lines = [{"file_name": f"{number}.png", "messages": TALK} for number in range(2)]
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    mix([HubInput(str(tmp_path / "photos"), [])], tmp_path / "mix")
    rows = [row for name in read_build_info(tmp_path / "mix")["files"] for row in read_rows(tmp_path / "mix" / name)]
    assert widths(rows) == [[1], [2]] and str(tmp_path / "photos" / "0") not in str(rows)


@pytest.fixture
def secret(tmp_path):
    """An image that the user named nowhere, and names under which a dataset in `theirs` may ask for it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "theirs").mkdir()
    path = tmp_path / "home" / "secret.png"
    Pillow.new("RGB", (77, 7)).save(path)
    (tmp_path / "theirs" / "link.png").symlink_to(path)
    (tmp_path / "theirs" / "folder").symlink_to(path.parent)
    return path, [str(path), path.as_uri(), "../home/secret.png", "link.png", "folder/secret.png", "/proc/self/environ", ""]


def test_rows_that_name_files_of_this_machine_are_left_out_and_counted(secret, tmp_path) -> None:
    path, names = secret
    theirs = tmp_path / "theirs"
    Pillow.new("RGB", (5, 5)).save(theirs / "own.png")
    images = [[{"bytes": None, "path": name}] for name in [*names, "own.png"]]
    columns = {"messages": [TALK] * len(images), "images": images}
    rows = Dataset.from_dict(columns).cast_column("images", List(Image(decode=False)))
    rows.add_column("image_id", [str(number) for number in range(len(images))]).to_parquet(theirs / "train.parquet")
    statistics = mix([HubInput(str(theirs), [])], tmp_path / "mix")
    assert statistics.notes == {OUTSIDE: len(names)} and statistics.kept == 1
    assert path.read_bytes() not in b"".join(file.read_bytes() for file in (tmp_path / "mix").rglob("*.parquet"))
    assert all(REFUSED in row for row in import_rows(rows, "org/theirs", "train")), "a repository holds its images"
    with pytest.raises(InputError, match="has no rows left"):
        mix([HubInput(str(rows_without_ids(rows.select([0]), tmp_path)), [])], tmp_path / "none")


def rows_without_ids(rows: Dataset, tmp_path) -> Path:
    (tmp_path / "bare").mkdir()
    rows.to_parquet(tmp_path / "bare" / "train.parquet")
    return tmp_path / "bare"


def test_a_dataset_folder_of_somebody_else_shows_and_mixes_no_file_of_this_machine(secret, toy_dataset, tmp_path) -> None:
    _, names = secret
    folder = toy_dataset(fresh=True)
    for number, file in enumerate(sorted(folder.glob("data/**/*.parquet"))):
        table = pq.read_table(file)
        column = [[{"bytes": None, "path": names[number % len(names)]}]] * len(table)
        index = table.column_names.index("images")
        pq.write_table(
            table.set_column(index, table.schema.field("images"), pa.array(column, table.schema.field("images").type)), file
        )
    with pytest.raises(InputError, match="no rows left"):
        mix([open_input(str(folder))], tmp_path / "none")
    page = render_page(sample_rows(folder, 20), "theirs")
    assert page.count("no image here") == 20 and "data:image" not in page
    info = json.loads((folder / "build.json").read_text())
    (folder / "build.json").write_text(json.dumps({**info, "files": {"data/../../home/x.parquet": 1}}))
    with pytest.raises(InputError, match="expected a file in the dataset's own folder"):
        read_build_info(folder)


def test_llava_records_read_images_of_the_named_folder_only(secret, tmp_path) -> None:
    path, names = secret
    Pillow.new("RGB", (5, 5)).save(tmp_path / "theirs" / "own.png")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup."}]
    stolen = {"images": [{"bytes": None, "path": str(path)}]}
    names = [name for name in names if name]
    records = [{"id": str(n), "image": name, "conversations": turns} for n, name in enumerate([*names, "own.png"])]
    records.append({"id": "t", "conversations": [{**turns[0], "value": "Hi"}, turns[1]], "comvint": stolen})
    (tmp_path / "theirs.json").write_text(json.dumps(records))
    statistics = mix([open_input(str(tmp_path / "theirs.json"), tmp_path / "theirs")], tmp_path / "mix")
    assert statistics.notes == {OUTSIDE: len(names)} and statistics.kept == 2
    whole = b"".join(file.read_bytes() for file in (tmp_path / "mix").rglob("*.parquet"))
    assert path.read_bytes() not in whole and b"home/secret" not in whole
