"""Choose rows: arrays in, ascending row numbers out, an explicit seed wherever dice are thrown.

SVIT's coreset (PAPERS section 1) is two choices: the half of each task that says most about a set of concepts, and as many
yes answers as the no answers allow. This file knows texts and labels; it knows no row and no file of a dataset.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from comvint_hf.dataset.statistics import words_of, yes_or_no

RARE = 1e-4
"""A key word in a smaller share of the samples than this is dropped from the concept set."""


def balance_yes_no(answers: Sequence[str], ratio: float = 8.0, seed: int = 0) -> np.ndarray:
    """Drop random yes answers until there are at most `ratio` for each no; all other rows stay. Gives rows kept, [M] int64.

    SVIT found 8 best: generated data says yes 20 times as often as no, and 1 taught the model to deny nearly everything.
    Without a single no there is nothing to balance against, and every row stays.
    """
    said = [yes_or_no(answer) for answer in answers]
    yes = np.flatnonzero([one is True for one in said])
    allowed = int(ratio * sum(one is False for one in said))
    if not 0 < allowed < len(yes):
        return np.arange(len(answers))
    dropped = np.random.default_rng(seed).choice(yes, len(yes) - allowed, replace=False)
    return np.setdiff1d(np.arange(len(answers)), dropped)


@cache
def concepts() -> dict[str, tuple[str, ...]]:
    """The concept set: high-level concepts, each with its key words (of one word, or two as "next to")."""
    stored = tomllib.loads(files("comvint_hf.dataset").joinpath("concepts.toml").read_text(encoding="utf-8"))
    return {name: tuple(words) for name, words in stored.items()}


def concept_hits(texts: Iterable[str], words: Sequence[str]) -> np.ndarray:
    """Which key words each text holds, [N, K] bool; plurals count as their singular."""
    place = {word: number for number, word in enumerate(words)}
    rows = []
    for text in texts:
        row = np.zeros(len(words), dtype=bool)
        row[[place[word] for word in _terms(text) if word in place]] = True
        rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, len(words)), dtype=bool)


def _terms(text: str) -> set[str]:
    spoken = [word.lower() for word in words_of(text)]
    singular = [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in spoken]
    return {*spoken, *singular, *(f"{one} {two}" for one, two in itertools.pairwise(spoken))}


def informativeness(hits: np.ndarray, rare: float = RARE) -> np.ndarray:
    """How many key words each sample holds, [N] int64, those rare in the data left out; `hits` is [N, K] bool."""
    common = hits.mean(axis=0) >= rare if len(hits) else slice(None)
    return hits[:, common].sum(axis=1)


def most_informative(scores: np.ndarray, tasks: Sequence[str], count: int, seed: int = 0, keep: float = 0.5) -> np.ndarray:
    """Keep the more informative part of each task, then draw `count` rows of it. Gives rows kept, [M] int64.

    `scores` is [N]; `keep` is the share of each task that stays in the draw; among equal scores chance decides.
    """
    dice = np.random.default_rng(seed)
    labels, chosen = np.asarray(tasks), []
    for task in sorted(set(tasks)):
        rows = np.flatnonzero(labels == task)
        order = np.lexsort((dice.random(len(rows)), -np.asarray(scores)[rows]))
        better = rows[order[: max(int(np.ceil(keep * len(rows))), 1)]]
        chosen.append(dice.choice(better, min(count, len(better)), replace=False))
    return np.sort(np.concatenate(chosen)) if chosen else np.arange(0)


def take(labels: Sequence[str], limits: Mapping[str, int], seed: int = 0) -> np.ndarray:
    """Draw at most `limits[label]` rows of each label; labels without a limit stay whole. Gives rows kept, [M] int64."""
    dice = np.random.default_rng(seed)
    array, kept = np.asarray(labels, dtype=object), np.ones(len(labels), dtype=bool)
    for label, most in sorted(limits.items()):
        rows = np.flatnonzero(array == label)
        if len(rows) > most:
            kept[dice.choice(rows, len(rows) - most, replace=False)] = False
    return np.flatnonzero(kept)


def even(labels: Sequence[str], seed: int = 0) -> np.ndarray:
    """Draw equally many rows of every label, as many as the rarest has (the VLIT review's uniform resampling)."""
    counts = {label: 0 for label in labels}
    for label in labels:
        counts[label] += 1
    return take(labels, dict.fromkeys(counts, min(counts.values(), default=0)), seed)
