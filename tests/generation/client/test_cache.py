"""The reply cache: on disk before it is used, shared by processes, and never losing what was paid."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from comvint_hf.errors import InputError
from comvint_hf.generation.client import cache as cache_module
from comvint_hf.generation.client.cache import Cache, RawReply

PAID = RawReply("text", "stop", "json_schema", 10, 5, 0.25)

WRITER = """
import asyncio, sys
from comvint_hf.generation.client.cache import Cache, RawReply
async def main(path, name, count):
    cache = Cache(path)
    for first in range(0, count, 20):
        keys = [f"{name}-{number}" for number in range(first, first + 20)]
        await asyncio.gather(*(cache.add_reply(key.encode(), 0, RawReply(key, "stop", "text", 1, 1, 1.0), "m", "p") for key in keys))
        print(*keys, flush=True)
    cache.close()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.fixture
def cache(tmp_path):
    opened = Cache(tmp_path / "deep" / "replies.sqlite")
    yield opened
    opened.close()


def test_a_recorded_reply_is_there_for_another_opening(cache) -> None:
    async def record() -> None:
        await cache.add_reply(b"key", 0, PAID, "model", "prompt")
        await cache.add_reply(b"key", 1, PAID._replace(text="second"), "model", "prompt")

    asyncio.run(record())
    cache.close()
    again = Cache(cache.path)
    assert [paid.text for paid in again.find_replies(b"key")] == ["text", "second"]
    assert again.find_replies(b"other") == [] and again.run_id != cache.run_id
    again.close()


def test_the_first_of_two_answers_counts_and_both_costs_do(cache) -> None:
    other = Cache(cache.path)
    asyncio.run(cache.add_reply(b"key", 0, PAID, "model", "prompt"))
    stored = asyncio.run(other.add_reply(b"key", 0, PAID._replace(text="too late"), "model", "prompt"))
    assert stored == PAID
    assert cache.query("SELECT total(spent) FROM runs") == [(0.5,)]
    other.close()


def test_a_reply_is_on_disk_when_record_returns(cache) -> None:
    async def check() -> None:
        await cache.add_reply(b"key", 0, PAID, "model", "prompt")
        with sqlite3.connect(cache.path) as other:
            assert other.execute("SELECT text FROM replies").fetchall() == [("text",)]

    asyncio.run(check())


def test_a_cancelled_wait_still_writes(cache) -> None:
    async def give_up() -> None:
        task = asyncio.create_task(cache.add_reply(b"key", 0, PAID, "model", "prompt"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(give_up())
    cache.close()
    again = Cache(cache.path)
    assert again.find_replies(b"key") == [PAID]
    again.close()


def test_one_bad_change_does_not_spoil_its_neighbours(cache) -> None:
    async def together() -> list:
        bad = cache.write(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"))
        good = [cache.add_reply(str(number).encode(), 0, PAID, "model", "prompt") for number in range(20)]
        return await asyncio.gather(*good[:10], bad, *good[10:], return_exceptions=True)

    outcomes = asyncio.run(together())
    assert [type(outcome) for outcome in outcomes if outcome != PAID] == [InputError]
    assert cache.query("SELECT count(*) FROM replies") == [(20,)]


def test_a_ctrl_c_in_the_middle_of_a_write_leaves_the_file_free_for_all(cache) -> None:
    def pressed(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO runs (started) VALUES (0)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(cache.write(pressed))
    with sqlite3.connect(cache.path, timeout=0, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        other.execute("ROLLBACK")
    assert asyncio.run(cache.add_reply(b"key", 0, PAID, "model", "prompt")) == PAID


def test_while_another_process_writes_nobody_waits_for_it_and_changes_gather(cache, monkeypatch) -> None:
    together: list[int] = []
    commit = cache_module._commit
    monkeypatch.setattr(cache_module, "_commit", lambda connection, jobs: together.append(len(jobs)) or commit(connection, jobs))

    async def many() -> None:
        other = sqlite3.connect(cache.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.create_task(cache.add_reply(str(n).encode(), 0, PAID, "m", "p")) for n in range(200)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting) and cache.query("SELECT count(*) FROM replies") == [(0,)]
        other.execute("COMMIT")
        other.close()
        assert await asyncio.gather(*waiting) == [PAID] * 200

    asyncio.run(many())
    assert cache.query("SELECT count(*) FROM replies") == [(200,)]
    assert sum(together) == 200 and len(together) <= 3


def test_where_nobody_else_writes_a_reply_is_kept_before_anything_else_happens(cache) -> None:
    async def record() -> None:
        elsewhere = sqlite3.connect(cache.path)
        task = asyncio.create_task(cache.add_reply(b"key", 0, PAID, "model", "prompt"))
        await asyncio.sleep(0)
        assert elsewhere.execute("SELECT text FROM replies").fetchall() == [("text",)] and task.done()
        elsewhere.close()

    asyncio.run(record())


def test_the_disk_confirms_what_was_written_within_a_while(cache, monkeypatch) -> None:
    monkeypatch.setattr(cache_module, "SYNC_SECONDS", 0.01)
    synced = threading.Event()
    sync = Cache._sync
    monkeypatch.setattr(Cache, "_sync", lambda self, connection: (sync(self, connection), synced.set()))
    for number in range(3):
        synced.clear()
        asyncio.run(cache.add_reply(bytes([number]), 0, PAID, "model", "prompt"))
        assert synced.wait(100)
    with sqlite3.connect(f"file:{cache.path}?immutable=1", uri=True) as without_log:
        assert without_log.execute("SELECT count(*) FROM replies").fetchall() == [(3,)]


def test_processes_share_the_file(tmp_path) -> None:
    path = tmp_path / "replies.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name, "100"], stdout=subprocess.PIPE) for name in "abc"]
    assert [(writer.communicate(timeout=200), writer.returncode)[1] for writer in writers] == [0, 0, 0]
    cache = Cache(path)
    assert cache.query("SELECT count(*), count(DISTINCT key) FROM replies") == [(300, 300)]
    assert cache.query("SELECT total(spent) FROM runs") == [(300.0,)]
    cache.close()


def test_what_was_recorded_survives_a_kill(tmp_path) -> None:
    path = tmp_path / "replies.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, path, "k", "100000"], stdout=subprocess.PIPE, text=True) as writer:
        told = [name for _ in range(5) for name in writer.stdout.readline().split()]
        os.kill(writer.pid, signal.SIGKILL)
        told += writer.stdout.read().split()  # `communicate` would leave out what readline had read beyond its lines
    whole = told[: len(told) // 20 * 20]
    cache = Cache(path)
    assert all(cache.find_replies(name.encode()) for name in whole) and len(whole) >= 100
    cache.close()


@pytest.mark.parametrize("content", [b"this is no database, but long enough to look like a file of some kind" * 20, None])
def test_what_is_no_cache_says_so(tmp_path, content) -> None:
    path = Path(tmp_path / "replies.sqlite")
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be opened as a reply cache"):
        Cache(path)


def test_a_cache_of_another_version_is_left_alone(cache) -> None:
    cache.write_blocking(lambda connection: connection.execute("CREATE TABLE later (x)").rowcount)
    cache.close()
    with sqlite3.connect(cache.path) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="version 99"):
        Cache(cache.path)


def test_a_full_disk_at_the_close_is_one_sentence_and_leaves_the_file_closed(cache) -> None:
    cache.on_close(lambda: cache.write_blocking(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")))
    with pytest.raises(InputError, match="cannot be written .*what was written before is safe"):
        cache.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cache.query("SELECT 1")
