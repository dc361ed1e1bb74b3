"""Render scenes of coloured shapes: a source that needs no download and whose annotations are exact.

Four levels, from one object in a grid to free placement with overlap. Scene k depends on `seed`, `level` and k alone, and its
image is rendered when it is opened.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from comvint_hf.errors import SourceError
from comvint_hf.registry import Licence, Traits, source
from comvint_hf.types import Box, Object, Question, Region, Relation, Scene, Text

COLOURS = {
    "red": (214, 40, 44),
    "green": (44, 158, 74),
    "blue": (46, 88, 212),
    "yellow": (240, 206, 40),
    "purple": (142, 64, 176),
    "orange": (246, 134, 30),
}
SHAPES = ("circle", "square", "triangle", "star")
SIZES = ("large", "small")
BACKGROUNDS = {"white": (250, 250, 250), "grey": (196, 198, 202), "black": (22, 22, 26)}
WORDS = ("EXIT", "TAXI", "MILK", "OPEN", "STOP", "SALE", "TEA", "ZOO", "BUS", "FISH", "GOLD", "MAP")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES = {
    (0, 0): "in the top left corner",
    (0, 1): "at the top",
    (0, 2): "in the top right corner",
    (1, 0): "on the left",
    (1, 1): "in the middle",
    (1, 2): "on the right",
    (2, 0): "in the bottom left corner",
    (2, 1): "at the bottom",
    (2, 2): "in the bottom right corner",
}
"""Thirds of the image (row, column) in words."""

LABEL_SHARE = 0.15
SHADE = 14
CELL = 32


class Level(NamedTuple):
    """The layout of a level: the image's side and the sides of large and small objects, in pixels."""

    pixels: int
    min_objects: int
    max_objects: int
    large: tuple[int, int]
    small: tuple[int, int]
    free: bool = False


LEVELS = {
    "single": Level(96, 1, 1, large=(26, 26), small=(14, 14)),
    "grid": Level(96, 1, 4, large=(26, 26), small=(14, 14)),
    "crowded": Level(96, 5, 9, large=(26, 26), small=(14, 14)),
    "free": Level(224, 2, 7, large=(56, 88), small=(20, 36), free=True),
}


class Shape(NamedTuple):
    """One object; `x`, `y` and `side` in pixels, `shade` its exact RGB."""

    shape: str
    colour: str
    size: str
    x: int
    y: int
    side: int
    shade: tuple[int, int, int]

    @property
    def noun(self) -> str:
        return f"{self.colour} {self.shape}"


class Label(NamedTuple):
    """A word in the image, at (`x`, `y`) in RGB `shade`."""

    word: str
    x: int
    y: int
    shade: tuple[int, int, int]


@source(
    "shapes",
    licence=Licence("apache-2.0", "Rendered and annotated by this package, Apache-2.0.", images_may_be_shared=True),
    traits=Traits(rendered=True, exhaustive=True, distinct_objects=True, reliable_relations=True),
)
def scenes(count: int, *, seed: int = 0, level: str = "grid") -> Iterator[Scene]:
    """Yield `count` scenes; the same seed and level give the same scenes, whatever the count.

    Raises `SourceError` for an unknown level.

    >>> [scene.id for scene in scenes(2, seed=5)]
    ['shapes/grid-5-0', 'shapes/grid-5-1']
    """
    if level not in LEVELS:
        raise SourceError(f"shapes has no level {level!r}: expected one of {', '.join(LEVELS)}.")
    return (make_scene(index, seed=seed, level=level) for index in range(count))


