"""What a push sends, and what it survives, with real clients against the local Hub of tests/hub.

    python tests/benchmarks/bench_push.py grown [--images 4000] [--shard-scenes 100]
    python tests/benchmarks/bench_push.py faults

`grown` pushes a dataset, then one of 1 % more images, and says which share of the second's bytes is sent: over plain LFS, and
over Xet's own store on this machine (new content and what describes it). `faults` pushes a grown set over an old one while
something goes wrong, reads it back in a stream, and counts rows lost and rows doubled.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
COMMIT, UPLOAD, TOKEN = "POST /api/datasets/.*/commit/main", "PUT /lfs/", "GET /api/.*/xet-write-token/"
CUT = 0
PASSING = {
    "lfs": {
        "500 on commit, twice": (COMMIT, 500, 2, False),
        "429 on commit, twice": (COMMIT, 429, 2, False),
        "409 on commit, twice": (COMMIT, 409, 2, False),
        "412 on commit, twice": (COMMIT, 412, 2, False),
        "connection reset on commit": (COMMIT, CUT, 1, False),
        "answer to the commit lost": (COMMIT, CUT, 1, True),
        "connection reset in an upload": (UPLOAD, CUT, 1, False),
        "answer to an upload lost": (UPLOAD, CUT, 1, True),
        "500 in an upload": (UPLOAD, 500, 1, False),
    },
    "xet": {
        "500 on commit, twice": (COMMIT, 500, 2, False),
        "412 on commit, twice": (COMMIT, 412, 2, False),
        "answer to the commit lost": (COMMIT, CUT, 1, True),
        "500 on the token": (TOKEN, 500, 1, False),
        "connection reset on the token": (TOKEN, CUT, 1, False),
    },
}
"""What goes wrong: which requests, status, how often, and whether they are carried out before."""
HELD = {"lfs": {"an upload": (UPLOAD, 2), "the commit": (COMMIT, 0)}, "xet": {"the commit": (COMMIT, 0)}}
"""In the middle of what a pusher is killed: requests that are held, after so many."""


def build(images: int, a_shard: int, out: Path, layout: bool | str = "table") -> Path:
    from comvint_hf import AnnotationLLM, LLMs, load_scenes
    from comvint_hf import build as build_dataset
    from comvint_hf.generation.recipes.svit import svit

    build_dataset(
        load_scenes(f"shapes:{images}"),
        svit(),
        LLMs.one(AnnotationLLM()),
        out,
        images=layout,
        shard_scenes=a_shard,
        progress=False,
    )
    return out


@contextmanager
def local_hub(path: str) -> Iterator:
    """The local Hub for this process and its children, who send files by `path`; must come before the clients' import."""
    from hub import conftest

    conftest.PATIENCE = 600
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, TESTS / "hub" / "local_hub.py"]
        server = subprocess.Popen(command, env={**os.environ, "TMPDIR": home}, stdout=subprocess.PIPE, text=True)
        url = server.stdout.readline().strip()
        os.environ |= {"HF_ENDPOINT": url, "HF_TOKEN": "hf_local", "HF_HOME": home, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        os.environ |= {"HF_HUB_DISABLE_XET": "1"} if path == "lfs" else {}
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
        try:
            yield conftest.Hub(url)
        finally:
            server.kill()
            server.wait(10)


def grown(path: str, images: int, a_shard: int) -> None:
    """Print what the second push sends."""
    with local_hub(path) as hub, tempfile.TemporaryDirectory() as work:
        from comvint_hf import push

        for layout, name in (("table", "photos once"), (True, "photos in the rows")):
            before, after = (
                build(count, a_shard, Path(work) / f"{count}-{layout}", layout) for count in (images, images * 101 // 100)
            )
            whole = sum(file.stat().st_size for file in after.rglob("*.parquet"))
            sent = (lambda: hub.log().get("lfs bytes", 0)) if path == "lfs" else (lambda: sum(hub.sent_by_xet().values()))
            repository = f"tester/grown-{layout}".lower()
            push(before, repository)
            first = sent()
            push(after, repository)
            shards = sum(1 for _ in after.rglob("*.parquet"))
            print(
                f"{path}, {name}: {whole / 2**20:.1f} MiB in {shards} files; sent again {(sent() - first) / 2**20:.2f} MiB, "
                f"{(sent() - first) / whole:.1%}",
                flush=True,
            )
            hub.forget(everything=True)


def faults(path: str) -> None:
    """Print a line for each fault."""
    with local_hub(path) as hub, tempfile.TemporaryDirectory() as work:
        from hub.reading import PUSH, ids
        from huggingface_hub import HfApi

        from comvint_hf import push

        old, new, other = (build(count, 10, Path(work) / str(count)) for count in (20, 40, 30))

        def pusher(folder: Path, repository: str) -> subprocess.Popen:
            return subprocess.Popen([sys.executable, "-c", PUSH, str(folder), repository], stdout=subprocess.DEVNULL)

        def tell(fault: str, repository: str, outcome: str, wanted: Path = new, revision: str | None = None) -> None:
            lost, doubled = compare(ids(wanted), read(repository, revision))
            print(f"| {path} | {fault} | {outcome} | {lost} | {doubled} |", flush=True)

        for number, (fault, settings) in enumerate(PASSING[path].items()):
            push(old, repository := f"tester/passing-{number}")
            hub.fail(*settings)
            push(new, repository, wait=0.01)
            assert not hub.unmet(), f"{fault} did not happen"
            commits = len(HfApi().list_repo_commits(repository, repo_type="dataset")) - 2
            tell(fault, repository, f"the same push goes on, {commits} commit")
            hub.forget(everything=True)
        push(old, "tester/lasting")
        hub.fail(COMMIT, 500, 100)
        tell(
            "500 on every commit",
            "tester/lasting",
            f"{refused(lambda: push(new, 'tester/lasting', wait=0.01))}; the old version is whole",
            old,
        )
        for what, (pattern, after) in HELD[path].items():
            hub.forget(everything=True)
            push(old, repository := f"tester/killed-{pattern[-4:].strip('/')}")
            with hub.holding(pattern, after=after) as until_held:
                killed = pusher(new, repository)
                until_held()
                hub.kill(killed)
            tell(f"kill -9 in {what}", repository, "the old version is whole", old)
            push(new, repository)
            tell(f"kill -9 in {what}, pushed again", repository, "the new version")
        push(old, "tester/two")
        with hub.holding(COMMIT, count=2) as until_held:
            both = [pusher(new, "tester/two"), pusher(other, "tester/two")]
            until_held()
        assert [one.wait(120) for one in both] == [0, 0]
        from comvint_hf.hub.push import version_tag

        for wanted in (new, other):
            tell("two pushers at once", "tester/two", "its version by its tag", wanted, version_tag(wanted))


def refused(work: Callable[[], object]) -> str:
    """The first words of the error that the work ends with."""
    from comvint_hf.errors import EndpointError

    try:
        work()
    except EndpointError as error:
        return f'"{str(error).partition(",")[0]}"'
    raise AssertionError("the push should not have gone through")


def read(repository: str, revision: str | None) -> dict[str, list[str]]:
    """The ids of a repository's rows by config and split, as a streaming reader finds them."""
    from datasets import get_dataset_config_names, load_dataset

    found = {}
    for config in {"default", "rejected"} & {*get_dataset_config_names(repository, revision=revision)}:
        for split, rows in load_dataset(repository, config, revision=revision, streaming=True).items():
            found[f"{config}/{split}"] = [row["id"] for row in rows.select_columns(["id"])]
    return found


def compare(wanted: dict[str, list[str]], found: dict[str, list[str]]) -> tuple[int, int]:
    """How many rows are missing, and how many are there once too often."""
    should, have = (Counter((where, id) for where, ids in held.items() for id in ids) for held in (wanted, found))
    return (should - have).total(), (have - should).total()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["grown", "faults"], nargs="?", help="Both unless told.")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--shard-scenes", type=int, default=100)
    parser.add_argument("--path", choices=["lfs", "xet"], help="One way of transfer alone, in this process.")
    given = parser.parse_args()
    what = [given.what] if given.what else ["grown", "faults"]
    if not given.path:
        for one in what:
            if one == "faults":
                print("| transfer | fault | outcome | rows lost | rows doubled |\n|---|---|---|---|---|", flush=True)
            for path in ("lfs", "xet"):
                numbers = ["--images", str(given.images), "--shard-scenes", str(given.shard_scenes)]
                subprocess.run([sys.executable, __file__, one, "--path", path, *numbers], check=True)
        return
    if "grown" in what:
        grown(given.path, given.images, given.shard_scenes)
    if "faults" in what:
        faults(given.path)


if __name__ == "__main__":
    main()
