"""How a reader counts what it did not read as it stands: a reason, how often, and the first examples.

Every reader of foreign files (sources, LLaVA and SVIT files, rows of the Hub, images) takes one `ReadCounts` and calls

- `counts.skip(reason, example)` for what is lost: a record, an image, a box, a caption;
- `counts.note(reason, example)` for what is kept, but changed or merged: a box clamped to the image, a photo turned upright.

A reason is a plural noun and what became of it ("images skipped: no width and height"). An example names the file and the record, and
shows the value; only the first `MAX_EXAMPLES` of a reason are kept, cleaned and cut. It is a `Counter`, so cards, statistics and
summaries add it up like any other, and a source of one's own may write `counts[reason] += 1`, which counts as lost.
`comvint check` and `describe` print it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from comvint_hf.strict_reader import redact

READ_AS = "read: "
"""Prefix of a note about a column or a form that a reader recognised."""
MAX_EXAMPLES = 3
EXAMPLE_CHARACTERS = 160


class ReadCounts(Counter[str]):
    """Counts by reason, with the first examples of each; see the module.

    Attributes:
        examples: The first examples of each reason.
        notes: The reasons under which nothing was lost.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(counts or {})
        self.examples: dict[str, list[str]] = {}
        self.notes: set[str] = set()

    def skip(self, reason: str, example: object = "", count: int = 1) -> None:
        """Count something lost. `example` is text, or a value that is shown by its `repr`."""
        self[reason] += count
        self.example(reason, example)

    def example(self, reason: str, example: object) -> None:
        """Keep an example of something that is counted elsewhere."""
        if example != "" and len(kept := self.examples.setdefault(reason, [])) < MAX_EXAMPLES:
            kept.append(" ".join(redact(shorten(example)).split())[:EXAMPLE_CHARACTERS])

    def note(self, reason: str, example: object = "", count: int = 1) -> None:
        """Count something that was kept, but not as it stood."""
        self.notes.add(reason)
        self.skip(reason, example, count)

    @property
    def lost(self) -> Counter[str]:
        """The counts of what was lost, without notes."""
        return Counter({reason: count for reason, count in self.items() if reason not in self.notes})

    def add(self, other: Counter[str]) -> None:
        """Add other counts, with their examples where they have some."""
        self.update(other)
        if isinstance(other, ReadCounts):
            self.notes |= other.notes
            for reason, examples in other.examples.items():
                kept = self.examples.setdefault(reason, [])
                kept.extend(examples[: MAX_EXAMPLES - len(kept)])

    def describe(self) -> list[str]:
        """One line a reason, the most frequent first: "REASON: 12 (such as EXAMPLE; EXAMPLE)"."""
        return [
            f"{reason}: {count:,}" + (f" (such as {'; '.join(examples)})" if (examples := self.examples.get(reason)) else "")
            for reason, count in self.most_common()
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),), {"examples": self.examples, "notes": self.notes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def as_counts(counts: Counter[str]) -> ReadCounts:
    """Return the counts themselves where they keep examples, else counts that add to them."""
    return counts if isinstance(counts, ReadCounts) else _Forwarding(counts)


class _Forwarding(ReadCounts):
    """Counts that a plain `Counter` gets, too."""

    def __init__(self, target: Counter[str]) -> None:
        super().__init__()
        self._target = target

    def __setitem__(self, reason: str, count: int) -> None:
        target = getattr(self, "_target", None)
        if target is not None:
            target[reason] += count - self[reason]
        super().__setitem__(reason, count)


def shorten(value: object) -> str:
    """A value in at most `EXAMPLE_CHARACTERS`; a large one is not written out whole first.

    >>> shorten([1, 2, 3]), shorten("a.jpg")
    ('[1, 2, 3]', 'a.jpg')
    """
    if isinstance(value, str):
        return value[: 4 * EXAMPLE_CHARACTERS]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 128:
        return "a number of hundreds of digits"
    from reprlib import Repr

    short = Repr()
    short.maxstring = short.maxother = 60
    short.maxlist = short.maxdict = 6
    short.maxlevel = 3
    return short.repr(value)
