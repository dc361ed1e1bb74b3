"""RefCOCO, RefCOCO+, RefCOCOg: find the box of an expression, whose `gt_box` is [x, y, width, height] in pixels.

The user says how answers hold boxes. No second format is tried, so a wrong one shows as a low score or an error and not as a
score that is too good.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkFiles, BenchmarkQuestion, BoxNotation, json_lines_writer
from comvint_hf.evaluation.benchmarks.files import check_same_length, read_records
from comvint_hf.grounding import iou, parse_boxes
from comvint_hf.image_paths import resolve_inside
from comvint_hf.images import read_size
from comvint_hf.registry import benchmark
from comvint_hf.types import Box

Corners = tuple[float, float, float, float]
"""A box in pixels, xyxy."""
write_answers = json_lines_writer(lambda item, reply: {"index": item.id, "text": reply})


@benchmark("refcoco")
def refcoco() -> Benchmark:
    """Declare RefCOCO and its variants."""
    return Benchmark(read_questions, score, write_answers, flags=("boxes", "images"))


def read_questions(files: BenchmarkFiles) -> list[BenchmarkQuestion]:
    """Read expressions as questions."""
    records = read_records(files.require("questions", "expressions with gt_box as [x, y, width, height]"))
    return [
        BenchmarkQuestion(
            number, _image_name(record), f"Where is the {record['sent']}?", gold=" ".join(map(str, record["gt_box"]))
        )
        for number, record in enumerate(records)
    ]


def score(files: BenchmarkFiles) -> dict[str, float]:
    """Score the first box of each answer: mean IoU, and the fraction with an IoU of at least 0.5.

    An answer without a box has IoU 0. Boxes in text are fractions, so scoring them takes the size of each image, from the
    expression's `width` and `height` or from the folder of images.
    """
    answers, gold = files.answers, files.gold or files.require("questions", "expressions with gt_box")
    records, expressions = read_records(answers), read_records(gold)
    check_same_length(records, expressions, str(answers))
    overlaps = []
    for number, (record, expression) in enumerate(zip(records, expressions, strict=True)):
        if record.get("index", number) != number:
            raise InputError(f"{answers}, answer {number + 1} has the index {record['index']}; expected {number}.")
        truth = to_corners(expression["gt_box"], "xywh", f"{gold}, expression {number}")
        overlaps.append(corners_iou(_read_box(record, expression, files, f"{answers}, answer {number}"), truth))
    return {
        "n": len(overlaps),
        "mean_iou": sum(overlaps) / len(overlaps),
        "acc_at_50": sum(overlap >= 0.5 for overlap in overlaps) / len(overlaps),
    }


def to_corners(numbers: Sequence[float], notation: BoxNotation, where: str = "the box") -> Corners:
    """Convert four numbers to xyxy. Raises `InputError` for a box without area, which shows a wrong format."""
    first, second, third, fourth = map(float, numbers)
    corners = (first, second, first + third, second + fourth) if notation == "xywh" else (first, second, third, fourth)
    if not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise InputError(f"{where}: {list(numbers)} read as {notation} has no area; choose another format with --boxes.")
    return corners


def corners_iou(found: Corners | None, truth: Corners) -> float:
    """Compute the IoU of two boxes in pixels, 0 without a first one."""
    if found is None:
        return 0.0
    # IoU does not depend on the unit, so a common extent makes fractions of pixels. Negative corners lie outside the image.
    extent = max(*found, *truth)
    fractions = ([max(number, 0.0) / extent for number in box] for box in (found, truth))
    return iou(*(Box(x1=x1, y1=y1, x2=x2, y2=y2) for x1, y1, x2, y2 in fractions))


def _read_box(record: dict[str, Any], expression: dict[str, Any], files: BenchmarkFiles, where: str) -> Corners | None:
    if files.boxes != "text":
        if "box" not in record:
            raise InputError(
                f"{where} has no field 'box'; expected four numbers as {files.boxes}. For answers in text use --boxes text."
            )
        return to_corners(record["box"], files.boxes, where) if record["box"] is not None else None
    boxes = parse_boxes(record.get("text", ""))
    if not boxes:
        return None
    width, height = _image_size(expression, files.images)
    x1, y1, x2, y2 = boxes[0].xyxy
    return x1 * width, y1 * height, x2 * width, y2 * height


def _image_size(expression: dict[str, Any], images: Path | None) -> tuple[int, int]:
    if "width" in expression and "height" in expression:
        return expression["width"], expression["height"]
    if images is None:
        raise InputError("The answers are fractions of images whose size is unknown; give the folder of images with --images.")
    name = _image_name(expression)
    path = resolve_inside(images, name)
    size = None if path is None else read_size(path)
    if size is None:
        raise InputError(f"The size of the image {name!r} cannot be read; expected an image file in {images}.")
    return size


def _image_name(record: dict[str, Any]) -> str:
    """The image's file name: `file_name`, else the one in the names of the proposals' crops ("<image>_<number>.jpg")."""
    if "file_name" in record:
        return record["file_name"]
    return record["pred_boxes_img_id"][0].rsplit("_", 1)[0] + ".jpg" if record.get("pred_boxes_img_id") else ""
