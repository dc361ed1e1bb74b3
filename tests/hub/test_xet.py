"""The second way of files to a Hub: clients that have hf_xet send chunks to its store and read them from there."""

from __future__ import annotations

import json

import pytest
from hub.conftest import CUT, PATIENCE
from hub.reading import HISTORY, IDS, PUSH, PUSH_SMALL_PORTIONS, ids

from comvint_hf.hub.push import version_tag

COMMIT, TOKEN = "POST /api/datasets/.*/commit/", "GET /api/datasets/.*/xet-write-token/"


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "HF_HUB_DISABLE_XET"}


@pytest.fixture
def read(client):
    """The ids that a reader who downloads finds in a repository, and nothing may come by LFS."""
    return lambda name, revision="": json.loads(client(IDS, name, revision, "plain"))


def by_token(hub) -> list[str]:
    return sorted({line.split("/xet-")[1].split("-")[0] for line in hub.log() if "/xet-" in line})


def test_what_is_pushed_over_xet_is_read_over_xet(hub, client, process, read, toy_dataset) -> None:
    first, second = toy_dataset(), toy_dataset(scenes=30, images="table")
    client(PUSH, str(first), "tester/xet")
    client(PUSH, str(second), "tester/xet")
    assert by_token(hub) == ["write"]
    assert read("tester/xet") == ids(second)
    assert read("tester/xet", version_tag(first)) == ids(first)
    assert by_token(hub) == ["read", "write"] and "lfs put" not in hub.log()
    assert not [line for line in hub.log() if line.startswith("GET ") and line.endswith(".parquet")], "a file came over HTTP"
    said, complaint = process(IDS, "tester/xet", "", "streaming").communicate(timeout=PATIENCE)
    assert said and json.loads(said) == ids(second), complaint


@pytest.mark.parametrize(
    ("pattern", "status", "after"),
    [
        pytest.param(COMMIT, 500, False, marks=pytest.mark.slow),
        pytest.param(COMMIT, 412, False, marks=pytest.mark.slow),
        (COMMIT, CUT, True),
        (TOKEN, 500, False),
        pytest.param(TOKEN, CUT, False, marks=pytest.mark.slow),
    ],
)
def test_a_passing_failure_costs_no_row_and_doubles_none(hub, client, read, toy_dataset, pattern, status, after) -> None:
    folder = toy_dataset()
    hub.fail(pattern, status, 1, after)
    client(PUSH, str(folder), "tester/passing-xet")
    assert read("tester/passing-xet") == ids(folder)
    found = json.loads(client(HISTORY, "tester/passing-xet"))
    assert len(found["main"]) == 2 and found["tags"] == {version_tag(folder): found["main"][0]}


@pytest.mark.parametrize("code", [PUSH, pytest.param(PUSH_SMALL_PORTIONS, marks=pytest.mark.slow)], ids=["one commit", "staged"])
def test_a_push_killed_before_its_commit_sends_nothing_twice(hub, client, process, read, toy_dataset, code) -> None:
    first, second = toy_dataset(), toy_dataset(scenes=30)
    client(PUSH, str(first), "tester/killed-xet")
    with hub.holding(f"{COMMIT}main") as until_held:
        pushing = process(code, str(second), "tester/killed-xet")
        until_held()
        hub.kill(pushing)
    sent = hub.sent_by_xet()["content"]
    assert read("tester/killed-xet") == ids(first)
    client(code, str(second), "tester/killed-xet")
    assert read("tester/killed-xet") == ids(second) and hub.sent_by_xet()["content"] == sent


@pytest.mark.slow
def test_two_pushers_at_once_leave_whole_versions(hub, client, process, read, toy_dataset) -> None:
    folders = [toy_dataset(scenes=30), toy_dataset(scenes=12)]
    client("from huggingface_hub import HfApi; HfApi().create_repo('tester/two-xet', repo_type='dataset')")
    with hub.holding(f"{COMMIT}main", count=2) as until_held:
        pushing = [process(PUSH, str(folder), "tester/two-xet") for folder in folders]
        until_held()
    for one in pushing:
        assert one.wait(PATIENCE) == 0, one.stderr.read()
    for folder in folders:
        assert read("tester/two-xet", version_tag(folder)) == ids(folder)


@pytest.mark.slow
def test_a_grown_set_sends_the_chunks_that_are_new(hub, client, toy_dataset) -> None:
    """One shard that grew: over LFS all of its files would be sent again."""
    small, grown = (toy_dataset(scenes=scenes, shard_scenes=1000, images="table") for scenes in (300, 303))
    client(PUSH, str(small), "tester/grown-xet")
    before = sum(hub.sent_by_xet().values())
    client(PUSH, str(grown), "tester/grown-xet")
    whole = sum(path.stat().st_size for path in grown.rglob("*.parquet"))
    assert sum(hub.sent_by_xet().values()) - before < whole / 2