def make_scene(index: int, *, seed: int = 0, level: str = "grid") -> Scene:
    """Make one scene with all its annotations."""
    layout = LEVELS[level]
    random = Random(f"shapes {level} {seed} {index}")
    background = random.choice(tuple(BACKGROUNDS))
    ground = _sample_colour(BACKGROUNDS[background], random, SHADE // 3)
    shapes, label = _place_free(layout, random, background) if layout.free else _place_in_grid(layout, random, background)
    objects = tuple(_make_object(number, shape, layout.pixels) for number, shape in enumerate(shapes, start=1))
    relations = tuple(_make_relations(objects))
    # Records are valid by construction here, and validation would take most of the time of a build.
    return Scene.model_construct(
        id=f"shapes/{level}-{seed}-{index}",
        source="shapes",
        image=partial(draw_image, layout.pixels, ground, shapes, label),
        width=layout.pixels,
        height=layout.pixels,
        captions=_make_captions(shapes, background, random),
        objects=objects,
        regions=tuple(_make_regions(shapes, objects, relations)),
        relations=relations,
        texts=(_make_text(label, layout.pixels),) if label else (),
        questions=tuple(_make_questions(shapes, label)),
        meta={"level": level, "background": background},
    )


def draw_image(pixels: int, ground: tuple[int, int, int], shapes: tuple[Shape, ...], label: Label | None) -> Image.Image:
    """Draw a square RGB image of `pixels` a side; later shapes cover earlier ones."""
    image = Image.new("RGB", (pixels, pixels), ground)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        _DRAW[shape.shape](draw, shape)
    if label:
        draw.text((label.x, label.y), label.word, fill=label.shade, font=ImageFont.load_default_imagefont())
    return image


def _draw_circle(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    draw.ellipse((shape.x, shape.y, shape.x + shape.side - 1, shape.y + shape.side - 1), fill=shape.shade)


def _draw_square(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    draw.rectangle((shape.x, shape.y, shape.x + shape.side - 1, shape.y + shape.side - 1), fill=shape.shade)


def _draw_triangle(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    right, bottom = shape.x + shape.side - 1, shape.y + shape.side - 1
    draw.polygon([(shape.x, bottom), ((shape.x + right) / 2, shape.y), (right, bottom)], fill=shape.shade)


def _make_star_outline() -> tuple[tuple[float, float], ...]:
    """The ten corners of a five-pointed star, stretched to fill the unit square so that its box is tight."""
    corners = [
        (math.sin(turn * math.pi / 5) * radius, -math.cos(turn * math.pi / 5) * radius)
        for turn, radius in zip(range(10), (1.0, 0.45) * 5, strict=True)
    ]
    xs, ys = zip(*corners, strict=True)
    return tuple(((x - min(xs)) / (max(xs) - min(xs)), (y - min(ys)) / (max(ys) - min(ys))) for x, y in corners)


_STAR = _make_star_outline()


def _draw_star(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    reach = shape.side - 1
    draw.polygon([(round(shape.x + x * reach), round(shape.y + y * reach)) for x, y in _STAR], fill=shape.shade)


_DRAW = {"circle": _draw_circle, "square": _draw_square, "triangle": _draw_triangle, "star": _draw_star}


def _sample_colour(rgb: tuple[int, int, int], random: Random, most: int = SHADE) -> tuple[int, int, int]:
    """A similar shade, so that no two images are the same by accident."""
    red, green, blue = (min(255, max(0, value + random.randint(-most, most))) for value in rgb)
    return red, green, blue


def _place_in_grid(layout: Level, random: Random, background: str) -> tuple[tuple[Shape, ...], Label | None]:
    """Objects centred in cells of their own; a label takes a free cell."""
    across = layout.pixels // CELL
    count = random.randint(layout.min_objects, layout.max_objects)
    cells = random.sample(range(across * across), across * across)
    shapes = []
    for cell in sorted(cells[:count]):
        size = random.choice(SIZES)
        side = random.randint(*getattr(layout, size))
        margin = (CELL - side) // 2
        shapes.append(_make_shape(random, size, cell % across * CELL + margin, cell // across * CELL + margin, side))
    if count == len(cells) or random.random() >= LABEL_SHARE:
        return tuple(shapes), None
    row, column = divmod(cells[-1], across)
    return tuple(shapes), _make_label(random, background, column * CELL + CELL // 2, row * CELL + CELL // 2)


def _place_free(layout: Level, random: Random, background: str) -> tuple[tuple[Shape, ...], Label | None]:
    """Objects anywhere; none covers more than half of another's box, and a label covers no object."""
    shapes: list[Shape] = []
    for _ in range(random.randint(layout.min_objects, layout.max_objects)):
        size = random.choice(SIZES)
        side = random.randint(*getattr(layout, size))
        for _ in range(20):  # a full image has no place left: then the scene has fewer objects
            shape = _make_shape(
                random, size, random.randint(0, layout.pixels - side), random.randint(0, layout.pixels - side), side
            )
            if all(_count_shared_pixels(shape, other) <= 0.5 * min(shape.side, other.side) ** 2 for other in shapes):
                shapes.append(shape)
                break
    if random.random() < LABEL_SHARE:
        for _ in range(20):
            label = _make_label(
                random, background, random.randint(20, layout.pixels - 20), random.randint(10, layout.pixels - 10)
            )
            # A square around the longest word, so that no shape lies under the text.
            ground = Shape("", "", "", label.x, label.y - 12, 36, label.shade)
            if not any(_count_shared_pixels(ground, shape) for shape in shapes):
                return tuple(shapes), label
    return tuple(shapes), None


def _make_shape(random: Random, size: str, x: int, y: int, side: int) -> Shape:
    colour = random.choice(tuple(COLOURS))
    return Shape(random.choice(SHAPES), colour, size, x, y, side, _sample_colour(COLOURS[colour], random))


def _count_shared_pixels(a: Shape, b: Shape) -> int:
    wide = min(a.x + a.side, b.x + b.side) - max(a.x, b.x)
    high = min(a.y + a.side, b.y + b.side) - max(a.y, b.y)
    return max(wide, 0) * max(high, 0)


def _make_label(random: Random, background: str, x: int, y: int) -> Label:
    """A word centred on (`x`, `y`), light on a dark background and dark on a light one."""
    word = random.choice(WORDS)
    left, top, right, bottom = ImageFont.load_default_imagefont().getbbox(word)
    shade = (245, 245, 245) if background == "black" else (20, 20, 20)
    return Label(word, x - (right - left) // 2, y - (bottom - top) // 2, shade)


def _make_text(label: Label, pixels: int) -> Text:
    left, top, right, bottom = ImageFont.load_default_imagefont().getmask(label.word).getbbox()
    return Text.model_construct(
        text=label.word, box=_make_box(label.x + left, label.y + top, label.x + right, label.y + bottom, pixels)
    )


@cache
def _make_box(left: int, top: int, right: int, bottom: int, pixels: int) -> Box:
    return Box.model_construct(x1=left / pixels, y1=top / pixels, x2=right / pixels, y2=bottom / pixels)


def _make_object(number: int, shape: Shape, pixels: int) -> Object:
    return Object.model_construct(
        tag=f"o{number}",
        key=str(number),
        name=shape.shape,
        boxes=(_make_box(shape.x, shape.y, shape.x + shape.side, shape.y + shape.side, pixels),),
        attributes=(shape.size, shape.colour),
        names=(shape.shape,),
        kind="shape",
    )


@cache
def _make_relation(subject: str, predicate: str, object: str) -> Relation:
    return Relation.model_construct(subject=subject, predicate=predicate, object=object)


def _make_relations(objects: tuple[Object, ...]) -> Iterator[Relation]:
    """Both directions of every pair. Boxes that overlap along an axis have no relation on that axis."""
    for first in objects:
        for second in objects:
            a, b = first.boxes[0], second.boxes[0]
            if a.x2 <= b.x1:
                yield _make_relation(first.tag, "left of", second.tag)
                yield _make_relation(second.tag, "right of", first.tag)
            if a.y2 <= b.y1:
                yield _make_relation(first.tag, "above", second.tag)
                yield _make_relation(second.tag, "below", first.tag)


def _make_regions(shapes: tuple[Shape, ...], objects: tuple[Object, ...], relations: tuple[Relation, ...]) -> Iterator[Region]:
    """One region for each object, and one for each object together with another that it has a relation to."""
    number = 0
    named = {item.tag: shape for item, shape in zip(objects, shapes, strict=True)}
    for item, shape in zip(objects, shapes, strict=True):
        number += 1
        place = PLACES[int(item.boxes[0].centre[1] * 3), int(item.boxes[0].centre[0] * 3)]
        text = f"a {shape.size} {shape.noun} {place}"
        yield Region.model_construct(tag=f"r{number}", text=text, box=item.boxes[0], objects=(item.tag,))
    mentioned = set()
    for relation in relations:
        if relation.subject in mentioned:
            continue
        mentioned.add(relation.subject)
        number += 1
        words = {"left of": "to the left of", "right of": "to the right of"}.get(relation.predicate, relation.predicate)
        text = f"a {named[relation.subject].noun} {words} a {named[relation.object].noun}".replace("a orange", "an orange")
        first, second = (objects[int(tag[1:]) - 1].boxes[0] for tag in (relation.subject, relation.object))
        around = Box.model_construct(
            x1=min(first.x1, second.x1), y1=min(first.y1, second.y1), x2=max(first.x2, second.x2), y2=max(first.y2, second.y2)
        )
        yield Region.model_construct(tag=f"r{number}", text=text, box=around, objects=(relation.subject, relation.object))


def _make_captions(shapes: tuple[Shape, ...], background: str, random: Random) -> tuple[str, ...]:
    """Three captions: every object with its size and colour, the shapes with their numbers, and the background."""
    each = join_texts([f"a {shape.size} {shape.noun}" for shape in shapes])
    kinds = join_texts([format_count(name, number) for name, number in Counter(shape.shape for shape in shapes).items()])
    ground = f"{format_count('shape', len(shapes))} on a {background} background."
    third = random.choice(("A picture of {}.", "A drawing with {}.", "An image that shows {}.")).format(kinds)
    return f"{each[0].upper()}{each[1:]}.", third, f"{ground[0].upper()}{ground[1:]}"


def _make_questions(shapes: tuple[Shape, ...], label: Label | None) -> Iterator[Question]:
    """Questions with one right answer: only a shape that occurs once is asked for its colour."""
    yield Question.model_construct(question="How many shapes are there?", answer=NUMBERS[len(shapes)])
    kinds = Counter(shape.shape for shape in shapes)
    for shape in shapes:
        if kinds[shape.shape] == 1:
            yield Question.model_construct(question=f"What colour is the {shape.shape}?", answer=shape.colour)
            yield Question.model_construct(question=f"Is the {shape.shape} large or small?", answer=shape.size)
    nouns = Counter(shape.colour for shape in shapes)
    for shape in shapes:
        if nouns[shape.colour] == 1:
            yield Question.model_construct(question=f"What shape is the {shape.colour} object?", answer=shape.shape)
    if label:
        yield Question.model_construct(question="What word is written in the picture?", answer=label.word)


def format_count(name: str, number: int) -> str:
    """Write a noun with its number.

    >>> format_count("star", 2)
    'two stars'
    """
    return f"a {name}" if number == 1 and name != "shape" else f"{NUMBERS[number]} {name}{'s' * (number != 1)}"


def join_texts(items: list[str]) -> str:
    """Join phrases as in a sentence.

    >>> join_texts(["a circle", "a star", "two squares"])
    'a circle, a star and two squares'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
