"""Select rows: arrays in, ascending row numbers out, an explicit seed for every random draw.

SVIT's coreset (PAPERS section 1) selects twice: the half of each task that says most about a set of concepts, and as many yes
answers as the no answers allow.
"""

from __future__ import annotations

import itertools
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from comvint_hf.answers import yes_no
from comvint_hf.dataset.statistics import split_words
from comvint_hf.text import singular

# A key word in a smaller share of the samples is dropped from the concept set.
MIN_WORD_SHARE = 1e-4


def balance_yes_no(answers: Sequence[str], ratio: float = 8.0, seed: int = 0) -> np.ndarray:
    """Drop random yes answers until there are at most `ratio` for each no; all other rows stay.

    SVIT found 8 best: generated data says yes 20 times as often as no, and 1 taught the model to deny nearly everything.
    Without a single no there is nothing to balance, and every row stays.

    Returns:
        The rows kept, [M] int64.
    """
    verdicts = [yes_no(answer) for answer in answers]
    yes = np.flatnonzero([verdict == "yes" for verdict in verdicts])
    allowed = int(ratio * verdicts.count("no"))
    # Without any no, `allowed` is 0 and every yes would go.
    if not 0 < allowed < len(yes):
        return np.arange(len(answers))
    dropped = np.random.default_rng(seed).choice(yes, len(yes) - allowed, replace=False)
    return np.setdiff1d(np.arange(len(answers)), dropped)


@cache
def load_concepts() -> dict[str, tuple[str, ...]]:
    """Load the concept set: high-level concepts, each with its key words (of one word, or two as "next to")."""
    stored = tomllib.loads(files("comvint_hf.dataset").joinpath("concepts.toml").read_text(encoding="utf-8"))
    return {name: tuple(words) for name, words in stored.items()}


def match_concepts(texts: Iterable[str], words: Sequence[str]) -> np.ndarray:
    """Find the key words in each text; plurals count as their singular. Returns [N, K] bool."""
    column = {word: number for number, word in enumerate(words)}
    rows = []
    for text in texts:
        row = np.zeros(len(words), dtype=bool)
        row[[column[word] for word in _extract_keywords(text) if word in column]] = True
        rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, len(words)), dtype=bool)


def _extract_keywords(text: str) -> set[str]:
    words = [word.lower() for word in split_words(text)]
    return {*words, *map(singular, words), *(f"{first} {second}" for first, second in itertools.pairwise(words))}


def score_informativeness(hits: np.ndarray, min_share: float = MIN_WORD_SHARE) -> np.ndarray:
    """Count the key words in each sample, without those that are rare in the data.

    Args:
        hits: [N, K] bool, as from `match_concepts`.
        min_share: A key word counts if at least this share of the samples has it.

    Returns:
        [N] int64.
    """
    common = hits.mean(axis=0) >= min_share if len(hits) else slice(None)
    return hits[:, common].sum(axis=1)


def select_informative(scores: np.ndarray, tasks: Sequence[str], count: int, seed: int = 0, keep: float = 0.5) -> np.ndarray:
    """Keep the more informative part of each task, then draw `count` rows of it. Ties are broken at random.

    Args:
        scores: [N], as from `score_informativeness`.
        tasks: The task of each row.
        count: Rows to draw of each task.
        seed: Decides ties and draws.
        keep: The share of each task that rows are drawn from.

    Returns:
        The rows kept, [M] int64.
    """
    generator = np.random.default_rng(seed)
    labels, chosen = np.asarray(tasks), []
    for task in sorted(set(tasks)):
        rows = np.flatnonzero(labels == task)
        order = np.lexsort((generator.random(len(rows)), -np.asarray(scores)[rows]))
        better = rows[order[: max(int(np.ceil(keep * len(rows))), 1)]]
        chosen.append(generator.choice(better, min(count, len(better)), replace=False))
    return np.sort(np.concatenate(chosen)) if chosen else np.arange(0)


def sample_limited(labels: Sequence[str], limits: Mapping[str, int], seed: int = 0) -> np.ndarray:
    """Draw at most `limits[label]` rows of each label; labels without a limit stay whole. Returns the rows kept, [M] int64."""
    generator = np.random.default_rng(seed)
    array, kept = np.asarray(labels, dtype=object), np.ones(len(labels), dtype=bool)
    for label, limit in sorted(limits.items()):
        rows = np.flatnonzero(array == label)
        if len(rows) > limit:
            kept[generator.choice(rows, len(rows) - limit, replace=False)] = False
    return np.flatnonzero(kept)


def sample_evenly(labels: Sequence[str], seed: int = 0) -> np.ndarray:
    """Draw equally many rows of every label (the VLIT review's uniform resampling). Returns the rows kept, [M] int64."""
    counts = Counter(labels)
    return sample_limited(labels, dict.fromkeys(counts, min(counts.values(), default=0)), seed)
