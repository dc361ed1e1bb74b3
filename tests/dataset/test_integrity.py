"""A dataset's files are those that were written: what is not is named, whatever the bit and whoever reads."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from comvint_hf.cli import main
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.integrity import check_integrity, require_integrity
from comvint_hf.dataset.mix import mix
from comvint_hf.dataset.reader import read_build_info
from comvint_hf.errors import InputError


def stats(folder: Path, code: int) -> str:
    done = CliRunner().invoke(main, ["stats", str(folder), "--verify"])
    assert done.exit_code == code and not isinstance(done.exception, Exception), done.output
    return done.output


def flip(path: Path, place: int) -> None:
    changed = bytearray(path.read_bytes())
    changed[place] ^= 1 << place % 8
    path.write_bytes(changed)


def change(folder: Path, **changed) -> None:
    path = folder / "build.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_a_whole_dataset_is_said_to_be_whole(toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    found = check_integrity(folder)
    assert found.files == len(read_build_info(folder)["files"]) and not found.problems and not found.without_hash
    assert f"{found.files} of {found.files} files of rows are as they were written." in stats(folder, 0)


def test_any_flipped_bit_is_found_and_its_file_named(toy_dataset) -> None:
    folder, chance = toy_dataset(fresh=True), random.Random(7)
    for name in read_build_info(folder)["files"]:
        path = folder / name
        place = chance.randrange(path.stat().st_size)
        flip(path, place)
        assert check_integrity(folder).problems == [f"{path} is not as it was written: its SHA-256 is another."], (name, place)
        flip(path, place)
    require_integrity(folder)
    flip(path, 100)
    assert str(path) in stats(folder, 1)


def test_missing_cut_and_foreign_files_are_named(toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    first, second, third, *_ = (folder / name for name in read_build_info(folder)["files"])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-7])
    (third.parent / "train-00077.parquet").write_bytes(third.read_bytes())
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "mine.parquet").write_bytes(third.read_bytes())
    told = stats(folder, 1)
    assert f"{first} is missing." in told and f"{second} is not as it was written" in told
    assert "train-00077.parquet is not of this dataset, and load_dataset would read it" in told and "mine" not in told


def test_an_older_dataset_without_hashes_is_compared_by_its_rows(toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    info = read_build_info(folder)
    change(folder, sha256={})
    told = stats(folder, 0)
    assert f"0 of {len(info['files'])} files" in told and f"{len(info['files'])} have no stored hash" in told
    name = next(iter(info["files"]))
    change(folder, files={**info["files"], name: 1000})
    assert "build.json says 1,000" in stats(folder, 1)
    (folder / name).write_bytes(b"no parquet")
    assert f"{folder / name} cannot be read" in stats(folder, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": []},
        {"sha256": {"data/x/train-00000.parquet": "0" * 64}},
        {"sha256": None},
        {"plots": ["lengths.png"]},
        {"plots": {"lengths.png": "short"}},
        {"files": {"data/../data/train-00000.parquet": 3}, "sha256": {}},
        {"files": {"data//train-00000.parquet": 3}, "sha256": {}},
    ],
)
def test_a_build_json_of_another_form_is_said_in_a_sentence(changed, toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    change(folder, **changed)
    assert "build.json" in stats(folder, 1)
    with pytest.raises(InputError, match=r"build\.json"):
        open_input(str(folder))


@pytest.mark.parametrize("name", ["build.json", "stats.json"])
@pytest.mark.parametrize("written", [b"", b"{", b"[]", b"null", b'{"tasks": 3, "files": 4}', b"\xff", b"[" * 10**5])
def test_damaged_metadata_never_ends_in_a_traceback(name, written, toy_dataset, tmp_path) -> None:
    folder = toy_dataset(fresh=True)
    (folder / name).write_bytes(written)
    done = CliRunner().invoke(main, ["stats", str(folder)])
    assert done.exit_code in (1, 2) and isinstance(done.exception, SystemExit) and name in done.output
    if name == "build.json":
        with pytest.raises(InputError, match=r"build\.json"):
            mix([open_input(str(folder))], tmp_path / "mix")


def test_a_mix_names_a_damaged_file(toy_dataset, tmp_path) -> None:
    folder = toy_dataset(fresh=True)
    path = next(folder / name for name in read_build_info(folder)["files"] if name.startswith("data/"))
    whole = path.read_bytes()
    flip(path, len(whole) // 3)  # in an image, so that every row can be read
    with pytest.warns(UserWarning, match=f"{path.name} is not as it was written"):
        mix([open_input(str(folder))], tmp_path / "mix")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning), pytest.raises(InputError, match=f"{path.name} cannot be read"):
        mix([open_input(str(folder))], tmp_path / "cut")


def test_a_mix_and_the_build_of_it_carry_hashes(toy_dataset, tmp_path) -> None:
    mix([open_input(str(toy_dataset()))], tmp_path / "mix")
    assert not check_integrity(tmp_path / "mix").problems and not check_integrity(tmp_path / "mix").without_hash


def test_load_dataset_never_gives_the_rows_of_another_folder(tmp_path, monkeypatch) -> None:
    """Two folders of one name whose rows have equal sizes; the cache of datasets knows a folder by its card."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = []
    for number, (question, answer) in enumerate((("Hi there?", "Hello"), ("Ho there?", "World"))):
        file, out = tmp_path / f"{number}.json", tmp_path / str(number) / "out"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        file.write_text(json.dumps([{"id": "1", "conversations": turns}]))
        inputs = [open_input(str(file.rename(tmp_path / "llava.json")))]
        mix(inputs, out)
        found.append(datasets.load_dataset(str(out))["train"][0]["messages"][1]["content"])
    assert found == ["Hello", "World"]
