"""Visual Genome: the official JSON files under one folder become scenes.

The files are walked in step by image id, one image in memory at a time. This file knows their format, and it knows that
half of the photos are COCO's, whose captions may be joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from comvint_hf.errors import SourceError
from comvint_hf.sources.coco import Captions, annotation_files
from comvint_hf.sources.image_files import EXTENSIONS, Photos, photo_size
from comvint_hf.sources.json_stream import Entry, by_image, whole_number
from comvint_hf.sources.names import clean, wordings
from comvint_hf.sources.pixel_boxes import corner_box, is_size
from comvint_hf.types import Object, Question, Region, Relation, Scene

ROLES = ("objects", "region_descriptions", "region_graphs", "relationships", "attributes", "image_data", "question_answers")
FOLDERS = ("images", "VG_100K", "VG_100K_2", "images/VG_100K", "images/VG_100K_2", "images2/VG_100K_2")
Roles = dict[str, list[Entry]]


def scenes(root: Path, counts: Counter[str], *, images: Path | None = None, coco: Path | None = None) -> Iterator[Scene]:
    """Yield one scene for each image that has objects or regions, in ascending order of image ids.

    The size comes from image_data.json, else from the photo; an image with neither is a counted skip. `coco` is a folder
    with COCO's captions. Names, phrases and predicates are stripped and folded, predicates and attributes lowercased;
    references to objects that were merged follow `merged_object_ids`, those to unknown objects are dropped and counted.
    `kind` of an object is its first synset. `meta`: `coco_id`, `flickr_id`, `url`. Raises `SourceError` where neither
    objects.json nor a region file is there, or a file is broken.
    """
    files = [(role, path) for role in ROLES for path in role_files(root, role)]
    if not any(role in ("objects", "region_descriptions", "region_graphs") for role, _ in files):
        raise SourceError(
            f"No Visual Genome annotations under {root}: expected objects.json, region_graphs.json or region_descriptions.json, "
            "with their official names. See README, 'Get the annotations'."
        )
    if coco is not None:
        annotation_files(coco, "captions", Counter())  # refuses a wrong folder before the long files are read
    return _scenes(root, files, images, coco, counts)


def role_files(root: Path, role: str) -> list[Path]:
    """The files of one role: `objects.json` (else the latest `objects_v*.json`), and `attributes_image*.json` beside."""
    official = root / f"{role}.json"
    main = [official] if official.is_file() else sorted(root.glob(f"{role}_v[0-9]*.json"))[-1:]
    return main + sorted(root.glob(f"{role}_image*.json"))


def _scenes(
    root: Path, files: list[tuple[str, Path]], images: Path | None, coco: Path | None, counts: Counter[str]
) -> Iterator[Scene]:
    photos = Photos(root, images, FOLDERS, counts)
    lone_relations = not any(role == "relationships" for role, _ in files)
    with ExitStack() as stack:
        captions = stack.enter_context(closing(Captions(coco, counts))) if coco else None
        for number, roles in by_image(files, counts):
            if not any(role in roles for role in ("objects", "region_descriptions", "region_graphs")):
                counts["images skipped: no objects and no regions"] += 1
                counts["relations dropped: their image has no objects"] += len(_listed(roles, "relationships"))
                continue
            yield from _scene(number, roles, photos, captions, lone_relations, counts)


def _scene(
    number: int, roles: Roles, photos: Photos, captions: Captions | None, lone_relations: bool, counts: Counter[str]
) -> Iterator[Scene]:
    data = roles.get("image_data", [{}])[0]
    photo = photos.find(*(f"{number}{extension}" for extension in EXTENSIONS))
    size = whole_number(data, "width"), whole_number(data, "height")
    if not is_size(*size):
        size = photo_size(photo) if photo else None
    if size is None:
        counts["images skipped: no size in image_data.json and no readable photo"] += 1
        return
    objects, tags = _objects(roles, size, counts)
    regions = _regions(roles, size, tags, counts)
    coco_id = whole_number(data, "coco_id")
    joined = captions.of(coco_id) if captions and coco_id is not None else ()
    if captions and coco_id is not None and not joined:
        counts["images whose coco_id has no captions"] += 1
    yield Scene(
        id=f"visual_genome/{number}",
        source="visual_genome",
        image=photo,
        width=size[0],
        height=size[1],
        captions=joined,
        objects=objects,
        regions=regions,
        relations=_relations(roles, tags, lone_relations, counts),
        questions=_questions(roles, counts),
        meta={"coco_id": coco_id, "flickr_id": whole_number(data, "flickr_id"), "url": clean(data.get("url"))},
    )


def _listed(roles: Roles, role: str, inside: str | None = None) -> list[Entry]:
    """What the image's entries of a role list under `inside` (the role's own name unless told)."""
    return [item for entry in roles.get(role, ()) for item in _dicts(entry.get(inside or role))]


def _dicts(listed: object) -> list[Entry]:
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _corners(item: Entry) -> tuple[object, object, object, object]:
    """x, y, width and height in pixels; objects call the latter w and h."""
    return item.get("x"), item.get("y"), item.get("w", item.get("width")), item.get("h", item.get("height"))


def _objects(roles: Roles, size: tuple[int, int], counts: Counter[str]) -> tuple[tuple[Object, ...], dict[int, str]]:
    """The image's objects, and the tag behind every object id, merged ones included."""
    attributes: dict[int | None, list[str]] = {}
    for item in _listed(roles, "attributes"):
        attributes.setdefault(whole_number(item, "object_id", "id"), []).extend(_lowered(item.get("attributes")))
    objects: list[Object] = []
    tags: dict[int, str] = {}
    merged: dict[int, str] = {}
    for item in _listed(roles, "objects"):
        key = whole_number(item, "object_id", "id")
        names = wordings(item.get("names", item.get("name")))
        if key is None or not names:
            counts["objects dropped: no id or no name"] += 1
        elif key in tags:
            counts["objects dropped: their id is repeated"] += 1
        elif box := corner_box(*_corners(item), size, counts):
            tag = tags[key] = f"o{len(objects) + 1}"
            others = _numbers(item.get("merged_object_ids"))
            merged.update((other, tag) for other in others)
            said = [word for known in (key, *others) for word in attributes.get(known, ())]
            objects.append(
                Object(
                    tag=tag,
                    key=str(key),
                    name=names[0],
                    names=names,
                    boxes=(box,),
                    attributes=tuple(dict.fromkeys([*_lowered(item.get("attributes")), *said])),
                    kind=next(iter(wordings(item.get("synsets"))), ""),
                )
            )
    return tuple(objects), merged | tags


