"""comvint.json travels and says what is wrong with it."""

import os

import pytest

from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError


def test_what_is_written_is_read(tmp_path) -> None:
    written = Conventions(
        box_dialect="thousand", templates=("Answer with yes or no.",), learn="response", prompts={"svit/x": "ab"}
    )
    written.write(tmp_path / "adapter")
    assert Conventions.read(tmp_path / "adapter") == written
    assert written.box_format.scale == 1000


def test_a_relative_folder_is_written_so_that_it_is_no_name_on_the_hub(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "base").mkdir(parents=True)
    Conventions(base_model="org/base", dataset="org/rows").write("adapter")
    read = Conventions.read("adapter")
    assert (read.base_model, read.dataset) == (str(tmp_path / "org" / "base"), "org/rows")


def test_a_folder_without_the_file_has_the_defaults(tmp_path) -> None:
    assert Conventions.read(tmp_path) == Conventions()


@pytest.mark.parametrize(("text", "said"), [("{", "JSON"), ('{"box_dialct": "x"}', "box_dialct")])
def test_a_broken_file_is_named(tmp_path, text: str, said: str) -> None:
    (tmp_path / "comvint.json").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        Conventions.read(tmp_path)
    assert "comvint.json" in str(caught.value)


ABSURD = {
    "a million megapixels": '{"min_pixels": 1000000000000}',
    "the same as a float": '{"min_pixels": 1e12}',
    "pixels that are no number": '{"max_pixels": NaN}',
    "infinite pixels": '{"max_pixels": 1e999}',
    "no pixels": '{"max_pixels": 0}',
    "less than no pixels": '{"min_pixels": -5}',
    "an integer of 5,000 digits": '{"min_pixels": ' + "9" * 5000 + "}",
    "bounds that exclude each other": '{"min_pixels": 1000, "max_pixels": 10}',
    "deep nesting": '{"quantization": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "a lone surrogate": '{"recipe": "\\ud800"}',
    "another type": '{"templates": {"a": 1}}',
    "no object": "[1, 2]",
    "nothing": "",
    "zeros": "\x00" * 500,
    "eight megabytes": '{"recipe": "' + "x" * 8_000_000 + '"}',
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_file_is_one_sentence(tmp_path, name: str) -> None:
    (tmp_path / "comvint.json").write_text(ABSURD[name])
    with pytest.raises(InputError, match="comvint.json") as caught:
        Conventions.read(tmp_path)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_a_pipe_is_no_file_of_conventions(tmp_path) -> None:
    os.mkfifo(tmp_path / "comvint.json")
    with pytest.raises(InputError, match="no regular file"):
        Conventions.read(tmp_path)


def test_an_unknown_dialect_is_named() -> None:
    with pytest.raises(InputError, match="martian"):
        _ = Conventions(box_dialect="martian").box_format
