"""Ask a model the questions of a dataset or of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from comvint_hf.errors import InputError, RowError
from comvint_hf.evaluation.benchmarks import BenchmarkQuestion
from comvint_hf.evaluation.scoring import RowQuestion, ScoredAnswer, extract_questions, object_names, score_answer
from comvint_hf.image_paths import resolve_inside
from comvint_hf.images import decode_image
from comvint_hf.serving.chat import Chat, ChatMessage, Conversation, OnProgress, no_progress

if TYPE_CHECKING:
    from PIL.Image import Image


class Rows(Protocol):
    """A `datasets.Dataset` or a list of rows. A dataset decodes the images of a row on access."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def list_questions(rows: Any) -> list[tuple[int, RowQuestion]]:
    """List every question of a dataset (see `Rows`) with the index of its row, without decoding any image."""
    light = rows.remove_columns("images") if "images" in getattr(rows, "column_names", ()) else rows
    return [(index, question) for index in range(len(light)) for question in extract_questions(light[index])]


def evaluate(
    chat: Chat, rows: Rows, *, batch_size: int = 32, text_only: bool = False, on_progress: OnProgress = no_progress
) -> list[ScoredAnswer]:
    """Ask all questions of a dataset and score the answers.

    Args:
        chat: The model.
        rows: The rows.
        batch_size: The number of questions a batch.
        text_only: Ask rows without an image too, although they have an `image_id`.
        on_progress: Called with the number of answered questions.

    Returns:
        The scored answers, in the order of the rows.

    Raises:
        RowError: If there is no question, or an image is missing.
    """
    questions = list_questions(rows)
    if not questions:
        raise RowError("The dataset has no question with an answer; expected rows with user and assistant turns.")
    # A batch takes as long as its longest answer, so questions with answers of similar length go together.
    order = sorted(range(len(questions)), key=lambda number: len(questions[number][1].gold))
    answers: list[str] = [""] * len(questions)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        conversations = [_to_conversation(rows[questions[number][0]], questions[number][1], text_only) for number in batch]
        for number, answer in zip(batch, chat.answers(conversations, batch_size), strict=True):
            answers[number] = answer
        on_progress(start + len(batch))
    names = object_names(question for _, question in questions)
    return [score_answer(question, answer, names) for (_, question), answer in zip(questions, answers, strict=True)]


def _to_conversation(row: Any, question: RowQuestion, text_only: bool) -> Conversation:
    images = row.get("images") or []
    # A model that does not see the image would be scored on guesses.
    if not images and row.get("image_id") and not text_only:
        raise RowError(
            f"Row {row['id']} names the image {row['image_id']} but holds no image; give the images with --images, "
            "or ask without them with --text-only."
        )
    return question.messages, (images[0] if images else None)


def answer_questions(
    chat: Chat,
    questions: Sequence[BenchmarkQuestion],
    images: Path,
    *,
    suffix: str = "",
    batch_size: int = 32,
    on_progress: OnProgress = no_progress,
) -> list[str]:
    """Ask a benchmark's questions about the images in a folder; `suffix` is added to each on a line of its own."""
    answers: list[str] = []
    for start in range(0, len(questions), batch_size):
        conversations: list[Conversation] = []
        for question in questions[start : start + batch_size]:
            text = f"{question.text}\n{suffix}" if suffix else question.text
            conversations.append(([ChatMessage(role="user", content=text)], _open_image(images, question.image)))
        answers += chat.answers(conversations, batch_size)
        on_progress(len(answers))
    return answers


def _open_image(images: Path, name: str) -> Image:
    names = [name]
    if len(Path(name).parts) > 1:
        # Some tasks of MME keep their images in a subfolder `images`.
        names.append(str(Path(name).parent / "images" / Path(name).name))
    for one in names:
        path = resolve_inside(images, one)
        if path is not None and path.is_file():
            return decode_image(path, f"The image {images / one}")
    raise InputError(f"There is no image {name} in {images}; expected {' or '.join(str(images / one) for one in names)}.")
