"""`--retry-failed`: what got no usable reply is asked for once more, and every other row and request stays as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders.wired import contents, finish, kill, rehearse, start, until
from endpoint.answers import RecordedReplies
from endpoint.faults import Faults
from endpoint.server import Endpoint, serve

SCENES = 24
FLAGS = ("--tasks", "detail_description,referring_qa", "--attempts", "2", "--shard-scenes", "6", "--store-images", "none")


@pytest.fixture(scope="module")
def rehearsed() -> RecordedReplies:
    return rehearse(f"shapes:{SCENES}", ("detail_description", "referring_qa"))


@pytest.fixture(scope="module")
def poisoned() -> list[str]:
    """Three prompts that are never answered well at first: two in the second shard, one in the fourth."""
    described = list(rehearse(f"shapes:{SCENES}", ("detail_description",)).replies)[::2]  # without those that show the image
    assert len(described) == SCENES
    return [described[7], described[10], described[20]]


def never(poisoned: list[str], kind: str = "malformed") -> Faults:
    return Faults(share=0, never=lambda text: kind if text in poisoned else None)


def rows(folder: Path, pattern: str = "without_images/**/*.parquet") -> dict[str, dict]:
    found = [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]
    return {row["id"]: row for row in found}


def times(folder: Path) -> dict[str, int]:
    """When each file of rows was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("without_images/**/*.parquet")}


@pytest.fixture(scope="module")
def three_failed(rehearsed, poisoned, tmp_path_factory) -> Path:
    """A finished build with three failed samples."""
    out = tmp_path_factory.mktemp("failed") / "set"
    with serve(Endpoint(answer=rehearsed.answer, faults=never(poisoned))) as url:
        _, said = finish(start(url, out, *FLAGS), code=3)
    assert "3 samples got no usable reply" in said and said.splitlines()[-1].startswith("Add --retry-failed to ask for these")
    return out


@pytest.fixture
def failed(three_failed, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(three_failed, tmp_path / "set"))


@pytest.fixture(scope="module")
def whole(rehearsed, tmp_path_factory) -> Path:
    """The build in which nothing failed."""
    out = tmp_path_factory.mktemp("whole") / "set"
    with serve(Endpoint(answer=rehearsed.answer)) as url:
        finish(start(url, out, *FLAGS))
    return out


@pytest.mark.parametrize("how", [(), ("--batch", "--poll", "0.05")], ids=["at once", "in a batch"])
def test_only_what_failed_is_asked_again_and_the_rows_are_those_of_a_build_without_failures(
    how, rehearsed, poisoned, failed, whole
) -> None:
    before, kept, mended = times(failed), rows(failed), Endpoint(answer=rehearsed.answer)
    with serve(mended) as url:
        finish(start(url, failed, *FLAGS, *how, "--retry-failed"))
    assert mended.paid.total() == len(poisoned) == mended.asked.total()
    now = rows(failed)
    assert now == rows(whole) and {id: now[id] for id in kept} == kept
    after = times(failed)
    untouched = [name for name in before if name.endswith(("-00000.parquet", "-00002.parquet"))]
    assert untouched and all(before[name] == after[name] for name in untouched), "shards without failures are left alone"
    ours, theirs = (
        {name: data for name, data in contents(folder).items() if name.endswith((".parquet", ".png"))}
        for folder in (failed, whole)
    )
    assert ours == theirs
    usage = json.loads((failed / "build.json").read_text())["usage"]["toy-model"]
    assert usage["unusable"] == 2 * len(poisoned), "what was paid for in vain stays on the bill"


def test_what_fails_again_is_told_again_and_asked_no_more_than_attempts_say(rehearsed, poisoned, failed) -> None:
    still = Endpoint(answer=rehearsed.answer, faults=never(poisoned[:1]))
    with serve(still) as url:
        _, said = finish(start(url, failed, *FLAGS, "--retry-failed"), code=3)
        assert "1 samples got no usable reply" in said and "in 4 attempts" in said
        asked = still.asked.total()
        assert asked == 2 + 2, "two that come right at once, and one that is asked twice more"
        finish(start(url, failed, *FLAGS), code=3)
    assert still.asked.total() == asked, "without the flag nothing is asked again"


def test_killed_while_it_asks_again_it_goes_on_and_loses_nothing(rehearsed, poisoned, failed, whole) -> None:
    before = contents(failed)
    stalled = Endpoint(answer=rehearsed.answer, faults=never(poisoned[1:2], "stall"))
    with serve(stalled) as url:
        child = start(url, failed, *FLAGS, "--retry-failed")
        until(child, lambda: stalled.paid.total() >= 1 and stalled.statuses["stall"] >= 1)
        kill(child)
    assert contents(failed) == before, "until a shard is whole again, the old one stands"
    mended = Endpoint(answer=rehearsed.answer)
    with serve(mended) as url:
        finish(start(url, failed, *FLAGS, "--retry-failed"))
    assert rows(failed) == rows(whole) and mended.asked.total() <= len(poisoned)