def _numbers(listed: object) -> list[int]:
    return [number for number in listed if isinstance(number, int)] if isinstance(listed, list) else []


def _lowered(texts: object) -> list[str]:
    return [text.lower() for text in wordings(texts)]


def _regions(roles: Roles, size: tuple[int, int], tags: dict[int, str], counts: Counter[str]) -> tuple[Region, ...]:
    """The image's regions from both files: the descriptions, and the graphs, which add the objects they speak of."""
    by_id: dict[object, Entry] = {}
    for role in ("region_descriptions", "region_graphs"):
        for position, item in enumerate(_listed(roles, role, "regions")):
            key = whole_number(item, "region_id", "id")
            by_id[("no id", role, position) if key is None else key] = item
    regions: list[Region] = []
    for item in by_id.values():
        text = clean(item.get("phrase"))
        if not text:
            counts["regions dropped: no phrase"] += 1
        elif box := corner_box(*_corners(item), size, counts):
            references = [whole_number(one, "object_id", "id") for one in _dicts(item.get("objects"))]
            spoken = _resolved(references, tags, counts)
            regions.append(Region(tag=f"r{len(regions) + 1}", text=text, box=box, objects=spoken))
    return tuple(regions)


def _resolved(references: Iterable[int | None], tags: dict[int, str], counts: Counter[str]) -> tuple[str, ...]:
    """The tags behind object ids, each once; what is unknown or merged into one already named is counted."""
    found: dict[str, None] = {}
    for reference in references:
        tag = tags.get(reference)
        if tag is None:
            counts["region references dropped: unknown object"] += 1
        elif tag in found:
            counts["region references folded: the same object"] += 1
        else:
            found[tag] = None
    return tuple(found)


def _relations(roles: Roles, tags: dict[int, str], lone: bool, counts: Counter[str]) -> tuple[Relation, ...]:
    """The image's relations; from the region graphs where there is no relationships.json."""
    items = _listed(roles, "relationships")
    if lone:
        items = [item for graph in _listed(roles, "region_graphs", "regions") for item in _dicts(graph.get("relationships"))]
    relations: dict[Relation, None] = {}
    for item in items:
        subject, target = (tags.get(_end(item, role)) for role in ("subject", "object"))
        predicate = clean(item.get("predicate")).lower()
        if subject is None or target is None:
            counts["relations dropped: unknown object"] += 1
        elif not predicate:
            counts["relations dropped: no predicate"] += 1
        elif subject == target:
            counts["relations dropped: an object to itself"] += 1
        elif (relation := Relation(subject=subject, predicate=predicate, object=target)) in relations:
            counts["relations folded: said before"] += 1
        else:
            relations[relation] = None
    return tuple(relations)


def _end(relation: Entry, role: str) -> int | None:
    end = relation.get(role)
    return whole_number(end, "object_id", "id") if isinstance(end, dict) else whole_number(relation, f"{role}_id")


def _questions(roles: Roles, counts: Counter[str]) -> tuple[Question, ...]:
    questions = []
    for item in _listed(roles, "question_answers", "qas"):
        question, answer = clean(item.get("question")), clean(item.get("answer"))
        if question and answer:
            questions.append(Question(question=question, answer=answer))
        else:
            counts["questions dropped: empty"] += 1
    return tuple(questions)
