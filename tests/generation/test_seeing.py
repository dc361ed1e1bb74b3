"""A writer and a judge that see: the picture goes along, what they point at themselves is kept as seen, and no annotation is needed."""

from __future__ import annotations

import asyncio
import io
import itertools

import pytest
from click.testing import CliRunner
from endpoint.asking import QA, opened, toy_prompt
from endpoint.seeing import COLOURS, Seer
from endpoint.server import Endpoint, serve
from PIL import Image

from comvint_hf import LLMs, comvint, svit, vlit
from comvint_hf.cli import main
from comvint_hf.dataset.schema import to_row
from comvint_hf.generation.filters import check_references
from comvint_hf.generation.forms import tags
from comvint_hf.generation.llm import ScriptedLLM
from comvint_hf.generation.seen import read_seen
from comvint_hf.generation.stage import NO_REPLY, UNKNOWN_IMAGE
from comvint_hf.grounding import iou
from comvint_hf.types import Box, Object, Sample, Scene, Turn

PATCH = (0.25, 0.5, 0.5, 0.75)
BOX = Box(**dict(zip(("x1", "y1", "x2", "y2"), PATCH, strict=True)))


def photo(colour: str, size: tuple[int, int] = (128, 96), **saving) -> bytes:
    """A grey picture with one patch of a colour."""
    image = Image.new("RGB", size, (128, 128, 128))
    left, top, right, bottom = (int(value * side) for value, side in zip(PATCH, (*size, *size), strict=True))
    image.paste(COLOURS[colour], (left, top, right, bottom))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=95, **saving)
    return encoded.getvalue()


def scene(colour: str = "blue", **more) -> Scene:
    """An image of which nothing else is known."""
    return Scene(id=f"toy/{colour}", source="toy", width=128, height=96, image=photo(colour), **more)


class SeeingEndpoint(Endpoint):
    """The local endpoint with a model that sees behind it."""

    def __init__(self, seer: Seer) -> None:
        super().__init__()
        self.seer = seer

    def complete(self, body, text, kind=None):
        self.answer = lambda text, schema: self.seer.answer(body)
        return super().complete(body, text, kind)


def build(recipe, scenes, cache, seer: Seer | None = None, **settings):
    """All samples of the scenes, made by a model that sees them, and the endpoint."""
    endpoint = SeeingEndpoint(seer or Seer())

    async def go():
        with serve(endpoint) as url:
            async with opened(url, cache, **{"see": True, **settings}) as llm:
                return [await recipe.run(one, LLMs.one(llm)) for one in scenes]

    return asyncio.run(go()), endpoint


RECIPES = {
    "svit": svit(),
    "comvint": comvint(count=2, rounds=1),
    "vlit": vlit(generations=5),
}


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_without_annotations_becomes_rows_about_what_is_in_its_pixels(name, tmp_path) -> None:
    groups, endpoint = build(RECIPES[name], [scene("blue"), scene("yellow")], tmp_path / "replies.sqlite")
    for colour, samples in zip(("blue", "yellow"), groups, strict=True):
        kept = [sample for sample in samples if sample.reason is None]
        assert len(kept) >= 0.6 * len(samples) > 0, [sample.reason for sample in samples]
        told = " ".join(message.content for sample in kept for message in sample.messages)
        assert colour in told
        rows = [to_row(sample, str(number), photo(colour)) for number, sample in enumerate(kept)]
        evidence = [entry for row in rows for entry in row["evidence"]]
        assert {(entry["tag"], entry["key"], entry["name"]) for entry in evidence} == {("seen", "seen", f"{colour} patch")}
        assert all(iou(Box(x1=a, y1=b, x2=c, y2=d), BOX) > 0.9 for entry in evidence for a, b, c, d in entry["boxes"])
    assert len(endpoint.seer.pictures) == len(endpoint.requests), "writer and judge were shown the picture each time"


def test_boxes_that_a_text_points_at_are_in_the_row_as_those_of_annotations_are(tmp_path) -> None:
    (samples,), _ = build(svit(("referring_qa",)), [scene("red")], tmp_path / "replies.sqlite")
    rows = [to_row(sample, "1", photo("red")) for sample in samples if sample.reason is None]
    assert len(rows) >= 6
    for row in rows:
        assert row["boxes"] and len(row["boxes"]) == len(row["phrases"])
        assert set(row["phrases"]) == {"patch"}
        assert "<st>patch<ed>[0.2" in row["messages"][1]["content"]


@pytest.mark.parametrize(
    "evidence", ["{name} patch [25, 50, 50, 75]", "{name} patch [0.5, 0.5, 0.5, 0.5]", "{name} [0.9, 0.1, 0.2, 0.3]"]
)
def test_a_box_that_is_none_is_rejected_with_its_reason(evidence, tmp_path) -> None:
    (samples,), _ = build(svit(("detail_description",)), [scene()], tmp_path / "replies.sqlite", Seer(evidence))
    assert {sample.reason.partition(":")[0] for sample in samples} == {"unknown evidence"}


