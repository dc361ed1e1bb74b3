"""What may happen to a push: afterwards the Hub holds every row once, and what was sent is not sent again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub.conftest import CUT, PATIENCE
from hub.reading import HISTORY, IDS, PUSH, PUSH_SMALL_PORTIONS, ids

from comvint_hf.dataset.reader import read_build_info
from comvint_hf.hub.push import version_tag

COMMIT, UPLOAD = "POST /api/datasets/.*/commit/", "PUT /lfs/"


def shards_of(folder: Path) -> int:
    return len(read_build_info(folder)["files"])


def contents(folder: Path) -> set[bytes]:
    """The different contents of a folder's shards: equal files are sent once."""
    return {(folder / name).read_bytes() for name in read_build_info(folder)["files"]}


@pytest.fixture
def read(client):
    """The ids that a streaming reader finds in a repository."""
    return lambda name, revision="": json.loads(client(IDS, name, revision, "streaming"))


@pytest.fixture
def history(client):
    return lambda name: json.loads(client(HISTORY, name))


@pytest.mark.parametrize(
    ("pattern", "status", "times", "after"),
    [
        (COMMIT, 500, 2, False),
        (COMMIT, 429, 2, False),
        (COMMIT, 409, 2, False),
        (COMMIT, 412, 2, False),
        (COMMIT, CUT, 2, False),
        (COMMIT, CUT, 1, True),
        (UPLOAD, CUT, 1, False),
        (UPLOAD, CUT, 1, True),
        (UPLOAD, 500, 1, False),
        ("GET /api/datasets/.*/tree/", 500, 1, False),
        ("POST /.*/lfs/objects/batch", CUT, 1, False),
        ("POST /api/datasets/.*/tag/", CUT, 1, True),
        ("POST /api/repos/create", CUT, 1, True),
    ],
)
def test_a_passing_failure_costs_no_row_and_doubles_none(
    hub, client, read, history, toy_dataset, pattern, status, times, after
) -> None:
    folder = toy_dataset()
    hub.fail(pattern, status, times, after)
    client(PUSH, str(folder), "tester/passing")
    assert read("tester/passing") == ids(folder)
    found = history("tester/passing")
    assert len(found["main"]) == 2 and found["tags"] == {version_tag(folder): found["main"][0]}
    lost = pattern == UPLOAD and after  # the client sends a file again whose answer never came
    assert hub.log()["lfs put"] == shards_of(folder) + lost


def test_a_lasting_failure_leaves_the_old_version_whole(hub, client, read, toy_dataset) -> None:
    first, second = toy_dataset(), toy_dataset(scenes=30)
    client(PUSH, str(first), "tester/lasting")
    hub.fail(COMMIT, 500, times=100)
    said = client(PUSH, str(second), "tester/lasting", check=False)
    assert "The Hub failed 6 times" in said and ". The repository is complete as it was; push again later." in said
    assert read("tester/lasting") == ids(first)


@pytest.mark.parametrize("code", [PUSH, PUSH_SMALL_PORTIONS], ids=["one commit", "staged"])
def test_a_push_killed_while_it_uploads_goes_on_and_sends_nothing_twice(
    hub, client, process, read, history, toy_dataset, code
) -> None:
    first, second = toy_dataset(), toy_dataset(scenes=30)
    client(PUSH, str(first), "tester/killed")
    hub.forget()
    with hub.holding(UPLOAD, after=2) as until_held:
        pushing = process(code, str(second), "tester/killed")
        until_held()
        hub.kill(pushing)
    assert 0 < (sent := hub.log()["lfs put"]) < shards_of(second)
    assert read("tester/killed") == ids(first)
    client(code, str(second), "tester/killed")
    assert read("tester/killed") == ids(second)
    assert sent < hub.log()["lfs put"] == len(contents(second) - contents(first))
    assert len(history("tester/killed")["main"]) == 3 and history("tester/killed")["branches"] == ["main"]


