"""The dialects of LLaVA's and ShareGPT's files: names of fields and roles, content parts, places of images, ids, encodings and packings."""

import gzip
import io
import json

import pyarrow
import pytest
from PIL import Image

from comvint_hf import from_llava
from comvint_hf.dataset import conversation, llava, llava_records
from comvint_hf.dataset.conversation import strip_image_marker
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import DUPLICATE, RENAMED, mix
from comvint_hf.dataset.reader import read_build_info, read_rows
from comvint_hf.dataset.schema import turns
from comvint_hf.errors import RowError
from comvint_hf.images import TRANSPARENT
from comvint_hf.read_counts import ReadCounts
from comvint_hf.training.rows import read_row

ANSWER = {"from": "gpt", "value": "Red."}
TALK = [{"from": "human", "value": "<image>\nWhich?"}, ANSWER]


@pytest.fixture
def photos(tmp_path):
    """A folder of a red and a blue photo."""
    for name, colour in (("photos/coco/a.jpg", "red"), ("photos/b.jpg", "blue")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 2), colour).save(tmp_path / name)
    return tmp_path / "photos"


def one(record, photos=None, **options):
    counts = ReadCounts()
    (row,) = from_llava([record], photos, counts=counts, **options)
    assert not counts
    return row


def said(row) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


EXPECTED = [("user", "Which?"), ("assistant", "Red.")]


@pytest.mark.parametrize(
    "record",
    [
        {"image": "b.jpg", "conversations": TALK},
        {"image": ["b.jpg"], "conversations": TALK},
        {"image": None, "images": ["b.jpg"], "conversations": TALK},
        {"image": float("nan"), "images": ["b.jpg"], "conversations": None, "messages": TALK},
        {"image": "", "images": [{"path": "b.jpg", "bytes": None}], "conversations": TALK},
        {"image_path": "b.jpg", "conversations": TALK},
        {"image": ".\\b.jpg", "conversations": TALK},
        {"image": "b.jpg", "video": None, "conversations": TALK},
        {"image": "b.jpg", "conversations": [{"from": " Human", "value": " Which? \n<image>"}, {"from": "GPT", "text": "Red."}]},
        {"image": "b.jpg", "messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "Red."}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "b.jpg"}}, {"type": "text", "text": "Which?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "Red."}]},
            ]
        },
        {
            "images": ["b.jpg"],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Which?"}, {"type": "image"}]},
                {"role": "assistant", "content": "Red."},
            ],
        },
    ],
)
def test_fields_roles_and_parts_of_every_dialect(photos, record):
    row = one({"id": 1} | record, photos)
    assert said(row) == EXPECTED and [image["bytes"] for image in row["images"]] == [(photos / "b.jpg").read_bytes()]
    assert (row["width"], row["height"]) == (4, 2)


def test_a_system_turn_comes_first_and_belongs_to_no_pair(photos):
    system = {"from": "system", "value": "Be brief."}
    row = one({"image": "b.jpg", "conversations": [system, *TALK]}, photos)
    assert said(row)[0] == ("system", "Be brief.") and turns(row) == [("Which?", "Red.")]
    counts = ReadCounts()
    with pytest.raises(RowError, match="begins with the assistant"):
        list(from_llava([{"conversations": [system, ANSWER, *TALK]}], counts=counts))


def test_answers_are_never_taken_for_questions():
    row = {"messages": [{"role": role, "content": role[:1]} for role in ("assistant", "user", "assistant", "user")]}
    assert turns(row) == [("u", "a")]


@pytest.mark.parametrize("text", ["<image>\n<image>\nWhich?", "Which?<image> <image>", "<image><image>Which?"])
def test_images_before_or_behind_the_words_go_in_front(photos, text):
    row = one({"image": ["coco/a.jpg", "b.jpg"], "conversations": [{"from": "human", "value": text}, ANSWER]}, photos)
    assert said(row) == EXPECTED and len(row["images"]) == 2


BETWEEN = {
    "between words": (["The first is <image> and the second <image>. Which?"], 2),
    "on both sides": (["<image> or <image>"], 2),
    "in a later turn": (["Hello", "<image>\nWhich?"], 1),
    "in two turns": (["<image>\nWhich?", "And this? <image>"], 2),
}