def test_without_see_the_reason_says_how_it_can_be_done(tmp_path) -> None:
    for recipe in RECIPES.values():
        (samples,), endpoint = build(recipe, [scene()], tmp_path / "replies.sqlite", see=False)
        assert samples and endpoint.requests == []
        assert {sample.reason for sample in samples} == {UNKNOWN_IMAGE}
    assert "--see" in UNKNOWN_IMAGE


def test_a_build_of_bare_images_ends_with_one_sentence(tmp_path, monkeypatch) -> None:
    (tmp_path / "bare.py").write_text(BARE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    done = CliRunner().invoke(main, ["build", "--recipe", "vlit", "--scenes", "bare:2", "--out", str(tmp_path / "out")])
    assert done.exit_code == 1, done.output
    assert f"No row was kept of bare:2: 10 samples were rejected ({UNKNOWN_IMAGE}: 10)" in done.output


BARE = """
from comvint_hf import Licence, source
from comvint_hf.types import Scene

@source("bare", licence=Licence(name="mine", text="mine", images_may_be_shared=True), citation="")
def scenes(count: int):
    from PIL import Image
    for number in range(count):
        yield Scene(id=f"bare/{number}", source="bare", width=9, height=9, image=lambda: Image.new("RGB", (9, 9)))
"""


def test_an_annotated_image_has_both_kinds_of_evidence(tmp_path) -> None:
    wall = Object(tag="o1", key="7", name="grey wall", boxes=(Box(x1=0, y1=0, x2=1, y2=1),))
    (samples,), endpoint = build(
        comvint(count=1, rounds=0, formats=("open",)), [scene(objects=(wall,))], tmp_path / "replies.sqlite"
    )
    text = next(part["text"] for part in endpoint.requests[0]["messages"][0]["content"] if part["type"] == "text")
    assert "[o1] grey wall" in text and "The picture itself is attached" in text
    both = samples[0].replace(evidence=("o1", *samples[0].evidence))
    assert check_references(both) is None
    assert [entry["tag"] for entry in to_row(both, "1")["evidence"]] == ["o1", "seen"]


def test_the_picture_is_sent_upright_and_small(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    turned = scene().model_copy(update={"image": photo("green", (400, 300), exif=exif)})
    _, endpoint = build(svit(("detail_description",)), [turned], tmp_path / "replies.sqlite", see_pixels=10_000)
    (picture, *_) = endpoint.seer.pictures
    assert picture.width < picture.height
    assert picture.width * picture.height <= 10_000


def test_the_tokens_of_the_picture_are_part_of_the_highest_cost(tmp_path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["toy-model"]\ninput = 1000000\noutput = 0\nimage_tokens = 5000\n')

    async def most(see: bool) -> float:
        async with opened("http://localhost:1/v1", tmp_path / f"{see}.sqlite", see=see, prices=prices, max_tokens=1) as llm:
            request = await llm.make_request(toy_prompt(1, scene=scene()), QA)
            return llm.requester.compute_max_cost(await llm.requester.build_body(request, None))

    seen, unseen = asyncio.run(most(True)), asyncio.run(most(False))
    assert seen - unseen > 4900


def test_a_writer_that_does_not_see_may_point_at_no_box_of_its_own() -> None:
    blind = Sample(scene=scene(captions=("A patch.",))).write(
        [Turn("Is it there?", "The patch is.")], evidence=read_seen("patch [0.1, 0.1, 0.3, 0.3]")
    )
    assert check_references(blind).startswith("unknown evidence")
    assert check_references(blind.replace(seen=True)) is None
    pointing = blind.write([Turn("Where is it?", "At the <st>patch<ed>[0.1, 0.1, 0.3, 0.3].")], evidence=())
    assert check_references(pointing) == "coordinates instead of a reference"
    assert check_references(pointing.replace(seen=True)) is None
    outside = pointing.write([Turn("Where is it?", "At the <st>patch<ed>[0.1, 0.1, 3, 4].")], seen=True)
    assert check_references(outside).startswith("a box outside the image")


def test_the_form_takes_tags_and_boxes_and_nothing_else() -> None:
    import re

    known = scene(objects=(Object(tag="o1", key="1", name="wall"),))
    pattern = tags(known, seen=True)["items"]["pattern"]
    numbers = ("0", "1", "0.5", "0.125", "1.0")
    for entry in (
        "o1",
        "kite [0.62, 0.1, 0.75, 0.31]",
        *(f"a [{', '.join(four)}]" for four in itertools.product(numbers, repeat=4)),
    ):
        assert re.search(pattern, entry), entry
    for entry in (
        "o2",
        "kite",
        "kite [62, 10, 75, 31]",
        "kite [0.1, 0.2, 0.3]",
        "kite [1.5, 0.2, 0.3, 0.4]",
        "[0.1, 0.2, 0.3, 0.4]x",
    ):
        assert not re.search(pattern, entry), entry


def test_a_scripted_writer_that_does_not_see_is_asked_nothing_about_a_bare_image() -> None:
    llm = ScriptedLLM([])
    samples = asyncio.run(svit().run(scene(), LLMs.one(llm)))
    assert llm.asked == []
    assert not any(sample.reason.startswith(NO_REPLY) for sample in samples)
