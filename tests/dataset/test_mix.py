"""Mixes: what is chosen, what never leaks, and that photos and terms come along."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from datasets import load_dataset

from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import MixSelection, mix
from comvint_hf.dataset.reader import describe_missing_images, read_build_info, read_rows
from comvint_hf.dataset.swap_folder import recover
from comvint_hf.errors import InputError


def rows_of(folder) -> list[dict]:
    return [row for name in read_build_info(folder)["files"] for row in read_rows(folder / name)]


def test_a_mix_opens_like_any_dataset_and_keeps_rows_and_photos_as_they_were(tmp_path, toy_dataset) -> None:
    first, second = toy_dataset(scenes=12), toy_dataset(scenes=30)
    statistics = mix([open_input(str(first)), open_input(str(second))], tmp_path / "mix")
    whole = {row["id"]: row for row in rows_of(second) if "reason" not in row}
    mixed = {row["id"]: row for row in rows_of(tmp_path / "mix")}
    assert mixed == whole, "the first twelve scenes are the same in both"
    assert statistics.notes["rows left out: their id and text came before"] == sum("reason" not in row for row in rows_of(first))
    plain = load_dataset(str(tmp_path / "mix"), cache_dir=str(tmp_path / "cache"))
    assert sum(map(len, plain.values())) == statistics.kept == len(whole)
    assert not set(plain["train"]["image_id"]) & set(plain["test"]["image_id"])
    for split, rows in plain.items():
        assert [row["id"] for row in load_dataset(str(tmp_path / "mix"), split=split, streaming=True)] == rows["id"][:]


def test_limits_work_on_tasks_and_formats_of_train_and_leave_test_alone(tmp_path, toy_dataset) -> None:
    source = toy_dataset(scenes=30)
    test_rows = Counter(row["task"] for row in load_dataset(str(source), split="test"))
    mix([open_input(str(source))], tmp_path, MixSelection(take={"referring_qa": 10, "choice": 4}))
    train = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    tasks, formats = Counter(train["task"]), Counter(train["format"])
    assert (tasks["referring_qa"], formats["choice"]) == (10, 4) and tasks["conversation"] > 20
    assert Counter(load_dataset(str(tmp_path), split="test", cache_dir=str(tmp_path / "cache"))["task"]) == test_rows


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_rows(tmp_path, toy_dataset) -> None:
    source = open_input(str(toy_dataset(scenes=30)))
    for name, seed in (("a/set", 1), ("b/set", 1), ("c/set", 2)):
        mix([source], tmp_path / name, MixSelection(take={"conversation": 5}, seed=seed))
    files = [
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")}
        for name in ("a", "b", "c")
    ]
    assert files[0] == files[1] != files[2]


def llava(folder, name: str, answers: list[str], image: str | None = None) -> str:
    turns = [[{"from": "human", "value": "Is it so?"}, {"from": "gpt", "value": answer}] for answer in answers]
    records = [{"id": f"{name}-{number}", "conversations": turn} for number, turn in enumerate(turns)]
    for record in records if image else ():
        record["image"] = image
        record["conversations"][0]["value"] = "<image>\nIs it so?"
    (folder / f"{name}.json").write_text(json.dumps(records))
    return str(folder / f"{name}.json")


def test_yes_and_no_are_balanced(tmp_path) -> None:
    source = open_input(llava(tmp_path, "a", ["Yes."] * 40 + ["No."] * 2 + ["A dog."] * 3))
    statistics = mix([source], tmp_path / "mix", MixSelection(yes_no=8))
    assert statistics.tasks["conversation"].yes_no == {"yes": 16, "no": 2} and statistics.kept == 21
    assert statistics.notes == {"rows of train left out: answers yes beyond the balance": 24}


def test_the_coreset_prefers_informative_rows(tmp_path) -> None:
    dull, rich = ["It is so."] * 50, ["Two red wooden chairs stand left of a large round table behind a man."] * 50
    mix([open_input(llava(tmp_path, "a", dull + rich))], tmp_path / "mix", MixSelection(coreset=30))
    answers = {row["messages"][1]["content"] for row in rows_of(tmp_path / "mix")}
    assert answers == set(rich) and len(rows_of(tmp_path / "mix")) == 30


def test_text_only_rows_photos_and_missing_photos_find_their_places(tmp_path, toy_dataset) -> None:
    inputs = [
        open_input(str(toy_dataset())),
        open_input(str(toy_dataset(scenes=30, images="table"))),
        open_input(llava(tmp_path, "text", ["Fine."])),
        open_input(llava(tmp_path, "blind", ["Fine."], "gone.jpg")),
    ]
    mix(inputs, tmp_path / "mix")
    cache = str(tmp_path / "cache")
    train = load_dataset(str(tmp_path / "mix"), split="train", cache_dir=cache)
    assert {len(row["images"]) for row in train if row["id"] == "text-0"} == {0}
    blind = load_dataset(str(tmp_path / "mix"), "without_images", split="train", cache_dir=cache)
    assert "blind/gone.jpg" in blind["image_id"] and "images" not in blind.column_names
    images = load_dataset(str(tmp_path / "mix"), "images", split="train", cache_dir=cache)
    held = set(blind["image_id"]) | set(
        load_dataset(str(tmp_path / "mix"), "without_images", split="test", cache_dir=cache)["image_id"]
    )
    assert set(images["image_id"]) == held - {"blind/gone.jpg"}


def test_an_image_of_any_test_split_is_trained_on_nowhere(tmp_path, toy_dataset) -> None:
    mostly_train, mostly_test = toy_dataset(scenes=12, split=0.0), toy_dataset(scenes=12, split=0.5, images="table")
    copied = tmp_path / "renamed"
    mix([open_input(str(mostly_test))], copied, MixSelection(split="test"))
    statistics = mix([open_input(str(copied)), open_input(str(mostly_train))], tmp_path / "mix")
    rows = rows_of(tmp_path / "mix")
    assert (
        statistics.notes["rows left out of train: their image is in test"]
        + statistics.notes["rows left out: their id and text came before"]
        > 0
    )
    trained = {
        row["image_id"]
        for path in tmp_path.glob("mix/**/train-*.parquet")
        for row in read_rows(path)
        if path.parent.name != "images"
    }
    tested = {row["image_id"] for path in tmp_path.glob("mix/**/test-*.parquet") for row in read_rows(path)}
    assert tested and trained and not trained & tested and len({row["image_id"] for row in rows}) == 12


def test_terms_and_provenance_of_every_part_are_in_the_card(tmp_path, toy_dataset) -> None:
    mix(
        [open_input(str(toy_dataset())), open_input(llava(tmp_path, "theirs", ["Fine."]))],
        tmp_path / "mix",
        MixSelection(take={"open": 3}),
    )
    text = (tmp_path / "mix" / "README.md").read_text()
    assert "recipe | toy" in text and "theirs.json" in text and "at most 3 of open" in text and "license: other" in text


def test_another_mix_in_the_same_folder_is_refused_unless_overwritten(tmp_path, toy_dataset) -> None:
    source = open_input(str(toy_dataset()))
    mix([source], tmp_path, MixSelection(seed=1))
    with pytest.raises(InputError, match="was made with --seed 1, and this command says --seed 2"):
        mix([source], tmp_path, MixSelection(seed=2))
    mix([source], tmp_path, MixSelection(seed=2), overwrite=True)


def test_what_lay_in_the_folder_of_a_mix_stays_there(tmp_path, toy_dataset) -> None:
    theirs = [tmp_path / "mix" / name for name in ("images/photo.jpg", "data/notes.txt")]
    for path in theirs:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    mix([open_input(str(toy_dataset()))], tmp_path / "mix")
    assert [path.read_text() for path in theirs] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("/nowhere/at/all", "no folder"), ("nowhere.json", "no file"), ("./nowhere", "no folder")],
)
def test_what_is_not_there_is_said(name, said) -> None:
    with pytest.raises(InputError, match=said):
        open_input(name)


def test_a_limit_on_an_unknown_task_and_an_empty_mix_are_said(tmp_path, toy_dataset) -> None:
    source = open_input(str(toy_dataset()))
    with pytest.raises(InputError, match="pattern 'refering_qa': expected one of the tasks conversation"):
        mix([source], tmp_path / "a", MixSelection(take={"refering_qa": 3}))
    with pytest.raises(InputError, match="no rows left"):
        mix([source], tmp_path / "b", MixSelection(split="validation"))


def test_only_rows_of_a_pattern_and_test_rows_among_them(toy_dataset, tmp_path) -> None:
    source = open_input(str(toy_dataset()))
    mix([source], tmp_path / "mix", MixSelection(only=("*/bool/count*", "cross_modal"), take={"*/bool/*": 4}))
    rows = load_dataset(str(tmp_path / "mix"))
    kinds = {split: Counter((row["task"], row["format"]) for row in rows[split]) for split in rows}
    assert set(kinds["train"]) == set(kinds["test"]) == {("conversation", "bool"), ("cross_modal", "choice")}
    assert kinds["train"][("conversation", "bool")] == 4


def test_every_row_that_is_left_out_is_counted_by_its_reason(toy_dataset, tmp_path) -> None:
    source = open_input(str(toy_dataset(scenes=30)))
    choice = MixSelection(only=("conversation", "cross_modal"), coreset=20, take={"bool": 5}, yes_no=2, split="train")
    statistics = mix([source, source], tmp_path / "mix", choice)
    whole = sum("reason" not in row for row in rows_of(toy_dataset(scenes=30)))
    assert statistics.kept + statistics.notes.total() == 2 * whole
    assert {note.partition(": ")[2] for note in statistics.notes} == {
        "their id and text came before",
        "of another split",
        "of no kind that was asked for",
        "the coreset has others",
        "beyond what was to be taken",
    }
    assert "rows left out: of another split: " in (tmp_path / "mix" / "README.md").read_text()


def test_rows_without_their_photo_are_told_with_their_number_and_what_to_do(toy_dataset, tmp_path) -> None:
    assert describe_missing_images(toy_dataset()) == ""
    assert "attach_images(rows, " in (said := describe_missing_images(toy_dataset(images="table"))) and "config `images`" in said
    assert describe_missing_images(toy_dataset(images=False)).startswith("None of the ")
    mix([open_input(str(toy_dataset())), open_input(llava(tmp_path, "blind", ["Fine."] * 3, "gone.jpg"))], tmp_path / "mix")
    said = describe_missing_images(tmp_path / "mix")
    assert said.startswith("3 rows without their image are in the config `without_images`: attach_images(load_dataset(")


def test_a_mix_over_its_own_input_is_refused_before_anything_is_touched(tmp_path, toy_dataset, monkeypatch) -> None:
    source = toy_dataset(fresh=True)
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "above").symlink_to(source.parent)
    monkeypatch.chdir(source.parent)
    outs = (source, tmp_path / "link", tmp_path / "above" / source.name, f"x/../{source.name}", source / "data", source.parent)
    for out in outs:
        for overwrite in (True, False):
            with pytest.raises(InputError, match="choose another --out; nothing was changed"):
                mix([open_input(str(source))], out, overwrite=overwrite)
    with pytest.raises(InputError, match="is also the output"):
        mix([open_input(str(toy_dataset(scenes=30))), open_input(str(tmp_path / "link"))], source, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moment", ["read", "write", "card"])
def test_an_overwrite_that_fails_leaves_the_old_mix_whole(moment, tmp_path, toy_dataset, monkeypatch) -> None:
    out = tmp_path / "mix"
    mix([open_input(str(toy_dataset()))], out)
    before = contents(out)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    name = {"read": "_scan", "write": "shards._rename_synced", "card": "write_card"}[moment]
    monkeypatch.setattr(f"comvint_hf.dataset.mix.{name}", fail)
    with pytest.raises(OSError, match="No space"):
        mix([open_input(str(toy_dataset(scenes=30)))], out, overwrite=True)
    assert contents(out) == before and [path.name for path in tmp_path.iterdir()] == ["mix"]


KILLED_MIX = """
import os, sys
from pathlib import Path
from comvint_hf.dataset import swap_folder
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import mix
source, out, left, exchange = sys.argv[1:]
if exchange == "False":
    swap_folder._exchange = lambda one, other: False