@pytest.mark.parametrize("case", BETWEEN)
def test_an_image_elsewhere_keeps_its_place_or_is_left_out(photos, case):
    questions, number = BETWEEN[case]
    talk = [turn for text in questions for turn in ({"from": "human", "value": text}, ANSWER)]
    record = {"id": case, "image": ["coco/a.jpg", "b.jpg"][:number], "conversations": talk}
    counts = ReadCounts()
    rows = list(from_llava([record, {"id": 2, "image": "b.jpg", "conversations": TALK}], photos, counts=counts))
    assert [row["id"] for row in rows] == ["2"] and counts == {conversation.BETWEEN_WORDS: 1} and case in str(counts.examples)
    placed = one(record, photos, keep_places=True)
    read = read_row(placed, 0)  # as the collator reads it
    shown = ["<image>" if part["type"] == "image" else part["text"] for message in read.messages for part in message["content"]]
    assert "".join(shown) == "".join(text + "Red." for text in questions)
    assert [image.getpixel((0, 0))[0] > 100 for image in read.images] == [True, False][:number]


def test_ids_that_repeat(photos, tmp_path):
    other = [{"from": "human", "value": "<image>\nWhat?"}, ANSWER]
    records = [
        {"id": "9", "image": "b.jpg", "conversations": TALK},
        {"id": "9", "image": "b.jpg", "conversations": other},
        {"id": "9", "image": "b.jpg", "conversations": TALK},
        {"id": "9", "image": "coco/a.jpg", "conversations": TALK},
        {"id": "9-2", "image": "b.jpg", "conversations": TALK},
        {"image": "b.jpg", "conversations": TALK},
        {"id": None, "image": "b.jpg", "conversations": TALK},
    ]
    counts = ReadCounts()
    ids = [row["id"] for row in from_llava(records, photos, counts=counts)]
    assert ids == ["9", "9-2", "9-3", "9-2-2", "5", "6"]
    assert counts == {llava.REPEATED: 1, llava.RENAMED: 3} and not counts.lost
    path = tmp_path / "l.json"
    path.write_text(json.dumps(records))
    statistics = mix([open_input(str(path), photos), open_input(str(path), photos)], tmp_path / "out")
    assert statistics.notes == {DUPLICATE: 1 + 7, RENAMED: 3}
    found = [row["id"] for name in read_build_info(tmp_path / "out")["files"] for row in read_rows(tmp_path / "out" / name)]
    assert found == ids, "two readings in one order"


FILE = [{"id": "1", "image": "b.jpg", "conversations": [TALK[0], {"from": "gpt", "value": "A\u2028B\u0085C"}]}] * 2
TEXT = json.dumps(FILE, ensure_ascii=False)
LINES = "\n".join(json.dumps({**record, "id": n}, ensure_ascii=False) for n, record in enumerate(FILE)) + "\n\n"
PACKED = {
    "a.json": TEXT.encode(),
    "mark.json": b"\xef\xbb\xbf" + TEXT.encode(),
    "utf16.json": TEXT.encode("utf-16"),
    "a.json.gz": gzip.compress(TEXT.encode()),
    "a.json.zst": pyarrow.compress(TEXT.encode(), codec="zstd", asbytes=True),
    "a.jsonl": LINES.encode(),
    "crlf.jsonl": LINES.replace("\n", "\r\n").encode(),
    "a.jsonl.gz": gzip.compress(LINES.encode()),
    "lines.json": LINES.encode(),
    "wrapped.json": json.dumps({"version": 1, "data": FILE}).encode(),
    "single.json": json.dumps(FILE[0]).encode(),
}


@pytest.mark.parametrize("name", PACKED)
def test_files_of_every_encoding_and_packing(tmp_path, photos, name):
    (tmp_path / name).write_bytes(PACKED[name])
    counts = ReadCounts()
    rows = list(from_llava(tmp_path / name, photos, counts=counts))
    assert len(rows) == (2 if "lines" in name or "jsonl" in name else 1) and not counts.lost
    assert all(row["messages"][1]["content"] == "A\u2028B\u0085C" for row in rows)
    statistics = mix([open_input(str(tmp_path / name), photos)], tmp_path / "out")
    assert statistics.kept == len(rows)


