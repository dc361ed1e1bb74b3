"""Caches of several machines become one: no reply lost, none paid for twice, every dollar counted once."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from comvint_hf.errors import BudgetError, InputError
from comvint_hf.generation.client import cache_files
from comvint_hf.generation.client.cache import Cache, RawReply
from comvint_hf.generation.client.cost import BudgetMeter

PAID = RawReply("text", "stop", "json_schema", 10, 5, 0.25)


def fill(path: Path, *keys: str, text: str = "text", known: Path | None = None) -> None:
    cache = Cache(path, known)

    async def record() -> None:
        for key in keys:
            attempt = len(cache.find_replies(key.encode()))
            await cache.add_reply(key.encode(), attempt, PAID._replace(text=text), "model", "prompt")

    asyncio.run(record())
    cache.close()


def held(path: Path) -> dict[bytes, list[str]]:
    cache = Cache(path)
    keys = [row[0] for row in cache.query("SELECT DISTINCT key FROM replies ORDER BY key")]
    replies = {key: [paid.text for paid in cache.find_replies(key)] for key in keys}
    cache.close()
    return replies


def spent(path: Path) -> float:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT total(spent) FROM runs").fetchone()[0]


def test_replies_and_their_costs_come_together_and_the_files_are_gone(tmp_path) -> None:
    fill(tmp_path / "all.sqlite", "a", "b")
    fill(tmp_path / "parts" / "0-x.sqlite", "c", "b", text="other")
    fill(tmp_path / "parts" / "1-y.sqlite", "d", text="more")
    cache_files.merge_caches(tmp_path / "all.sqlite", (tmp_path / "parts").glob("*.sqlite"))
    assert held(tmp_path / "all.sqlite") == {b"a": ["text"], b"b": ["text"], b"c": ["other"], b"d": ["more"]}
    assert spent(tmp_path / "all.sqlite") == 5 * 0.25
    assert not list((tmp_path / "parts").iterdir())


def test_merging_that_was_broken_off_before_the_file_was_deleted_counts_nothing_twice(tmp_path) -> None:
    fill(tmp_path / "0-x.sqlite", "a", "b")
    again = (tmp_path / "0-x.sqlite").read_bytes()
    for _ in range(2):
        (tmp_path / "0-x.sqlite").write_bytes(again)
        cache_files.merge_caches(tmp_path / "all.sqlite", [tmp_path / "0-x.sqlite"])
    assert spent(tmp_path / "all.sqlite") == 0.5 and len(held(tmp_path / "all.sqlite")) == 2


def test_a_snapshot_is_read_before_anything_is_asked_and_further_attempts_follow_on_it(tmp_path) -> None:
    fill(tmp_path / "all.sqlite", "a", text="first")
    cache_files.write_snapshot(tmp_path / "all.sqlite", tmp_path / "deep" / "known.sqlite")
    fill(tmp_path / "0-x.sqlite", "a", text="second", known=tmp_path / "deep" / "known.sqlite")
    cache = Cache(tmp_path / "1-y.sqlite", tmp_path / "deep" / "known.sqlite")
    assert [paid.text for paid in cache.find_replies(b"a")] == ["first"]
    cache.close()
    cache_files.merge_caches(tmp_path / "all.sqlite", [tmp_path / "0-x.sqlite", tmp_path / "1-y.sqlite"])
    assert held(tmp_path / "all.sqlite") == {b"a": ["first", "second"]}
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["known.sqlite"], "reading leaves nothing beside it"


def test_what_is_left_of_a_budget_and_its_parts_are_never_passed(tmp_path) -> None:
    fill(tmp_path / "all.sqlite", "a", "b", "c")
    assert cache_files.compute_remaining_budget(tmp_path / "all.sqlite", 2.0) == 1.25
    assert cache_files.compute_remaining_budget(tmp_path / "all.sqlite", 0.5) == 0.0

    async def spend(path: Path, budget: float) -> None:
        cache = Cache(path)
        meter = BudgetMeter(cache, budget)
        with pytest.raises(BudgetError):
            for number in range(100):
                hold = await meter.reserve(0.25)
                await cache.add_reply(str(number).encode(), 0, PAID, "model", "prompt")
                meter.settle(hold, 0.25)
        cache.close()

    parts = [tmp_path / f"{rank}-x.sqlite" for rank in range(2)]
    for part in parts:
        asyncio.run(spend(part, cache_files.compute_remaining_budget(tmp_path / "all.sqlite", 2.0) / 2))
    cache_files.merge_caches(tmp_path / "all.sqlite", parts)
    assert (
        1.75 <= spent(tmp_path / "all.sqlite") <= 2.0
        and cache_files.compute_remaining_budget(tmp_path / "all.sqlite", 2.0) == 0.25
    )


def test_a_file_that_is_no_cache_is_named(tmp_path) -> None:
    (tmp_path / "0-x.sqlite").write_text("this is no database, however long it may be")
    with pytest.raises(InputError, match=r"0-x\.sqlite cannot be read as a reply cache"):
        cache_files.merge_caches(tmp_path / "all.sqlite", [tmp_path / "0-x.sqlite"])
    assert (tmp_path / "0-x.sqlite").exists()
