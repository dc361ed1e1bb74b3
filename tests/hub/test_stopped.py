"""A push that Ctrl-C or SIGTERM stops: it leaves at once with a sentence, and the repository holds one whole version."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from hub.conftest import PATIENCE
from hub.reading import IDS, PUSH, ids

PLACES = {"upload": "PUT /lfs/", "commit": "POST /api/datasets/.*/commit/", "create": "POST /api/repos/create"}


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("place", PLACES)
def test_a_push_that_is_stopped_says_so_at_once(place, stop, hub, client, environment, toy_dataset) -> None:
    first, second = toy_dataset(), toy_dataset(scenes=30)
    client(PUSH, str(first), "tester/stopped")
    command = [sys.executable, "-m", "comvint_hf.cli", "push", str(second), "tester/stopped"]
    with hub.holding(PLACES[place]) as until_held:
        pushing = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until_held()
        pushing.send_signal(stop)
        asked = time.monotonic()
        _, said = pushing.communicate(timeout=PATIENCE)
        assert time.monotonic() - asked < 60, "it waited for its uploads"
    assert pushing.returncode == 130 and said.startswith("Stopped. The repository holds its old version or the new one, whole.")
    assert len(said.splitlines()) == 1
    assert json.loads(client(IDS, "tester/stopped", "", "plain")) in (ids(first), ids(second))
    client(PUSH, str(second), "tester/stopped")
    assert json.loads(client(IDS, "tester/stopped", "", "plain")) == ids(second)


@pytest.mark.parametrize("refusing", ["full", "read-only"])
def test_a_push_needs_no_room_here_or_says_so(refusing, hub, client, environment, toy_dataset, small_disk, read_only) -> None:
    """The folders of the Hub's client and of temporary files lie on a disk that refuses."""
    disk, folder = small_disk(0 if refusing == "full" else 1 << 30), toy_dataset()
    if refusing == "read-only":
        read_only(disk)
    own = {**environment, "HF_HOME": str(disk / "hf"), "TMPDIR": str(disk), "XDG_CACHE_HOME": str(disk / "cache")}
    command = [sys.executable, "-m", "comvint_hf.cli", "push", str(folder), "tester/tight"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "Traceback" not in done.stderr and done.returncode in (0, 1)
    if done.returncode:
        assert "The disk refuses" in done.stderr and len(done.stderr.splitlines()) == 1
        client(PUSH, str(folder), "tester/tight")
    assert json.loads(client(IDS, "tester/tight", "", "plain")) == ids(folder)
