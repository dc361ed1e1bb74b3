"""Measure how fast sources are read, beside a bare reader that makes no records, in the same run on the same files.

Run `python tests/benchmarks/bench_sources.py [FLICKR30K_DIR]`; it prints images a second of CPU time and the ratio.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.etree import ElementTree

from comvint_hf.sources import load_scenes

COPIES = 8
ROUNDS = 5
WANTED = 4000
PHRASE = re.compile(r"\[/EN#(\d+)/([^ \]]+) ([^\]]+)\]")


def bare(root: Path) -> Iterable[tuple[dict, list]]:
    """Read boxes and phrases with ElementTree and a pattern: no records, no checks, no photos."""
    for path in sorted((root / "Annotations").glob("*.xml")):
        tree = ElementTree.parse(path).getroot()
        boxes: dict[str, list] = {}
        for thing in tree.findall("object"):
            corners = thing.find("bndbox")
            for name in thing.findall("name"):
                if corners is not None:
                    boxes.setdefault(name.text, []).append([int(edge.text) - 1 for edge in corners])
        lines = (root / "Sentences" / f"{path.stem}.txt").read_text("utf-8").splitlines()
        yield boxes, [(PHRASE.sub(r"\3", line), PHRASE.findall(line)) for line in lines]


def rate(read: Callable[[], Iterable[object]]) -> float:
    """Images a second of CPU time."""
    started = time.process_time()
    count = sum(1 for _ in read())
    return count / (time.process_time() - started)


def copies(root: Path, into: Path) -> Path:
    """The corpus `COPIES` times over, so that what is done once a run does not weigh more than in the real one."""
    for folder, ending in (("Annotations", ".xml"), ("Sentences", ".txt")):
        os.makedirs(into / folder)
        for path in (root / folder).glob(f"*{ending}"):
            for copy in range(COPIES):
                shutil.copyfile(path, into / folder / f"{path.stem}{copy}{ending}")
    return into


def main() -> None:
    here = Path(__file__).parents[3] / "shared" / "data" / "flickr30k_entities"
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    if not root.is_dir():
        raise SystemExit(f"No annotations under {root}: give the folder of Flickr30k Entities.")
    with tempfile.TemporaryDirectory() as folder:
        corpus = copies(root, Path(folder) / "corpus")
        stream = load_scenes(f"flickr30k:{corpus}")
        pairs = [(rate(lambda: bare(corpus)), rate(lambda: stream)) for _ in range(ROUNDS)]
    plain, ours = (max(values) for values in zip(*pairs, strict=True))
    print(f"Flickr30k Entities, images/s a core, best of {ROUNDS}")
    print(f"bare reader {plain:,.0f}, scenes {ours:,.0f}: {ours / plain:.2f} of the bare reader's rate")
    print(f"wanted: {WANTED:,} images/s; reached {ours / WANTED:.2f} times that")


if __name__ == "__main__":
    main()
