"""Flickr30k Entities: `Annotations/*.xml` and `Sentences/*.txt` become scenes.

The captions' phrases are tied to entity ids, the ids to boxes, or to flags where annotators saw a scene or drew no box.
This file knows the corpus; `entities` reads its two file formats. Photos are looked for and never needed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from comvint_hf.errors import SourceError
from comvint_hf.sources.flickr30k_files import NOT_VISUAL, Annotation, Caption, read_annotation, read_captions
from comvint_hf.sources.image_files import Photos
from comvint_hf.types import Object, Scene

FOLDERS = ("images", "flickr30k-images", "flickr30k_images", "Images")
SPLITS = ("train", "val", "test")
UNMENTIONED = "unmentioned"
"""The `kind` of an entity that is boxed but that no caption names; its `name` is "something"."""


def scenes(root: Path, counts: Counter[str], *, images: Path | None = None) -> Iterator[Scene]:
    """Yield one scene an image, in the order of the ids as strings.

    An entity id is one `Object`: all its boxes, all its wordings (`name` the first), and as `kind` its categories, then
    its flags, joined by "/" ("people", "vehicles/scene", "other/nobox"). Raw pixels are 1-based and inclusive, so
    x1 = (raw - 1) / width and x2 = raw / width. Captions that `UNRELATED_CAPTIONS` lists are left out.
    `meta`: `grounded_captions` (the captions with `<st>phrase<ed>[o3]` where the entity has a box), `scene_tags`,
    `nobox_tags`, and `split` where the official lists lie beside. Raises `SourceError` where a folder is missing.
    """
    for name in ("Annotations", "Sentences"):
        if not (root / name).is_dir():
            raise SourceError(
                f"No Flickr30k Entities under {root}: expected the folders Annotations (*.xml) and Sentences (*.txt), "
                f"found no {name}. See README, 'Get the annotations'."
            )
    return _scenes(root, images, counts)


def _scenes(root: Path, images: Path | None, counts: Counter[str]) -> Iterator[Scene]:
    photos = Photos(root, images, FOLDERS, counts)
    unrelated = _unrelated(root / "UNRELATED_CAPTIONS")
    splits = _splits(root)
    annotated = {name[:-4] for name in os.listdir(root / "Annotations") if name.endswith(".xml")}
    described = {name[:-4] for name in os.listdir(root / "Sentences") if name.endswith(".txt")}
    for reason, lonely in (("Sentences/*.txt", annotated - described), ("Annotations/*.xml", described - annotated)):
        if lonely:
            counts[f"images skipped: not in {reason}"] += len(lonely)
    for image in sorted(annotated & described):
        try:
            xml, sentences = _bytes(f"{root}/Annotations/{image}.xml"), _bytes(f"{root}/Sentences/{image}.txt")
        except OSError:
            counts["images skipped: a file cannot be read"] += 1
            continue
        if annotation := read_annotation(xml, counts):
            captions = read_captions(sentences, counts, unrelated.get(image, ()))
            split = {"split": splits[image]} if image in splits else {}
            yield _scene(image, annotation, captions, photos.find(f"{image}.jpg"), split)


def _bytes(path: str) -> bytes:
    """Read a whole small file in two system calls: the corpus is 63,566 of them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _scene(image: str, annotation: Annotation, captions: list[Caption], photo: Path | None, meta: dict[str, object]) -> Scene:
    objects = _objects(annotation, captions)
    tags = {thing.key: thing.tag for thing in objects}
    boxed = {key: tags[key] for key in annotation.boxes}
    width, height = annotation.size
    return Scene(
        id=f"flickr30k/{image}",
        source="flickr30k",
        image=photo,
        width=width,
        height=height,
        captions=tuple(caption.text for caption in captions),
        objects=objects,
        meta={
            "grounded_captions": tuple(_grounded(caption, boxed) for caption in captions),
            "scene_tags": tuple(tags[key] for key in annotation.scene),
            "nobox_tags": tuple(tags[key] for key in annotation.nobox),
            **meta,
        },
    )


def _objects(annotation: Annotation, captions: list[Caption]) -> tuple[Object, ...]:
    """One object an entity id: first those the captions mention, in that order, then those only the XML knows."""
    names: dict[str, dict[str, None]] = {}
    kinds: dict[str, dict[str, None]] = {}
    for caption in captions:
        pieces = caption.pieces
        for entity, categories, text in zip(pieces[1::4], pieces[2::4], pieces[3::4], strict=True):
            if entity != NOT_VISUAL:
                names.setdefault(entity, {})[text] = None
                kinds.setdefault(entity, {})[categories] = None
    for known in (annotation.boxes, annotation.scene, annotation.nobox):
        for entity in known:
            if entity not in names:
                names[entity], kinds[entity] = {"something": None}, {UNMENTIONED: None}
    objects = []
    for position, (entity, wordings) in enumerate(names.items(), start=1):
        boxes, said = tuple(annotation.boxes.get(entity, ())), tuple(wordings)
        kind = _kind(kinds[entity], entity, annotation)
        objects.append(Object(tag=f"o{position}", key=entity, name=said[0], names=said, boxes=boxes, kind=kind))
    return tuple(objects)


def _kind(categories: dict[str, None], entity: str, annotation: Annotation) -> str:
    """The distinct categories of an entity's phrases, then its flags."""
    flags = [flag for flag, flagged in (("scene", annotation.scene), ("nobox", annotation.nobox)) if entity in flagged]
    joined = "/".join([*categories, *flags])
    return "/".join(dict.fromkeys(joined.split("/"))) if "/" in joined else joined


def _grounded(caption: Caption, boxed: dict[str, str]) -> str:
    """The caption with a reference at each phrase whose entity has a box."""
    pieces = caption.pieces
    parts = [pieces[0]]
    for entity, text, between in zip(pieces[1::4], pieces[3::4], pieces[4::4], strict=True):
        linked = entity in boxed and "<" not in text and ">" not in text
        parts += (f"<st>{text}<ed>[{boxed[entity]}]" if linked else text, between)
    return "".join(parts)


def _unrelated(path: Path) -> dict[str, set[int]]:
    """The 1-based sentence numbers to leave out, by image; none where the list is not there."""
    found: dict[str, set[int]] = {}
    if path.is_file():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            image, _, number = line.strip().partition(" ")
            if number.strip().isdecimal():
                found.setdefault(image, set()).add(int(number))
    return found


def _splits(root: Path) -> dict[str, str]:
    """The official split of each image, from the id lists that lie beside."""
    lists = ((split, root / f"{split}.txt") for split in SPLITS)
    return {image: split for split, path in lists if path.is_file() for image in path.read_text("utf-8").split()}
