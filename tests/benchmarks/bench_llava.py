"""Time and memory of reading a LLaVA file of the size of the 665K mix, and of mixing it.

    python tests/benchmarks/bench_llava.py read|mix [--records 665000]

Writes a synthetic file of about 1.6 KB a record (1.09 GB for 665,000), in which 250,000 of 665,000 ids repeat as in the real one and
one record in 16 has no image; then reads it in another process and prints rows, seconds, seconds of CPU and peak memory.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

WORDS = [
    "the",
    "a",
    "man",
    "woman",
    "dog",
    "red",
    "car",
    "street",
    "is",
    "on",
    "of",
    "with",
    "near",
    "holding",
    "what",
    "why",
    "how",
    "many",
    "people",
    "sitting",
    "table",
]
READ = """
import resource, sys, time
from collections import Counter
from pathlib import Path
from comvint_hf import from_llava
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import mix
from comvint_hf.read_counts import ReadCounts
what, path = sys.argv[1:]
counts, start = ReadCounts(), time.perf_counter()
if what == "read":
    rows = sum(1 for _ in from_llava(path, counts=counts))
else:
    statistics = mix([open_input(path)], Path(path).parent / "mix")
    rows, counts = statistics.kept, statistics.notes
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{what}: {rows:,} rows, {time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of CPU, {peak:.0f} MiB; {dict(counts)}")
"""


def write(path: Path, records: int) -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choice(WORDS) for _ in range(40)) for _ in range(2000)]
    with path.open("w") as file:
        for number in range(records):
            image = f"coco/train2017/{number % 340_000:012d}.jpg" if number % 16 else None
            turns = []
            for turn in range(draw.randint(1, 8)):
                question = f"{draw.choice(texts)[:80]} {number} {turn}?"
                turns.append({"from": "human", "value": f"<image>\n{question}" if image and not turn else question})
                turns.append({"from": "gpt", "value": draw.choice(texts)})
            record = {
                "id": f"{number % max(1, records * 415 // 665):012d}",
                **({"image": image} if image else {}),
                "conversations": turns,
            }
            file.write((",\n" if number else "[") + json.dumps(record))
        file.write("]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["read", "mix"])
    parser.add_argument("--records", type=int, default=665_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "llava.json"), arguments.records)
        subprocess.run([sys.executable, "-W", "ignore", "-c", READ, arguments.what, f"{folder}/llava.json"], check=True)