steps, parent = 0, str(Path(out).parent)
def audit(event, arguments):
    global steps
    writes = event in ("os.rename", "os.remove", "os.rmdir", "os.link", "os.mkdir", "shutil.rmtree")
    if writes or event == "open" and parent in str(arguments[0]) and "w" in str(arguments[1]):
        steps += 1
        if steps == int(left):
            os._exit(9)
sys.addaudithook(audit)
mix([open_input(source)], out, overwrite=True)
print(steps)
"""


@pytest.mark.parametrize("exchange", [True, False])
def test_an_overwrite_that_is_killed_leaves_the_old_mix_or_the_new_one(exchange, tmp_path, toy_dataset) -> None:
    first, second, out = toy_dataset(), toy_dataset(scenes=30), tmp_path / "place" / "mix"

    def run(left: int) -> tuple[int, str]:
        arguments = [sys.executable, "-c", KILLED_MIX, str(second), str(out), str(left), str(exchange)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 9), done.stderr
        return done.returncode, done.stdout

    def dataset() -> dict[str, bytes]:
        return {name: content for name, content in contents(out).items() if name.endswith((".parquet", ".json", ".md"))}

    def reset() -> dict[str, bytes]:
        mix([open_input(str(first))], out, overwrite=True)
        (out / "data" / "notes.txt").write_text("mine")
        return dataset()

    old = reset()
    steps, new = int(run(0)[1]), dataset()
    assert new != old and steps > 30 and reset() == old
    outcomes = set()
    for left in (steps // 3, *range(steps - 36, steps + 1, 12)):
        assert run(left)[0] == 9
        if not out.exists():  # killed between the two renames: the next run puts it back
            assert not exchange
            recover(out)
        assert (out / "data" / "notes.txt").read_text() == "mine"
        outcomes.add("new" if (found := dataset()) == new else "old" if found == old else "neither")
        assert reset() == old
    assert outcomes == {"old", "new"}
    assert [path.name for path in out.parent.iterdir()] == ["mix"]
