"""comvint.json travels and says what is wrong with it."""

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


def test_an_unknown_dialect_is_named() -> None:
    with pytest.raises(InputError, match="martian"):
        _ = Conventions(box_dialect="martian").box_format
