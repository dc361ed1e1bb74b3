"""What an attempt of the attack came to, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """One attempt: how many rows were lost and doubled, and what else must never happen; `note` describes a failure."""

    name: str
    lost: int = 0
    doubled: int = 0
    foreign_files_read: int = 0
    hung: int = 0
    tracebacks: int = 0
    replies_locked: int = 0
    note: str = ""

    @property
    def is_clean(self) -> bool:
        return not (
            self.lost
            or self.doubled
            or self.foreign_files_read
            or self.hung
            or self.tracebacks
            or self.replies_locked
            or self.note
        )


@dataclass
class Tally:
    """The outcomes of one kind of attack."""

    kind: str
    least: int
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        self.outcomes.extend(outcomes)

    def count(self, figure: str) -> int:
        return sum(getattr(outcome, figure) for outcome in self.outcomes)


FIGURES = {
    "lost": "rows lost",
    "doubled": "doubled",
    "foreign_files_read": "files of others read",
    "hung": "hung",
    "tracebacks": "tracebacks",
    "replies_locked": "paid replies locked",
}


def format_table(tallies: Iterable[Tally]) -> str:
    """Format the table of the attack in Markdown."""
    lines = [["attack", "tries", *FIGURES.values(), "other failures"], ["---"] * (len(FIGURES) + 3)]
    for tally in tallies:
        others = sum(bool(outcome.note) for outcome in tally.outcomes)
        lines.append([tally.kind, str(len(tally.outcomes)), *(str(tally.count(name)) for name in FIGURES), str(others)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compare_rows(
    name: str, found: list[str], *expected: list[str], said: str = "", hung: bool = False, note: str = ""
) -> Outcome:
    """Compare the ids of rows with those of the version that is nearest: each version is right, a mixture is not."""
    nearest = min(expected, key=lambda ids: len(set(ids) ^ set(found)))
    have, want = Counter(found), Counter(nearest)
    return Outcome(
        name,
        lost=sum((want - have).values()),
        doubled=sum((have - want).values()),
        hung=int(hung),
        tracebacks=int("Traceback (most recent call last)" in said),
        note=note,
    )
