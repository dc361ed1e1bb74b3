"""Read Flickr30k Entities: `Annotations/*.xml` and `Sentences/*.txt` under one folder; image files are optional.

The phrases of captions refer to entity ids, and an entity has boxes, or a flag for a scene or an entity without a box.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from comvint_hf.errors import SourceError
from comvint_hf.read_counts import as_counts
from comvint_hf.registry import Licence, Traits, source
from comvint_hf.sources.flickr30k_files import NOT_VISUAL, Annotation, Caption, read_annotation, read_captions
from comvint_hf.sources.image_files import ImageFolders
from comvint_hf.strict_reader import LIMITS, is_valid_text, read_file
from comvint_hf.types import Object, Scene

FOLDERS = ("images", "flickr30k-images", "flickr30k_images", "Images")
SPLITS = ("train", "val", "test")
UNMENTIONED = "unmentioned"
"""The `kind` of an entity that no caption names; its `name` is "something"."""


@source(
    "flickr30k",
    licence=Licence(
        "other",
        "Flickr30k Entities is for research and education; cite Plummer et al. 2015 and Young et al. 2014. "
        "The photos fall under Flickr's terms of use and may never be re-hosted.",
        images_may_be_shared=False,
    ),
    citation="Young et al., From Image Descriptions to Visual Denotations, TACL 2014; Plummer et al., Flickr30k Entities, ICCV 2015, "
    "[arXiv:1505.04870](https://arxiv.org/abs/1505.04870)",
    traits=Traits(phrase_objects=True, reliable_relations=True),
)
def scenes(root: Path, counts: Counter[str], *, images: Path | None = None) -> Iterator[Scene]:
    """Yield one scene for each image, in the order of the ids as strings.

    An entity id is one `Object`: all its boxes, all its phrases (`name` is the first), and as `kind` its categories, then its
    flags, joined by "/" ("people", "vehicles/scene", "other/nobox"). Raw pixels are 1-based and inclusive, so
    x1 = (raw - 1) / width and x2 = raw / width. Captions that `UNRELATED_CAPTIONS` lists are left out.
    `meta`: `grounded_captions` (the captions with `<st>phrase<ed>[o3]` where the entity has a box), `scene_tags`,
    `nobox_tags`, and `split` if the folder has the official lists. Raises `SourceError` if a folder is missing.
    """
    for name in ("Annotations", "Sentences"):
        if not (root / name).is_dir():
            raise SourceError(
                f"No Flickr30k Entities under {root}: expected the folders Annotations (*.xml) and Sentences (*.txt), "
                f"found no {name}. See README, 'Get the annotations'."
            )
    return _read_scenes(root, images, counts)


def _read_scenes(root: Path, images: Path | None, counts: Counter[str]) -> Iterator[Scene]:
    folders = ImageFolders(root, images, FOLDERS, counts)
    unrelated = _read_unrelated_captions(root / "UNRELATED_CAPTIONS")
    splits = _read_splits(root)
    annotated, described = _list_ids(root / "Annotations", ".xml", counts), _list_ids(root / "Sentences", ".txt", counts)
    for missing, ids in (("Sentences/*.txt", annotated - described), ("Annotations/*.xml", described - annotated)):
        if ids:
            counts[f"images skipped: not in {missing}"] += len(ids)
    for image in sorted(annotated & described):
        try:
            xml, sentences = _read_bytes(f"{root}/Annotations/{image}.xml"), _read_bytes(f"{root}/Sentences/{image}.txt")
        except OSError as error:
            as_counts(counts).skip("images skipped: a file cannot be read", str(error))
            continue
        if annotation := read_annotation(xml, counts, image):
            captions = read_captions(sentences, counts, unrelated.get(image, ()))
            split = {"split": splits[image]} if image in splits else {}
            yield _build_scene(image, annotation, captions, folders.find(f"{image}.jpg"), split)


def _list_ids(folder: Path, suffix: str, counts: Counter[str]) -> set[str]:
    """The image ids that the files of a folder are named by."""
    found = {name.removesuffix(suffix) for name in os.listdir(folder) if name.endswith(suffix)}
    odd = {name for name in found if not is_valid_text(name)}
    if odd:
        as_counts(counts).skip("images skipped: the name of a file is not valid Unicode", repr(min(odd)), len(odd))
    return found - odd


def _read_bytes(path: str) -> bytes:
    """Read a whole small file in two system calls: the corpus is 63,566 of them."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer for ever
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LIMITS.xml_bytes:
            raise OSError(f"{path} is no regular file, or larger than {LIMITS.xml_bytes:,} bytes")
        return os.read(handle, status.st_size)
    finally:
        os.close(handle)


