"""A real Ray cluster of two nodes on this machine; one of them is killed half-way, and the dataset is the same to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.wired import BUILDERS, contents, finish

from builders import wired

pytest.importorskip("datatrove", reason="workers on a Ray cluster need datatrove: pip install '.[scale]'")
pytest.importorskip("ray", reason="workers on a Ray cluster need ray: pip install '.[scale]'")
SCENES, SHARD = 200, 5
ON_RAY = ("--executor", "ray", "--num-workers", "2", "--executor-set", "mem_per_cpu_gb=0.2")


@pytest.fixture
def cluster(monkeypatch) -> Iterator:
    """A head and a second node, each with one core; their workers are as urgent as the test."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    size = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "memory": 2**30}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    cluster.second = cluster.add_node(**size)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def svit(out: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(BUILDERS / "svit.py"), "--scenes", f"shapes:{SCENES}", "--shard-scenes", str(SHARD)]
    command += ["--store-images", "none", "--tasks", "referring_qa", "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})


def finished(out: Path) -> set[int]:
    return {int(path.stem) for path in (out / ".build").glob("0*.json")}


@pytest.mark.slow
@pytest.mark.timeout(wired.PATIENCE)
def test_a_node_that_is_killed_half_way_costs_no_row(cluster, tmp_path) -> None:
    child = svit(tmp_path / "set", *ON_RAY, RAY_ADDRESS=cluster.address)
    while {number % 2 for number in finished(tmp_path / "set")} != {0, 1}:
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)  # a look now and then; the test waits for the shards, not for the time
    cluster.remove_node(cluster.second, allow_graceful=False)
    half = finished(tmp_path / "set")
    finish(child)
    assert len(half) < SCENES / SHARD, "the node was killed before the work was done"
    finish(svit(tmp_path / "one" / "set"))
    assert contents(tmp_path / "set") == contents(tmp_path / "one" / "set")
    assert not list((tmp_path / "set" / ".build").glob("*.partial"))


def test_a_cluster_that_is_not_there_is_said_in_a_sentence(tmp_path) -> None:
    _, said = finish(svit(tmp_path / "set", *ON_RAY, RAY_ADDRESS="127.0.0.1:9"), code=1)
    assert "The Ray cluster 127.0.0.1:9 cannot be reached" in said.splitlines()[-1]
