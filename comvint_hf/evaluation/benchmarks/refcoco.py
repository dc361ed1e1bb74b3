"""RefCOCO, RefCOCO+, RefCOCOg: find the box of an expression. Knows expressions with `gt_box` as [x, y, width, height].

Answers say in which form their numbers are; no form is ever tried after another, so a wrong one shows as a low score
or an error instead of a flattering number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks.files import Question, read_records, same_number, write_records
from comvint_hf.grounding import bare_boxes, iou
from comvint_hf.types import Box

Form = Literal["text", "xywh", "xyxy"]
"""`text`: the model's words with canonical boxes; `xywh` and `xyxy`: a field `box` of four pixel numbers."""
Numbers = tuple[float, float, float, float]


def questions(path: Path, wording: str = "{}") -> list[Question]:
    """Read expressions; `wording` makes a question of one, "Where is {}?". The picture is the proposals' COCO file."""
    return [
        Question(number, _image(record), wording.format(record["sent"]), gold=" ".join(map(str, record["gt_box"])))
        for number, record in enumerate(read_records(path))
    ]


def write(asked: Sequence[Question], replies: Sequence[str], path: Path) -> None:
    """Write one record an expression, by its number in the question file."""
    write_records(path, ({"index": item.id, "text": reply} for item, reply in zip(asked, replies, strict=True)))


def score(answers: Path, gold: Path, form: Form = "text", images: Path | None = None) -> dict[str, float]:
    """Score answers: mean IoU and the share with IoU of at least 0.5, the first box of an answer standing for it.

    With `form="text"` the boxes are fractions, and `images` holds the pictures whose sizes they are fractions of (unless
    each gold record has `width` and `height`). An answer without a box has IoU 0.
    """
    records, expressions = read_records(answers), read_records(gold)
    same_number(records, expressions, str(answers))
    overlaps = []
    for number, (record, expression) in enumerate(zip(records, expressions, strict=True)):
        if record.get("index", number) != number:
            raise InputError(f"{answers}, answer {number + 1} has the index {record['index']}; expected {number}.")
        truth = pixels(expression["gt_box"], "xywh", f"{gold}, expression {number}")
        overlaps.append(overlap(_answered(record, form, expression, images, f"{answers}, answer {number}"), truth))
    return {"n": len(overlaps), **summary(overlaps)}


def summary(overlaps: Sequence[float]) -> dict[str, float]:
    """Mean IoU and Acc@0.5, as fractions."""
    return {"mean_iou": sum(overlaps) / len(overlaps), "acc_at_50": sum(value >= 0.5 for value in overlaps) / len(overlaps)}


def pixels(numbers: Sequence[float], form: Form, where: str = "the box") -> Numbers:
    """Pixel corners (x1, y1, x2, y2) from four numbers. Raises `InputError` for a box without area in this form."""
    first, second, third, fourth = map(float, numbers)
    corners = (first, second, first + third, second + fourth) if form == "xywh" else (first, second, third, fourth)
    if not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise InputError(f"{where}: {list(numbers)} read as {form} has no area; the numbers are of another form.")
    return corners


def overlap(found: Numbers | None, truth: Numbers) -> float:
    """IoU of two pixel boxes, 0 where none was found."""
    if found is None:
        return 0.0
    # IoU does not change with the unit, so any common extent turns pixels into fractions; negative corners are off-picture.
    extent = max(*found, *truth)
    one, other = (
        Box(**dict(zip(("x1", "y1", "x2", "y2"), (max(number, 0.0) / extent for number in box), strict=True)))
        for box in (found, truth)
    )
    return iou(one, other)


def _answered(record: dict[str, Any], form: Form, expression: dict[str, Any], images: Path | None, where: str) -> Numbers | None:
    if form != "text":
        if "box" not in record:
            raise InputError(f"{where} has no field 'box'; expected four numbers as {form}. For text answers give the form text.")
        return pixels(record["box"], form, where) if record["box"] is not None else None
    boxes = bare_boxes(record.get("text", ""))
    if not boxes:
        return None
    width, height = _size(expression, images)
    x1, y1, x2, y2 = boxes[0].xyxy
    return x1 * width, y1 * height, x2 * width, y2 * height


def _size(expression: dict[str, Any], images: Path | None) -> tuple[int, int]:
    from PIL import Image

    if "width" in expression and "height" in expression:
        return expression["width"], expression["height"]
    if images is None:
        raise InputError(
            "The answers are fractions of pictures whose size is unknown; give the folder of pictures with --images."
        )
    with Image.open(images / _image(expression)) as picture:
        return picture.size


def _image(record: dict[str, Any]) -> str:
    """The picture's file name: `file_name`, else what the proposals' crops ("<picture>_<number>.jpg") are named after."""
    if "file_name" in record:
        return record["file_name"]
    return record["pred_boxes_img_id"][0].rsplit("_", 1)[0] + ".jpg" if record.get("pred_boxes_img_id") else ""
