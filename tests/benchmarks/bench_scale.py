"""Whether a build's memory stays flat and its time linear while the dataset grows.

    python tests/benchmarks/bench_scale.py [--rows 100000 300000 1000000] [--num-workers N] [flags of builders/svit.py]

Each size is a run of `builders/svit.py` over rendered scenes, answered by the embedded annotator; with `--num-workers` it is told
`--executor local --num-workers N`. Unless told, photos are left out (`--store-images none`), so that what is measured is the way
of the rows. Memory is the peak of the largest process. The last column is the CPU time a row took over that of the first size.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUILDER = Path(__file__).parents[2] / "builders" / "svit.py"
ROWS_A_SCENE = 22.6
"""Of SVIT's recipe over rendered scenes."""
WATCH = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss // 1024, used.ru_utime + used.ru_stime)
sys.exit(done.returncode)
"""
"""Runs a command and says the peak of its largest process in MiB and the CPU seconds of all, which only a parent is told."""


def build(scenes: int, flags: list[str], out: Path) -> dict[str, float]:
    """Run the builder over so many scenes; gives rows, seconds, CPU seconds and MiB."""
    command = [sys.executable, str(BUILDER), "--scenes", f"shapes:{scenes}", "--out", str(out), *flags]
    start = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", WATCH, *command], check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = time.perf_counter() - start
    peak, busy = map(float, said.split())
    size = sum(path.stat().st_size for path in out.rglob("*.parquet"))
    rows = json.loads((out / "build.json").read_text())["rows"]
    return {"rows": rows, "s": seconds, "CPU": busy, "MiB": peak, "stored": size / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--num-workers", type=int, help="Several processes, with the builder's local executor.")
    given, flags = parser.parse_known_args()
    if not any(flag.startswith("--store-images") for flag in flags):
        flags += ["--store-images", "none"]
    if given.num_workers:
        flags += ["--executor", "local", "--num-workers", str(given.num_workers)]
    print(f"builders/svit.py {' '.join(flags)}")
    first = None
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            found = build(round(rows / ROWS_A_SCENE), flags, Path(folder) / "out")
        pace = found["CPU"] / found["rows"]
        first = first or pace
        print(
            f"{found['rows']:>10,} rows{found['s']:>9.1f} s{found['CPU']:>9.1f} s of CPU{found['MiB']:>7,.0f} MiB of memory"
            f"{found['stored']:>9,.1f} MiB stored{pace / first:>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
