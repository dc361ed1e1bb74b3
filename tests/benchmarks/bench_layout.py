"""What is stored when photos lie once, beside the text of many rows (SVIT's layout), and what joining them takes.

    python tests/benchmarks/bench_layout.py [--images 1000] [--rows-an-image 39] [--photo-bytes 80000]

SVIT has 4.2 million rows over 108,000 photos: 39 rows a photo. Photos here are noise, which does not compress, as JPEG
does not. Text counts as the bytes of the messages, uncompressed. Then `attach_images` joins the photos to all rows, plain
and streaming, each in a process of its own; its memory is the peak above that of the imports.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

JOIN = """
import os, resource, sys, time
from datasets import Image, List, disable_progress_bars, load_dataset
from comvint_hf import attach_images
disable_progress_bars()
folder, streaming = sys.argv[1], sys.argv[2] == "streaming"
rows = load_dataset(folder, split="train", streaming=streaming)
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
joined = attach_images(rows, folder).cast_column("images", List(Image(decode=False)))
count = sum(bool(row["images"]) for row in joined)
print(count, time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
sys.stdout.flush()
"""


def jpeg(about: int, seed: int) -> bytes:
    """A picture of noise of about so many bytes, 4 by 3."""
    import numpy as np
    from PIL import Image

    high = round((about / 1.33 / 0.52) ** 0.5)
    noise = np.random.default_rng(seed).integers(0, 256, (high, high * 4 // 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "JPEG", quality=60)
    return data.getvalue()


def build(images: int, rows: int, about: int, out: Path, layout: bool | str) -> None:
    """A dataset of so many photos and rows a photo, with the text of SVIT's rows over rendered scenes."""
    from comvint_hf import AnnotationLLM, LLMs, load_scenes
    from comvint_hf import build as build_dataset
    from comvint_hf.generation.recipes.svit import svit
    from comvint_hf.types import Sample, Scene

    recipe = svit()

    class Repeated:
        name, prompts, settings = "svit", recipe.prompts, recipe.settings

        async def run(self, scene: Scene, llms: LLMs) -> list[Sample]:
            samples = [sample for sample in await recipe.run(scene, llms) if sample.reason is None]
            return [samples[number % len(samples)] for number in range(rows)] if samples else []

    def scenes() -> Iterator[Scene]:
        for number, scene in enumerate(load_scenes(f"shapes:{images}")):
            yield scene.model_copy(update={"image": jpeg(about, number), "width": 640, "height": 480})

    build_dataset(scenes(), Repeated(), LLMs.one(AnnotationLLM()), out, images=layout, progress=False)


def weigh(folder: Path) -> dict[str, int]:
    """Bytes: of all files, of the photos, of the messages, and the rows."""
    from comvint_hf.dataset.reader import list_row_files, read_columns

    photos = sum(len(row["image"]["bytes"]) for path in list_row_files(folder, "images") for row in read_columns(path, ["image"]))
    text = count = 0
    for path in list_row_files(folder):
        for row in read_columns(path, ["messages"]):
            text += sum(len(message["content"].encode()) for message in row["messages"])
            count += 1
    stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and ".build" not in path.parts)
    return {"stored": stored, "photos": photos, "text": text, "rows": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rows-an-image", type=int, default=39)
    parser.add_argument("--photo-bytes", type=int, default=80_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table, rows = Path(folder) / "table", Path(folder) / "rows"
        build(given.images, given.rows_an_image, given.photo_bytes, table, "table")
        found = weigh(table)
        print(
            f"{found['rows']:,} rows, {found['photos'] / 2**20:,.1f} MiB of photos, {found['text'] / 2**20:,.1f} MiB of messages"
        )
        print(f"stored over photos and messages: {found['stored'] / (found['photos'] + found['text']):.3f}")
        build(given.images, given.rows_an_image, given.photo_bytes, rows, True)
        embedded = sum(path.stat().st_size for path in rows.rglob("*.parquet"))
        print(f"photos in the rows instead: {embedded / (found['photos'] + found['text']):.2f}")
        for way in ("plain", "streaming"):
            said = subprocess.run(
                [sys.executable, "-c", JOIN, str(table), way], check=True, capture_output=True, text=True, timeout=3600
            ).stdout
            count, seconds, memory = map(float, said.split())
            print(f"joined {way:<10}{count:>10,.0f} rows{count / seconds:>9,.0f} rows/s{memory:>8,.0f} MiB above the imports")


if __name__ == "__main__":
    main()
