"""How fast rows are written: our shards against datasets' from_generator and to_parquet, and the conductor around them.

Run as `python tests/benchmarks/bench_build.py [--rows 20000]`. Rows hold text, a box, evidence and a 4 KB photo, ten rows
an image. The conductor's recipe has its samples ready, so what is measured is everything but the recipe. Rates are for
one core; run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROWS_AN_IMAGE = 10
PHOTO_BYTES = 4096


def photo(number: int) -> bytes:
    """A JPEG's worth of bytes that do not compress."""
    return b"\xff\xd8" + random.Random(number).randbytes(PHOTO_BYTES - 2)


def rows(count: int) -> Iterator[dict]:
    """Rows as `data.rows.to_row` makes them."""
    for number in range(count):
        image = photo(number // ROWS_AN_IMAGE) if number % ROWS_AN_IMAGE == 0 else image  # noqa: F821
        box = [0.1, 0.2, 0.3, 0.4]
        answer = f"The <st>cup<ed>[0.100, 0.200, 0.300, 0.400] stands left of the plate, {number} steps from the door."
        yield {
            "id": f"bench/{number // ROWS_AN_IMAGE}/conversation/{number % ROWS_AN_IMAGE}",
            "image_id": f"bench/{number // ROWS_AN_IMAGE}",
            "images": [{"bytes": image, "path": None}],
            "messages": [{"role": "user", "content": "What stands on the table?"}, {"role": "assistant", "content": answer}],
            "task": "conversation",
            "format": "open",
            "source": "bench",
            "boxes": [box],
            "phrases": ["cup"],
            "generator": "bench",
            "judge": "",
            "rounds": 0,
            "topic": "",
            "width": 64,
            "height": 64,
            "evidence": [{"tag": "o1", "key": "1", "name": "cup", "boxes": [box]}],
            "history": [],
        }


def with_shards(count: int, folder: Path) -> None:
    """Ours: `data.shards`."""
    from comvint_hf.dataset.shards import WITH_IMAGES, Shard

    shard = Shard(folder, 0)
    for row in rows(count):
        shard.add(WITH_IMAGES, "conversation", "train", row)
    shard.commit({})


def with_card(count: int, folder: Path) -> None:
    """Ours to the end: rows counted as they come, and the card with its pictures drawn from the counts."""
    from comvint_hf.dataset.card import write_card
    from comvint_hf.dataset.shards import WITH_IMAGES, Shard, read_marker
    from comvint_hf.dataset.statistics import Statistics

    shard, statistics = Shard(folder, 0), Statistics()
    for row in rows(count):
        shard.add(WITH_IMAGES, "conversation", "train", row)
        statistics.add(row, "train")
    shard.commit({})
    nothing = {name: {} for name in ("settings", "prompts", "asking")}
    part = dict.fromkeys(("version", "recipe", "generator", "judge", "scenes", "source"), "bench")
    licence = {"name": "unknown", "text": "", "share_images": True}
    about = {"parts": [{**part, **nothing, "seed": 0, "licence": licence}], "files": read_marker(folder, 0)["files"]}
    write_card(folder, {**about, "rows": count, "rejected": 0, "usage": {}}, statistics)


def with_datasets(count: int, folder: Path) -> None:
    """The usual way: `Dataset.from_generator`, then `to_parquet`."""
    from datasets import Dataset, disable_progress_bars

    from comvint_hf.dataset.schema import features

    disable_progress_bars()
    made = Dataset.from_generator(rows, gen_kwargs={"count": count}, features=features(), cache_dir=str(folder / "cache"))
    made.to_parquet(folder / "rows.parquet")


def with_conductor(count: int, folder: Path) -> None:
    """`build` with a recipe whose samples are ready: references rendered, rows made, counted and written."""
    from comvint_hf import build
    from comvint_hf.generation.llm import LLMs, ScriptedLLM
    from comvint_hf.types import Box, Object, Sample, Scene

    thing = Object(tag="o1", key="1", name="cup", boxes=(Box(x1=0.1, y1=0.2, x2=0.3, y2=0.4),))

    class Ready:
        name, prompts, settings = "ready", (), {}

        async def run(self, scene: Scene, llms: LLMs) -> list[Sample]:
            blank = Sample.model_construct(scene=scene, evidence=("o1",))
            turn = ("What stands on the table?", "The <st>cup<ed>[o1] stands left of the plate, two steps from the door.")
            return [blank.write([turn]) for _ in range(ROWS_AN_IMAGE)]

    def scenes() -> Iterator[Scene]:
        for number in range(count // ROWS_AN_IMAGE):
            yield Scene.model_construct(id=f"bench/{number}", source="bench", width=64, height=64, objects=(thing,))

    build(scenes(), Ready(), LLMs.one(ScriptedLLM([])), folder / "out", images=False, progress=False)


WAYS = {
    "shards": with_shards,
    "shards and card": with_card,
    "from_generator + to_parquet": with_datasets,
    "conductor": with_conductor,
}


def measure(way: str, count: int) -> dict:
    """Run one way in this process, imports and a small warm-up apart."""
    import datasets  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        WAYS[way](100, Path(folder) / "warm")
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        WAYS[way](count, Path(folder) / "timed")
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        size = sum(path.stat().st_size for path in (Path(folder) / "timed").rglob("*.parquet"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rows/s": count / seconds,
        "rows/s of CPU": count / cpu,
        "MiB written": size / 2**20,
        "MiB of memory": after.ru_maxrss / 1024,
    }


def main() -> None:
    """Measure each way in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--way", choices=list(WAYS))
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.rows)))
        return
    for way in WAYS:
        command = [sys.executable, __file__, "--rows", str(given.rows), "--way", way]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{way:<28}" + "".join(f"{value:>12,.1f} {name}" for name, value in found.items()))


if __name__ == "__main__":
    main()
