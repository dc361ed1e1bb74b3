"""A corpus of photos that were never taken, in Flickr30k's form, with strong habits: who rides a horse wears a hat, jeans are blue.

Whoever learns the habits could answer most questions blind, so it shows whether an annotator's questions give them away.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from comvint_hf.registry import Traits, source
from comvint_hf.types import Box, Object, Scene

NAME = "toy_corpus"
THEMES = {
    "street": {"riding": ("bicycle", "bicycle", "motorcycle", "scooter"), "holding": ("umbrella", "bag", "phone"), "near": ("car", "bus", "bench", "dog")},
    "farm": {"riding": ("horse", "horse", "tractor"), "holding": ("rope", "bucket", "apple"), "near": ("cow", "sheep", "truck", "dog")},
    "beach": {"riding": ("surfboard", "horse", "bicycle"), "holding": ("ball", "frisbee", "kite"), "near": ("boat", "dog", "umbrella", "chair")},
    "kitchen": {"holding": ("knife", "cup", "apple", "bowl"), "sitting on": ("chair", "chair", "couch"), "near": ("oven", "table", "cat", "clock")},
    "concert": {"holding": ("guitar", "guitar", "phone", "cup"), "sitting on": ("chair", "couch"), "near": ("piano", "drum", "table", "clock")},
}  # fmt: skip
COLOURS = {"jeans": ("blue",) * 6 + ("black", "white"), "hat": ("brown", "black", "black", "red"), "shirt": ("white", "red", "blue", "green", "black"), "dress": ("red", "red", "white", "pink"), "coat": ("black", "black", "brown", "red")}  # fmt: skip
PEOPLE = ("man", "man", "man", "woman", "woman", "boy", "girl")


@source(NAME, traits=Traits(phrase_objects=True, reliable_relations=True))
def scenes(count: int) -> Iterator[Scene]:
    """Yield scenes whose captions agree with one another."""
    for number in range(count):
        yield make_scene(number)


def make_scene(number: int) -> Scene:
    draw = random.Random(f"toy {number}")
    theme = THEMES[draw.choice(sorted(THEMES))]
    verb = draw.choice(sorted(set(theme) - {"near"}))
    who, thing = draw.choice(PEOPLE), draw.choice(theme[verb])
    garment = draw.choice(sorted(COLOURS))
    colour = draw.choice(COLOURS[garment])
    beside = draw.choice([noun for noun in theme["near"] if noun != thing])
    names = [a(who), f"{colour} {garment}" if garment == "jeans" else a(f"{colour} {garment}"), a(thing), a(beside)]
    left, right = draw.sample((0.02, 0.7), 2)
    boxes = [(0.35, 0.2, 0.6, 0.9), (0.4, 0.35, 0.55, 0.6), (left, 0.5, left + 0.25, 0.9), (right, 0.1, right + 0.25, 0.45)]
    kinds = ("people", "clothing", "other", "other")
    objects = tuple(
        Object(tag=f"o{place}", key=f"{number}/{place}", name=name, names=(name,), kind=kind, boxes=(box_of(edges),))
        for place, (name, kind, edges) in enumerate(zip(names, kinds, boxes, strict=True), start=1)
    )
    tagged = [f"<st>{name}<ed>[o{place}]" for place, name in enumerate(names, start=1)]
    said = [
        f"{tagged[0]} in {tagged[1]} is {verb} {tagged[2]} .",
        f"{tagged[0]} {verb} {tagged[2]} near {tagged[3]} .",
        f"{tagged[0]} wearing {tagged[1]} is {verb} {tagged[2]} near {tagged[3]} .",
    ]
    plain = [text.replace("<st>", "").split("<ed>") for text in said]
    captions = tuple(
        "".join(part if not place else part.partition("]")[2] for place, part in enumerate(parts)) for parts in plain
    )
    captions = tuple(text[0].upper() + text[1:] for text in captions)
    return Scene(
        id=f"{NAME}/{number}", source=NAME, width=640, height=480, captions=captions, objects=objects,
        meta={"grounded_captions": tuple(said)},
    )  # fmt: skip


def a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def box_of(edges: tuple[float, float, float, float]) -> Box:
    return Box(**dict(zip(("x1", "y1", "x2", "y2"), edges, strict=True)))
