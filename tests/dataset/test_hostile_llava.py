"""LLaVA files of somebody else: each gives rows or one sentence, in seconds and megabytes; one bad record costs itself."""

import resource
import time
import warnings

import pyarrow.parquet as pq
import pytest
from dataset import hostile_llava as hostile

from comvint_hf import from_llava
from comvint_hf.dataset import conversation, llava_records
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import mix
from comvint_hf.errors import ComvintError
from comvint_hf.images import OUTSIDE
from comvint_hf.read_counts import ReadCounts

REASONS = {
    "a null record": llava_records.NO_RECORD,
    "no turns": conversation.NO_TURNS,
    "a value that is null": conversation.NO_TEXT,
    "a value of blanks": conversation.NO_TEXT,
    "a role that is unknown": conversation.NO_ROLE,
    "a turn of a tool": conversation.TOOL_TURN,
    "the assistant first": conversation.ANSWER_FIRST,
    "no answer": conversation.NO_ANSWER,
    "two questions": conversation.NOT_IN_TURN,
    "an image that is null": conversation.NO_IMAGE,
    "data in a name": llava_records.IMAGE_NAME,
    "an image that is no text": llava_records.IMAGE_NAME,
    "an image that is not there": llava_records.IMAGE_MISSING,
    "an image outside": OUTSIDE,
    "an image behind a link": OUTSIDE,
    "an image that is text": llava_records.IMAGE_BROKEN,
    "an image that is a bomb": llava_records.IMAGE_BROKEN,
    "more places than images": conversation.OTHER_NUMBER,
    "images between words": conversation.BETWEEN_WORDS,
    "a video": conversation.MEDIA,
    "columns of other types": llava_records.OTHER_COLUMNS,
    "nested in a record": "records skipped: nested too deep",
    "a lone surrogate": "records skipped: their text is not valid Unicode",
    "a word that is no JSON": "records skipped: not JSON",
    "a line that is cut": "records skipped: not JSON",
}


def test_the_table_is_large_enough():
    assert len(hostile.FILES) >= 38


@pytest.mark.parametrize("name", hostile.FILES)
def test_a_hostile_file_ends_in_rows_or_a_sentence(name, tmp_path):
    path, counts, error, rows = hostile.write(name, tmp_path), ReadCounts(), None, []
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        rows = list(from_llava(path, tmp_path / "photos", counts=counts))
    except ComvintError as refusal:
        error = refusal
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
    assert len(str(error)) < 1500 and hostile.SECRET not in str(error) + str(counts.examples)
    assert all(row["images"] or hostile.BLIND not in str(row["messages"]) for row in rows), "a row without its image"
    assert all(image["bytes"] == (tmp_path / "photos/a.jpg").read_bytes() for row in rows for image in row["images"])
    if name in hostile.ONE_BAD_RECORD:
        assert error is None and [row["id"] for row in rows] == ["good", "good too"]
        assert counts.lost.total() >= 1 and set(counts.examples) == set(counts)
        assert REASONS.get(name) in (None, *counts)
        assert llava_records.IMAGE_NULL in counts or name != "an image that is null"
    else:
        assert not rows and (error is not None or counts == {})


@pytest.mark.parametrize(
    "name", ["a pipe", "nested lists", "an image that is a pipe", "an image behind a link", "a lone surrogate"]
)
def test_a_mix_of_a_hostile_file_says_the_same(name, tmp_path):
    path = hostile.write(name, tmp_path)
    try:
        statistics = mix([open_input(str(path), tmp_path / "photos")], tmp_path / "out")
    except ComvintError:
        assert name in hostile.BROKEN
        return
    assert statistics.kept == 2 and sum(statistics.notes.values()) == 1
    files = [pq.read_table(file) for file in (tmp_path / "out").rglob("*.parquet")]
    assert [row["id"] for table in files for row in table.to_pylist()] == ["good", "good too"]


def test_without_counts_a_warning_says_what_was_left_out(tmp_path):
    path = hostile.write("two questions", tmp_path)
    with pytest.warns(
        UserWarning, match="1 record is left out .records skipped: user and assistant do not take turns: 1 .such as"
    ):
        assert len(list(from_llava(path, tmp_path / "photos"))) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(from_llava([hostile.GOOD], tmp_path / "photos"))