def test_many_files_are_staged_and_a_reader_sees_the_old_version_until_the_switch(
    hub, client, process, read, history, toy_dataset
) -> None:
    """`kill -9` in the middle of staging, and a reader at every step: what the branch main holds is always one whole version."""
    first, second = toy_dataset(), toy_dataset(scenes=26, shard_scenes=1)
    assert shards_of(second) > 90
    client(PUSH, str(first), "tester/many")
    with hub.holding(f"{COMMIT}comvint-staging", after=1) as until_held:
        pushing = process(PUSH, str(second), "tester/many")
        until_held()
        assert read("tester/many") == ids(first)
        hub.kill(pushing)
    sent = hub.log()["lfs put"]
    with hub.holding(f"{COMMIT}main") as until_held:
        pushing = process(PUSH, str(second), "tester/many")
        until_held()
        assert read("tester/many") == ids(first)
        assert len(history("tester/many")["branches"]) == 2
    assert pushing.wait(PATIENCE) == 0
    assert read("tester/many") == ids(second)
    assert read("tester/many", version_tag(first)) == ids(first)
    found = history("tester/many")
    assert len(found["main"]) == 3 and found["branches"] == ["main"]
    assert 90 < sent <= hub.log()["lfs put"] == len(contents(first) | contents(second))


@pytest.mark.parametrize(
    ("code", "same"),
    [(PUSH, False), (PUSH_SMALL_PORTIONS, False), (PUSH_SMALL_PORTIONS, True)],
    ids=["one commit", "staged", "staged, the same"],
)
def test_two_pushers_at_once_leave_whole_versions(hub, client, process, read, history, toy_dataset, code, same) -> None:
    """Both have read the same parent before either commits; each version is whole and can be loaded by its tag."""
    folders = [toy_dataset(scenes=30), toy_dataset(scenes=30 if same else 12)]
    client("import sys; from huggingface_hub import HfApi; HfApi().create_repo(sys.argv[1], repo_type='dataset')", "tester/two")
    with hub.holding(f"{COMMIT}main", count=2) as until_held:
        pushing = [process(code, str(folder), "tester/two") for folder in folders]
        until_held()
    for one in pushing:
        assert one.wait(PATIENCE) == 0, one.stderr.read()
    found = history("tester/two")
    assert found["branches"] == ["main"] and len(found["main"]) == (2 if same else 3)
    assert found["tags"].keys() == set(map(version_tag, folders)) and found["main"][0] in found["tags"].values()
    for folder in folders:
        assert read("tester/two", version_tag(folder)) == ids(folder)


def test_a_push_killed_after_its_commit_is_finished_by_the_next(hub, client, process, read, history, toy_dataset) -> None:
    folder = toy_dataset(scenes=30)
    with hub.holding("GET /api/datasets/.*/refs") as until_held:
        pushing = process(PUSH_SMALL_PORTIONS, str(folder), "tester/late")
        until_held()
        hub.kill(pushing)
    found = history("tester/late")
    assert len(found["main"]) == 2 and len(found["branches"]) == 2 and not found["tags"]
    hub.forget()
    client(PUSH_SMALL_PORTIONS, str(folder), "tester/late")
    found = history("tester/late")
    assert len(found["main"]) == 2 and found["branches"] == ["main"] and found["tags"] == {version_tag(folder): found["main"][0]}
    assert "lfs put" not in hub.log() and read("tester/late") == ids(folder)


def test_an_empty_cache_reads_what_was_pushed_plain_and_streaming(hub, client, process, toy_dataset) -> None:
    folder = toy_dataset()
    client(PUSH, str(folder), "tester/fresh")
    for way in ("plain", "streaming"):
        said, complaint = process(IDS, "tester/fresh", "", way).communicate(timeout=PATIENCE)
        assert said and json.loads(said) == ids(folder), complaint
