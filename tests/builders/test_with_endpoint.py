"""The builders against a local OpenAI-compatible endpoint: paid once, whatever happens on the way."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders.wired import contents, finish, kill, rehearse, start, until
from endpoint.answers import RecordedReplies
from endpoint.faults import HTTP, MESSAGE, Faults
from endpoint.server import Endpoint, serve

from comvint_hf.formatting import format_cost

SCENES = 24
# Of a truncated reply, or one with a bad item, the good part is kept and the rest asked for with other words: see test_builds.
KINDS = tuple(kind for kind in (*HTTP, *MESSAGE) if kind not in ("stall", "truncated"))
SHARDS = ("--shard-scenes", "5")


@pytest.fixture(scope="module")
def rehearsed() -> RecordedReplies:
    return rehearse(f"shapes:{SCENES}")


@pytest.fixture(scope="module")
def whole(rehearsed, tmp_path_factory) -> tuple[Path, int]:
    """An uninterrupted run: its dataset and how many replies it paid for."""
    out, endpoint = tmp_path_factory.mktemp("whole") / "set", Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        told, _ = finish(start(url, out, *SHARDS))
    paid = endpoint.paid.total()
    assert f"\ntoy-model: {paid} requests, 0 from the cache, " in told and "\n  svit/conversation: " in told
    return out, paid


def rows_of(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("data/**/*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_a_model_behind_an_endpoint_fills_rows_under_its_name(whole) -> None:
    out, paid = whole
    rows = rows_of(out)
    assert len({row["image_id"] for row in rows}) == SCENES and {row["generator"] for row in rows} == {"toy-model"}
    assert paid >= 4 * SCENES
    assert "written by | toy-model" in (out / "README.md").read_text()


def test_a_model_called_by_its_folder_is_named_without_its_place(tmp_path) -> None:
    out, endpoint = tmp_path / "set", Endpoint(answer=rehearse("shapes:3").answer)
    with serve(endpoint) as url:
        finish(start(url, out, "--llm", "/private/place/tiny", scenes="shapes:3"))
    assert {row["generator"] for row in rows_of(out)} == {"tiny"} and endpoint.asked
    assert not [name for name, content in contents(out).items() if b"private/place" in content]


def test_build_json_says_what_the_replies_took(whole) -> None:
    out, paid = whole
    usage = json.loads((out / "build.json").read_text())["usage"]
    assert set(usage) == {"toy-model"} and usage["toy-model"]["requests"] == paid == usage["toy-model"]["unpriced"]
    assert usage["toy-model"]["prompt_tokens"] > 100 * paid and usage["toy-model"]["completion_tokens"] > 10 * paid


def test_killed_and_run_again_nothing_is_paid_twice_and_the_bytes_are_the_same(rehearsed, whole, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, latency=0.02)
    with serve(endpoint) as url:
        for stop in (10, 35, 60):
            child = start(url, tmp_path / "set", *SHARDS, "--concurrency", "4")
            until(child, lambda stop=stop: endpoint.paid.total() >= stop)
            kill(child)
        finish(start(url, tmp_path / "set", *SHARDS, "--concurrency", "4"))
        paid = endpoint.paid.total()
        told, _ = finish(start(url, tmp_path / "set", *SHARDS))
    in_the_air = 3 * 4
    assert paid <= whole[1] + in_the_air, "only what was in the air when the process died is paid again"
    assert endpoint.paid.total() == paid and "requests" not in told.splitlines()[-1], "a finished build asks nothing"
    assert contents(tmp_path / "set") == contents(whole[0])


def test_a_batch_run_gives_the_same_rows_for_as_many_requests(rehearsed, whole, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        finish(start(url, tmp_path / "set", *SHARDS, "--batch", "--poll", "0.05"))
    assert endpoint.batches and endpoint.paid.total() == whole[1]
    assert contents(tmp_path / "set") == contents(whole[0])


def test_a_batch_that_was_submitted_before_a_kill_is_collected_by_the_next_run(rehearsed, whole, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, batch_polls=10**9)
    with serve(endpoint) as url:
        child = start(url, tmp_path / "set", *SHARDS, "--batch", "--poll", "0.01")
        until(child, lambda: any(batch["polls"] > 2 for batch in [*endpoint.batches.values()]))
        kill(child)
        submitted = len(endpoint.batches)
        assert endpoint.paid.total() == 0 and submitted >= 1
        endpoint.batch_polls = 0
        finish(start(url, tmp_path / "set", *SHARDS, "--batch", "--poll", "0.01"))
    sent = [
        json.loads(line)["custom_id"]
        for name in endpoint.batches.values()
        for line in endpoint.files[name["input_file_id"]].splitlines()
    ]
    assert len(sent) == len(set(sent)) == endpoint.paid.total() == whole[1], "nothing is submitted twice"
    assert contents(tmp_path / "set") == contents(whole[0])


def test_the_budget_stops_the_run_and_more_money_goes_on(rehearsed, whole, tmp_path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["toy-model"]\ninput = 100\noutput = 200\n')
    endpoint = Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        _, said = finish(start(url, tmp_path / "set", *SHARDS, "--budget", "5", "--prices", prices, "--concurrency", "1"), code=1)
        assert "The budget of $5.00 has no room" in said.splitlines()[-1] and "--budget" in said
        assert 0 < endpoint.paid.total() < whole[1] and not (tmp_path / "set" / "README.md").exists()
        told, _ = finish(start(url, tmp_path / "set", *SHARDS, "--budget", "500", "--prices", prices))
    assert endpoint.paid.total() == whole[1]
    usage = json.loads((tmp_path / "set" / "build.json").read_text())["usage"]["toy-model"]
    price = tomllib.loads(prices.read_text())["toy-model"]
    cost = (endpoint.tokens["prompt"] * price["input"] + endpoint.tokens["completion"] * price["output"]) / 1e6
    assert usage["cost"] == pytest.approx(cost) and usage["unpriced"] == 0
    assert told.splitlines()[-1].endswith(f"has paid {format_cost(cost)} of $500.00")
    assert rows_of(tmp_path / "set") == rows_of(whole[0])


@pytest.mark.parametrize("scenes", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_a_build_through_faults_is_the_clean_build_byte_for_byte(scenes, tmp_path) -> None:
    spec = f"shapes:{scenes}"
    answers, clean = rehearse(spec).answer, Endpoint(keep_requests=False)
    spoilt = Endpoint(faults=Faults(share=0.2, kinds=KINDS, retry_after="0.05"), keep_requests=False)
    for name, endpoint in (("clean", clean), ("spoilt", spoilt)):
        endpoint.answer = answers
        with serve(endpoint) as url:
            finish(start(url, tmp_path / name / "set", scenes=spec))
    assert sum(spoilt.statuses[kind] for kind in KINDS) > 0.1 * 4 * scenes
    first, second = contents(tmp_path / "clean" / "set"), contents(tmp_path / "spoilt" / "set")
    plans = [json.loads(files.pop("build.json")) for files in (first, second)]
    cards = [files.pop("README.md").decode().splitlines() for files in (first, second)]
    assert first == second and any(name.endswith(".parquet") for name in first)
    taken = [plan.pop("usage")["toy-model"] for plan in plans]
    hashes = [plan.pop("card") for plan in plans]  # the card tells what it took
    assert hashes[0] != hashes[1] and plans[0] == plans[1] and taken[0]["unusable"] == 0 < taken[1]["unusable"], (
        "only what it took differs"
    )
    assert all(line.startswith("| toy-model") for line in set(cards[0]) ^ set(cards[1]))
    assert taken[0]["requests"] == clean.paid.total()


def test_one_prompt_that_never_succeeds_costs_its_row_only_and_is_named(tmp_path) -> None:
    spec, task = "shapes:1000", ("detail_description",)
    recorded = rehearse(spec, task)
    poisoned = list(recorded.replies)[500]
    endpoint = Endpoint(
        answer=recorded.answer,
        faults=Faults(share=0, never=lambda text: "malformed" if text == poisoned else None),
        keep_requests=False,
    )
    flags = ("--tasks", "detail_description", "--store-images", "none", "--attempts", "2", "--shard-scenes", "250")
    with serve(endpoint) as url:
        _, said = finish(start(url, tmp_path / "set", *flags, scenes=spec), code=3)
        asked = endpoint.asked.total()
        _, again = finish(start(url, tmp_path / "set", *flags, scenes=spec), code=3)
    rows = [path for path in (tmp_path / "set" / "without_images").rglob("*.parquet")]
    assert sum(pq.read_metadata(path).num_rows for path in rows) == 999
    (rejected,) = [row for path in (tmp_path / "set" / "rejected").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert rejected["reason"].startswith(
        "no usable reply: toy-model gave no usable reply to svit/detail_description in 2 attempts"
    )
    for told in (said, again):
        assert "1 samples got no usable reply" in told and told.count(rejected["id"]) == 1 and rejected["reason"] in told
    assert asked == len(recorded.replies) // 2 + 1 == endpoint.asked.total(), (
        "one prompt was asked twice, and nothing in the second run"
    )
