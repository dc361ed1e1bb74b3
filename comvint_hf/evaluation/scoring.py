"""From rows to questions, and from answers to the figures of results.json. Knows rows and metrics, no model.

Every assistant turn of a row is one `Ask`, with the true turns before it as its history. An ask is closed (format bool
or choice), grounding (the true answer points at boxes that the question did not give) or a description; it can be
several of these. Other open answers are asked for and kept, and judged by nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from comvint_hf.evaluation.answers import option_letter, yes_no
from comvint_hf.evaluation.metrics import Mention, box_overlaps, mean, mention_overlap, mentions, share, without_given
from comvint_hf.grounding import bare_boxes
from comvint_hf.types import Box

EXISTENCE = "existence"
"""The topic of yes/no rows that ask whether a thing is there; with the answer no the thing is absent."""
DESCRIPTION = "detail_description"


@dataclass(frozen=True)
class Ask:
    """One turn to answer: the messages up to its question, and the true answer."""

    id: str
    messages: tuple[dict[str, str], ...]
    gold: str
    task: str
    format: str
    topic: str
    evidence: tuple[str, ...]

    @property
    def question(self) -> str:
        return self.messages[-1]["content"]

    @property
    def target_boxes(self) -> list[Box]:
        """The boxes of the true answer that no message has told before."""
        return without_given(bare_boxes(self.gold), self.given_boxes)

    @property
    def given_boxes(self) -> list[Box]:
        return [box for message in self.messages for box in bare_boxes(message["content"])]


@dataclass(frozen=True)
class Judged:
    """An answer and its verdicts; a verdict is `None` where it does not apply.

    `right` for closed asks; `said` what was read ("yes", "B", or `None` for an unreadable answer); `overlaps` an IoU for
    each target box; `precision`, `recall`, `f1` of the things that a description names.
    """

    id: str
    task: str
    format: str
    topic: str
    question: str
    gold: str
    answer: str
    truth: str | None = None
    said: str | None = None
    right: bool | None = None
    overlaps: list[float] | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


def asks(row: Mapping[str, Any]) -> Iterator[Ask]:
    """The questions of a row, one for each assistant turn."""
    messages = [{"role": message["role"], "content": message["content"]} for message in row["messages"]]
    for number, message in enumerate(messages):
        if message["role"] == "assistant" and number:
            yield Ask(
                f"{row['id']}#{number // 2}",
                tuple(messages[:number]),
                message["content"],
                row.get("task", ""),
                row.get("format", "open"),
                row.get("topic", ""),
                tuple(thing["name"] for thing in row.get("evidence") or ()),
            )


def judge(ask: Ask, answer: str, names: Iterable[str]) -> Judged:
    """Judge one answer. `names` are the things that descriptions may speak of (see `vocabulary`)."""
    verdicts: dict[str, Any] = {}
    if ask.format in READERS:
        truth, said = READERS[ask.format](ask.gold, ask.question), READERS[ask.format](answer, ask.question)
        # A true answer that cannot be read judges nobody.
        verdicts |= {"truth": truth, "said": said, "right": said == truth if truth else None}
    if targets := ask.target_boxes:
        verdicts["overlaps"] = box_overlaps(without_given(bare_boxes(answer), ask.given_boxes), targets)
    if ask.task == DESCRIPTION and (truth_mentions := true_mentions(ask, names)):
        overlap = mention_overlap(mentions(answer, names), truth_mentions)
        verdicts |= overlap._asdict()
    return Judged(ask.id, ask.task, ask.format, ask.topic, ask.question, ask.gold, answer, **verdicts)


READERS: dict[str, Callable[[str, str], str | None]] = {"bool": lambda text, question: yes_no(text), "choice": option_letter}
"""How the answers of closed formats are read."""


def vocabulary(questions: Iterable[Ask]) -> set[str]:
    """The names that the evidence of descriptions holds: what `description_f1` listens for."""
    return {name for ask in questions if ask.task == DESCRIPTION for name in ask.evidence}


def true_mentions(ask: Ask, names: Iterable[str]) -> set[Mention]:
    """What the true description names, with its attributes; the evidence's bare names where it names none of them."""
    return mentions(ask.gold, names) or {mention for name in ask.evidence for mention in mentions(name, names)}


def summarise(judged: Sequence[Judged]) -> dict[str, Any]:
    """The figures of results.json, shares and means as fractions, `None` where there is nothing to judge.

    `details` adds the intervals, and accuracy and boxes by format, task and topic.
    """
    closed = [item for item in judged if item.right is not None]
    boolean = [item for item in closed if item.format == "bool"]
    absent = [item for item in boolean if item.topic == EXISTENCE and item.truth == "no"]
    grounding = [item for item in judged if item.overlaps is not None]
    described = [item for item in judged if item.f1 is not None]
    return {
        "closed_accuracy": share(item.right for item in closed).value,
        **_boxes(grounding),
        "absent_accuracy": share(item.right for item in absent).value,
        "yes_ratio": share(item.said == "yes" for item in boolean).value,
        "description_f1": mean([item.f1 for item in described]),
        "n": {"closed": len(closed), "grounding": len(grounding), "absent": len(absent), "description": len(described)},
        "details": {
            "closed": _shares(closed),
            "absent": share(item.right for item in absent)._asdict(),
            "true_yes_ratio": share(item.truth == "yes" for item in boolean).value,
            "unreadable": sum(item.said is None for item in closed),
            "grounding": {name: {"n": len(own), **_boxes(own)} for name, own in _by(grounding, "task").items()},
            "without_box": sum(not any(item.overlaps) and not bare_boxes(item.answer) for item in grounding),
            "description": {key: mean([getattr(item, key) for item in described]) for key in ("precision", "recall", "f1")},
        },
    }


def _boxes(items: Sequence[Judged]) -> dict[str, float | None]:
    """Means over asks: a group of boxes weighs as much as a single one."""
    return {
        "mean_iou": mean([sum(item.overlaps) / len(item.overlaps) for item in items]),
        "acc_at_50": mean([sum(value >= 0.5 for value in item.overlaps) / len(item.overlaps) for item in items]),
    }


def _shares(closed: Sequence[Judged]) -> dict[str, Any]:
    groups = {kind: _by(closed, kind) for kind in ("format", "task", "topic")}
    return {
        "all": share(item.right for item in closed)._asdict(),
        **{kind: {name: share(i.right for i in own)._asdict() for name, own in names.items()} for kind, names in groups.items()},
    }


def _by(items: Iterable[Judged], kind: str) -> dict[str, list[Judged]]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for item in items:
        groups[getattr(item, kind)].append(item)
    return dict(sorted(groups.items()))


def records(judged: Iterable[Judged]) -> Iterator[dict[str, Any]]:
    """The answers with their verdicts, as they are written beside results.json."""
    return (asdict(item) for item in judged)
