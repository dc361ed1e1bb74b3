"""Every endpoint of a push, every fault: what the repository holds after the push that met it, and after the next one."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
from attacks.outcome import Outcome, compare_rows
from hub.conftest import PATIENCE, Hub
from hub.hub_faults import CUT, EMPTY, REDIRECT, SHAPE, SHORT, STALL, TEXT
from hub.reading import ids

ENDPOINTS = {
    "create": "POST /api/repos/create",
    "info": "GET /api/datasets/[^/]*/[^/]*/revision/",
    "tree": "GET /api/datasets/.*/tree/",
    "preupload": "POST /api/datasets/.*/preupload/",
    "lfs batch": "POST /.*/lfs/objects/batch",
    "lfs put": "PUT /lfs/",
    "lfs verify": "POST /lfs/verify",
    "commit": "POST /api/datasets/.*/commit/",
    "tag": "POST /api/datasets/.*/tag/",
}
FAULTS = {
    **{str(status): status for status in (400, 401, 403, 404, 409, 412, 413, 429, 500, 502, 503, 504)},
    "connection cut": CUT,
    "body cut": SHORT,
    "HTML": TEXT,
    "empty": EMPTY,
    "other JSON": SHAPE,
    "no answer": STALL,
    "redirects in a circle": REDIRECT,
}
QUICK = ("403", "404", "connection cut", "HTML")
RUN = """
import contextlib, io, json, sys, time, traceback
from comvint_hf.cli.commands import main
from comvint_hf.hub import retry
sleep, time.sleep = time.sleep, lambda seconds: None
retry.REQUEST_TIMEOUT, said = 0.05 if sys.argv[3] == "short" else 60.0, io.StringIO()
with contextlib.redirect_stderr(said):
    try:
        main(["push", *sys.argv[1:3]], standalone_mode=False)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        code = -1
        traceback.print_exc()
    finally:
        time.sleep = sleep
print(json.dumps([code, said.getvalue()]))
"""
"""`comvint push` in a process whose libraries are loaded, without the pauses between attempts."""


def cases(names: tuple[str, ...] = tuple(FAULTS)) -> Iterator[tuple[str, str]]:
    """Every endpoint with each of these faults."""
    return ((endpoint, fault) for endpoint in ENDPOINTS for fault in names)


def attack(
    hub: Hub, client: Callable[..., str], folders: tuple[Path, Path], endpoint: str, fault: str, *, passing: bool = False
) -> Outcome:
    """Push a second version while the Hub fails, for once or lastingly, and then once more while it works."""
    old, new = (sorted(row for rows in ids(folder).values() for row in rows) for folder in folders)
    name, repo = f"{endpoint}: {fault}", "tester/matrix"

    def push(folder: Path, patience: str = "long") -> tuple[int, str]:
        code, said = json.loads(client(RUN, str(folder), repo, patience).splitlines()[-1])
        return code, said

    hub.forget(everything=True)
    assert push(folders[0])[0] == 0
    hub.fail(ENDPOINTS[endpoint], FAULTS[fault], times=1 if passing else 10**6)
    code, said = push(folders[1], "short" if FAULTS[fault] == STALL else "long")
    met = not passing or hub.unmet() == 0
    hub.forget()
    between = compare_rows(name, rows_of(hub, repo), old, new, said=said)
    again, said_again = push(folders[1])
    after = compare_rows(name, rows_of(hub, repo), new, said=said + said_again)
    wrong = [
        "the fault was not met" if not met else "",
        f"it ended with {code}: {said}" if code not in (0, 1) or (code and len(said.splitlines()) != 1) else "",
        f"the next push ended with {again}: {said_again}" if again else "",
    ]
    return Outcome(
        name,
        lost=between.lost + after.lost,
        doubled=between.doubled + after.doubled,
        tracebacks=max(between.tracebacks, after.tracebacks),
        note="; ".join(filter(None, wrong)),
    )


def rows_of(hub: Hub, repo: str) -> list[str]:
    """The ids of all rows that a repository holds, read from its files."""
    tree = json.loads(read(f"{hub.url}/api/datasets/{repo}/tree/main?recursive=true"))
    found: list[str] = []
    for entry in tree:
        if entry["path"].endswith(".parquet") and not entry["path"].startswith("images/"):
            table = pq.read_table(io.BytesIO(read(f"{hub.url}/datasets/{repo}/resolve/main/{entry['path']}")), columns=["id"])
            found += table["id"].to_pylist()
    return sorted(found)


def read(url: str) -> bytes:
    return urllib.request.urlopen(url, timeout=PATIENCE).read()