def _build_scene(
    number: str, annotation: Annotation, captions: list[Caption], image: Path | None, meta: Mapping[str, object]
) -> Scene:
    objects = _build_objects(annotation, captions)
    tags = {item.key: item.tag for item in objects}
    boxed = {key: tags[key] for key in annotation.boxes}
    width, height = annotation.size
    return Scene(
        id=f"flickr30k/{number}",
        source="flickr30k",
        image=image,
        width=width,
        height=height,
        captions=tuple(caption.text for caption in captions),
        objects=objects,
        meta={
            "grounded_captions": tuple(_ground_caption(caption, boxed) for caption in captions),
            "scene_tags": tuple(tags[key] for key in annotation.scene),
            "nobox_tags": tuple(tags[key] for key in annotation.nobox),
            **meta,
        },
    )


def _build_objects(annotation: Annotation, captions: list[Caption]) -> tuple[Object, ...]:
    """One object for each entity id: first those in the captions, in that order, then those only the XML has."""
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
    for position, (entity, phrases) in enumerate(names.items(), start=1):
        boxes, listed = tuple(annotation.boxes.get(entity, ())), tuple(phrases)
        kind = _join_categories(kinds[entity], entity, annotation)
        objects.append(Object(tag=f"o{position}", key=entity, name=listed[0], names=listed, boxes=boxes, kind=kind))
    return tuple(objects)


def _join_categories(categories: dict[str, None], entity: str, annotation: Annotation) -> str:
    """The distinct categories of an entity's phrases, then its flags."""
    flags = [flag for flag, flagged in (("scene", annotation.scene), ("nobox", annotation.nobox)) if entity in flagged]
    joined = "/".join([*categories, *flags])
    return "/".join(dict.fromkeys(joined.split("/"))) if "/" in joined else joined


def _ground_caption(caption: Caption, boxed: dict[str, str]) -> str:
    """The caption with a reference at each phrase whose entity has a box."""
    pieces = caption.pieces  # text, entity, categories, phrase, text, entity, ...
    parts = [pieces[0]]
    for entity, text, between in zip(pieces[1::4], pieces[3::4], pieces[4::4], strict=True):
        # A phrase with a bracket of its own would break the markers.
        linked = entity in boxed and "<" not in text and ">" not in text
        parts += (f"<st>{text}<ed>[{boxed[entity]}]" if linked else text, between)
    return "".join(parts)


def _read_unrelated_captions(path: Path) -> dict[str, set[int]]:
    """The 1-based sentence numbers to leave out, by image; none where the list is not there."""
    found: dict[str, set[int]] = {}
    if path.is_file():
        for line in read_file(path, max_bytes=LIMITS.xml_bytes).decode("utf-8-sig", errors="replace").splitlines():
            image, _, number = line.strip().partition(" ")
            if number.strip().isdecimal():
                found.setdefault(image, set()).add(int(number.strip()[:9]))
    return found


def _read_splits(root: Path) -> dict[str, str]:
    """The official split of each image, from the id lists in the folder."""
    lists = ((split, root / f"{split}.txt") for split in SPLITS)
    texts = ((split, read_file(path, max_bytes=LIMITS.xml_bytes)) for split, path in lists if path.is_file())
    return {image: split for split, text in texts for image in text.decode("utf-8-sig", errors="replace").split()}
