"""Ask a model every question of a dataset, or of a benchmark. Knows chats, rows and pictures; judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from comvint_hf.errors import InputError, RowError
from comvint_hf.evaluation.benchmarks.files import Question
from comvint_hf.evaluation.scoring import Ask, Judged, asks, judge, vocabulary
from comvint_hf.serving.chat import Chat, Talk, Turn, open_picture

if TYPE_CHECKING:
    from PIL.Image import Image

Done = Callable[[int], None]
"""Told how many questions are answered."""


class Rows(Protocol):
    """A `datasets.Dataset`, or a list that does as much: a row is read, and its pictures decoded, when it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: int) -> Any: ...


def questions_of(rows: Rows) -> list[tuple[int, Ask]]:
    """Every question of a dataset with its row's number. Pictures are not decoded for this."""
    light = rows.remove_columns("images") if "images" in getattr(rows, "column_names", ()) else rows
    return [(place, question) for place in range(len(light)) for question in asks(light[place])]


def evaluate(chat: Chat, rows: Rows, *, batch_size: int = 32, text_only: bool = False, done: Done | None = None) -> list[Judged]:
    """Ask all questions of the rows and judge the answers, in the order of the rows.

    A row that has an `image_id` and no picture raises `RowError` unless `text_only`: its score would mean nothing.
    """
    questions = questions_of(rows)
    if not questions:
        raise RowError("The dataset has no question with an answer; expected rows with user and assistant turns.")
    # A batch runs as long as its longest answer, so those that are alike go together.
    order = sorted(range(len(questions)), key=lambda number: len(questions[number][1].gold))
    answers: list[str] = [""] * len(questions)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        talks = [_talk(rows, *questions[number], text_only) for number in batch]
        for number, answer in zip(batch, chat.answers(talks, batch_size), strict=True):
            answers[number] = answer
        if done is not None:
            done(start + len(batch))
    names = vocabulary(question for _, question in questions)
    return [judge(question, answer, names) for (_, question), answer in zip(questions, answers, strict=True)]


def _talk(rows: Rows, place: int, question: Ask, text_only: bool) -> Talk:
    row = rows[place]
    pictures = row.get("images") or []
    if not pictures and row.get("image_id") and not text_only:
        raise RowError(
            f"Row {row['id']} names the image {row['image_id']} and holds no picture; give them with --images, "
            "or ask blind on purpose with --text-only."
        )
    return [Turn(**message) for message in question.messages], (pictures[0] if pictures else None)


def answer_questions(
    chat: Chat, questions: Sequence[Question], images: Path, *, suffix: str = "", batch_size: int = 32, done: Done | None = None
) -> list[str]:
    """Ask a benchmark's questions about the pictures under `images`; `suffix` is added to each on a line of its own."""
    answers: list[str] = []
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        talks: list[Talk] = []
        for question in batch:
            text = f"{question.text}\n{suffix}" if suffix else question.text
            talks.append(([Turn(role="user", content=text)], _open(images, question.image)))
        answers += chat.answers(talks, batch_size)
        if done is not None:
            done(len(answers))
    return answers


def _open(images: Path, name: str) -> Image:
    for path in _places(images, name):
        if path.is_file():
            return open_picture(path)
    raise InputError(f"There is no picture {name} under {images}; expected {' or '.join(map(str, _places(images, name)))}.")


def _places(images: Path, name: str) -> Iterator[Path]:
    """Where a picture may lie."""
    yield images / name
    # MME keeps some tasks' pictures one folder deeper.
    path = Path(name)
    if path.parent != Path("."):
        yield images / path.parent / "images" / path.name