def test_columns_of_others_are_checked_and_unknown_ones_left_out():
    stored = {
        "task": "vlit",
        "rounds": 2,
        "boxes": [[0, 0.1, 1, 1]],
        "phrases": ["x"],
        "secret": {"a": 1},
        "images": ["/etc/passwd"],
    }
    row = one({"id": 1, "conversations": [{"from": "human", "value": "Which?"}, ANSWER], "comvint": stored})
    assert (row["task"], row["rounds"], "secret" in row, row["images"]) == ("vlit", 2, False, [])
    bad = [
        {"rounds": -1},
        {"rounds": True},
        {"boxes": [[0, 0, 1]]},
        {"boxes": [[float("nan")] * 4]},
        {"evidence": [1]},
        {"topic": None},
        [],
    ]
    counts = ReadCounts()
    list(from_llava([{"conversations": TALK[:0] + [{"from": "human", "value": "x"}, ANSWER], "comvint": one} for one in bad] + [
        {"conversations": [{"from": "human", "value": "x"}, ANSWER]}], counts=counts))  # fmt: skip
    assert counts[llava_records.OTHER_COLUMNS] == len(bad)


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"from": "human", "value": "\ud800"}, conversation.NOT_UNICODE),
        ({"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "table"}]}, conversation.NO_PART),
        ({"role": "user", "content": [{"type": "text", "text": 7}]}, conversation.NO_PART),
        ({"role": "user", "content": [{"type": "video", "video": "a.mp4"}, {"type": "text", "text": "x"}]}, conversation.MEDIA),
        ({"role": "user", "content": [{"type": "image", "image": "a.jpg"}]}, conversation.NO_TEXT),
        ({"role": "user", "content": []}, conversation.NO_TEXT),
    ],
)
def test_a_turn_that_cannot_be_read_has_its_reason(turn, reason):
    counts = ReadCounts()
    good = {"conversations": [{"from": "human", "value": "x"}, ANSWER]}
    assert len(list(from_llava([{"conversations": [turn, ANSWER]}, good], counts=counts))) == 1 and counts == {reason: 1}


@pytest.mark.parametrize(
    "text", [" " * 200_000, "x" + " " * 200_000 + "x", "<st>" + " " * 100_000, "<st>a<ed>[0.1" + " ," * 50_000]
)
def test_long_blanks_take_no_long_time(text):
    import time

    start = time.process_time()
    strip_image_marker(text + "<image>x")
    one({"conversations": [{"from": "human", "value": f"{text}x"}, ANSWER]})
    assert time.process_time() - start < 2


def test_photos_of_a_mix_are_whole_and_shown_alike_by_every_reader(tmp_path, photos):
    Image.new("RGBA", (6, 4), (9, 9, 9, 0)).save(photos / "clear.png")
    Image.effect_noise((64, 48), 80).convert("RGB").save(photos / "cut.jpg")
    (photos / "cut.jpg").write_bytes((photos / "cut.jpg").read_bytes()[:-400])
    records = [{"id": name, "image": name, "conversations": TALK} for name in ("b.jpg", "clear.png", "cut.jpg")]
    (tmp_path / "l.json").write_text(json.dumps(records))
    statistics = mix([open_input(str(tmp_path / "l.json"), photos)], tmp_path / "out")
    assert statistics.notes == {llava_records.IMAGE_BROKEN: 1, TRANSPARENT: 1}
    found = {row["id"]: row for name in read_build_info(tmp_path / "out")["files"] for row in read_rows(tmp_path / "out" / name)}
    assert found["b.jpg"]["images"][0]["bytes"] == (photos / "b.jpg").read_bytes()
    shown = Image.open(io.BytesIO(found["clear.png"]["images"][0]["bytes"]))
    assert (shown.mode, shown.getpixel((0, 0)), found["clear.png"]["width"]) == ("RGB", (255, 255, 255), 6)
