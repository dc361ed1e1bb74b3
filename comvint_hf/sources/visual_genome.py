"""Read Visual Genome: the official JSON files under one folder, and COCO's captions for the images that are COCO's.

The files are joined by image id, one image in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from importlib.resources import files
from math import ceil
from pathlib import Path

from comvint_hf import images as pixels
from comvint_hf.errors import SourceError
from comvint_hf.read_counts import ReadCounts, as_counts
from comvint_hf.record_stream import COMPRESSED_SUFFIXES
from comvint_hf.registry import Licence, Traits, source
from comvint_hf.sources import require_folder
from comvint_hf.sources.annotations import box_from_corner, clean_text, read_number, read_size, unique_texts
from comvint_hf.sources.coco import Captions, find_annotation_files
from comvint_hf.sources.image_files import ImageFolders
from comvint_hf.sources.json_stream import Entry, group_by_image, read_integer
from comvint_hf.types import Object, Question, Region, Relation, Scene

MAIN_ROLES = ("objects", "region_descriptions", "region_graphs", "relationships", "attributes")
"""Files that say what is in an image; any one of them makes scenes."""
ROLES = (*MAIN_ROLES, "image_data", "question_answers")
LISTS = ("objects", "region_descriptions", "region_graphs")
"""Of these, files that list an image also without anything in it."""
OBJECTS_ELSEWHERE = "images whose objects were taken from relations, regions and attributes: objects.json has none"
SIZE_FROM_BOXES = "images whose size is the extent of their boxes: image_data.json and the photo are missing"
EXTENSIONS = (".jpg", ".jpeg", ".png")
FOLDERS = ("images", "VG_100K", "VG_100K_2", "images/VG_100K", "images/VG_100K_2", "images2/VG_100K_2")
Roles = dict[str, list[Entry]]


@cache
def official_test_ids() -> frozenset[str]:
    """Read the 10,808 image ids that SVIT holds out (MIT; BAAI-DCAI/Visual-Instruction-Tuning, data/test_image_ids.txt)."""
    return frozenset(files("comvint_hf.sources").joinpath("svit_test_image_ids.txt").read_text().split())


@source(
    "visual_genome",
    licence=Licence(
        "cc-by-4.0",
        "Visual Genome is CC BY 4.0; its photos come from Flickr under Creative Commons licences.",
        images_may_be_shared=True,
    ),
    citation="Krishna et al., Visual Genome, IJCV 2017, [arXiv:1602.07332](https://arxiv.org/abs/1602.07332)",
    traits=Traits(free_text_names=True),
    test_ids=official_test_ids,
)
def scenes(root: Path, counts: Counter[str], *, images: Path | None = None, coco: Path | str | None = None) -> Iterator[Scene]:
    """Yield one scene for each image that has objects or regions, in ascending order of image ids.

    The size comes from image_data.json, else from the image file, else it is the extent of the boxes, which is counted. An image that
    objects.json does not have gets its objects from the ends of relations, the graphs of regions and attributes.json. Predicates and
    attributes are lowercased. References to merged objects follow `merged_object_ids`; those to unknown objects are dropped and
    counted. `kind` of an object is its first synset. `meta`: `coco_id`, `flickr_id`, `url`.

    Args:
        root: The folder of the official JSON files.
        counts: Counts what is skipped or dropped, by reason.
        images: A folder of image files, searched before the usual places under `root`.
        coco: A folder with COCO's captions, which are joined by `coco_id`.

    Raises:
        SourceError: If there is no file of objects, regions, relations or attributes, or a file is broken.
    """
    if not any(find_role_files(root, role) for role in MAIN_ROLES) and (root / "vg").is_dir():
        root = root / "vg"  # as ComVint lays its data out
    files = [(role, path) for role in ROLES for path in find_role_files(root, role)]
    if not any(role in MAIN_ROLES for role, _ in files):
        raise SourceError(
            f"No Visual Genome annotations under {root}: expected objects.json, region_graphs.json, region_descriptions.json or "
            "relationships.json, with their official names. See README, 'Get the annotations'."
        )
    if coco is not None:
        coco = require_folder(coco, "the COCO folder")
        find_annotation_files(coco, "captions", ReadCounts())  # finds a wrong folder before the long files are read
    return _read_scenes(root, files, images, coco, as_counts(counts))


def find_role_files(root: Path, role: str) -> list[Path]:
    """Find the files of one role: `objects.json` (else the latest `objects_v*.json`) and every `objects_image*.json`."""
    packed = ("", *COMPRESSED_SUFFIXES)
    official = [path for suffix in packed if (path := root / f"{role}.json{suffix}").is_file()][:1]
    main = official or sorted(path for suffix in packed for path in root.glob(f"{role}_v[0-9]*.json{suffix}"))[-1:]
    return main + sorted(path for suffix in packed for path in root.glob(f"{role}_image*.json{suffix}"))


def _read_scenes(
    root: Path, files: list[tuple[str, Path]], images: Path | None, coco: Path | None, counts: ReadCounts
) -> Iterator[Scene]:
    folders = ImageFolders(root, images, FOLDERS, counts)
    from_graphs = not any(role == "relationships" for role, _ in files)
    with ExitStack() as stack:
        captions = stack.enter_context(closing(Captions(coco, counts))) if coco else None
        for number, roles in group_by_image(files, counts):
            if not any(role in roles for role in MAIN_ROLES):
                counts.skip("images skipped: no objects and no regions", f"image {number}")
                continue
            yield from _build_scene(number, roles, folders, captions, from_graphs, counts)


def _build_scene(
    number: int, roles: Roles, folders: ImageFolders, captions: Captions | None, from_graphs: bool, counts: ReadCounts
) -> Iterator[Scene]:
    data = roles.get("image_data", [{}])[0]
    image = folders.find(*(f"{number}{extension}" for extension in EXTENSIONS))
    items = _list_objects(number, roles, counts)
    size = read_size((data.get("width"), data.get("height"))) or (pixels.read_size(image) if image else None)
    if size is None and (size := _find_extent([*items, *_list_regions(roles)])):
        counts.note(SIZE_FROM_BOXES, f"image {number}: {size[0]} x {size[1]}")
    if size is None:
        counts.skip("images skipped: no size in image_data.json, no readable image file and no boxes", f"image {number}")
        return
    objects, tags = _read_objects(items, roles, size, counts)
    regions = _read_regions(roles, size, tags, counts)
    if not objects and not regions and not any(role in roles for role in LISTS):
        counts.skip("images skipped: no objects and no regions", f"image {number}")
        return
    coco_id = read_integer(data, "coco_id")
    joined = captions.find(coco_id) if captions and coco_id is not None else ()
    if captions and coco_id is not None and not joined:
        counts.note("images whose coco_id has no captions", f"image {number}: coco_id {coco_id}")
    yield Scene(
        id=f"visual_genome/{number}",
        source="visual_genome",
        image=image,
        width=size[0],
        height=size[1],
        captions=joined,
        objects=objects,
        regions=regions,
        relations=_read_relations(roles, tags, from_graphs, counts),
        questions=_read_questions(roles, counts),
        meta={"coco_id": coco_id, "flickr_id": read_integer(data, "flickr_id"), "url": clean_text(data.get("url"))},
    )


def _read_items(roles: Roles, role: str, inside: str | None = None) -> list[Entry]:
    """The items that the image's entries of a role list under `inside`, by default the role's own name."""
    return [item for entry in roles.get(role, ()) for item in _read_dicts(entry.get(inside or role))]


def _read_dicts(listed: object) -> list[Entry]:
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _read_corners(item: Entry) -> tuple[object, object, object, object]:
    """x, y, width and height in pixels; objects have w and h, regions width and height."""
    return item.get("x"), item.get("y"), item.get("w", item.get("width")), item.get("h", item.get("height"))


def _list_objects(number: int, roles: Roles, counts: ReadCounts) -> list[Entry]:
    """The entries of the image's objects; without its own list, those that relations, regions and attributes name with a box."""
    if listed := _read_items(roles, "objects"):
        return listed
    ends = [end for item in _read_items(roles, "relationships") for end in _read_dicts([item.get("subject"), item.get("object")])]
    graphs = [item for graph in _read_items(roles, "region_graphs", "regions") for item in _read_dicts(graph.get("objects"))]
    found: dict[object, Entry] = {}
    for item in (*ends, *graphs, *_read_items(roles, "attributes")):
        if None not in _read_corners(item):
            found.setdefault(read_integer(item, "object_id", "id"), item)
    if found:
        counts.note(OBJECTS_ELSEWHERE, f"image {number}")
    return list(found.values())


def _list_regions(roles: Roles) -> list[Entry]:
    return [item for role in ("region_descriptions", "region_graphs") for item in _read_items(roles, role, "regions")]


def _find_extent(items: Iterable[Entry]) -> tuple[int, int] | None:
    """The smallest (width, height) that holds all boxes; `None` without any."""
    edges: list[tuple[float, float]] = []
    for item in items:
        x, y, wide, high = map(read_number, _read_corners(item))
        if x is not None and y is not None and wide is not None and high is not None:
            edges.append((x + wide, y + high))
    return read_size((ceil(max(right for right, _ in edges)), ceil(max(below for _, below in edges)))) if edges else None


def _read_objects(
    items: list[Entry], roles: Roles, size: tuple[int, int], counts: ReadCounts
) -> tuple[tuple[Object, ...], dict[int, str]]:
    """The image's objects, and the tag behind every object id, merged ones included."""
    attributes: dict[int | None, list[str]] = {}
    for item in _read_items(roles, "attributes"):
        attributes.setdefault(read_integer(item, "object_id", "id"), []).extend(_lowercase(item.get("attributes")))
    objects: list[Object] = []
    tags: dict[int, str] = {}
    merged: dict[int, str] = {}
    seen: dict[int, list[tuple]] = {}
    for item in items:
        key = read_integer(item, "object_id", "id")
        names = unique_texts(item.get("names", item.get("name")))
        if key is None or not names:
            counts.skip("objects dropped: no id or no name", item)
        elif any(known == (key, names, _read_corners(item)) for known in seen.get(key, ())):
            counts.note("objects of one id and content, kept once", item)
        elif box := box_from_corner(*_read_corners(item), size, counts):
            tag = f"o{len(objects) + 1}"
            if key in seen:
                counts.note("objects whose id another object of the image has: references go to the first", item)
            seen.setdefault(key, []).append((key, names, _read_corners(item)))
            tags.setdefault(key, tag)
            others = _read_integers(item.get("merged_object_ids"))  # relations and regions still use these ids
            merged.update((other, tag) for other in others)
            listed = [word for known in (key, *others) for word in attributes.get(known, ())]
            objects.append(
                Object(
                    tag=tag,
                    key=str(key),
                    name=names[0],
                    names=names,
                    boxes=(box,),
                    attributes=tuple(dict.fromkeys([*_lowercase(item.get("attributes")), *listed])),
                    kind=next(iter(unique_texts(item.get("synsets"))), ""),
                )
            )
    return tuple(objects), merged | tags


def _read_integers(listed: object) -> list[int]:
    return [number for number in listed if isinstance(number, int)] if isinstance(listed, list) else []


def _lowercase(texts: object) -> list[str]:
    return [text.lower() for text in unique_texts(texts)]


def _read_regions(roles: Roles, size: tuple[int, int], tags: dict[int, str], counts: ReadCounts) -> tuple[Region, ...]:
    """The image's regions from both files: the descriptions, and the graphs, which add the objects of each region."""
    by_id: dict[object, Entry] = {}
    for role in ("region_descriptions", "region_graphs"):
        # The graph of a region comes second and replaces its description: only graphs name the objects.
        for position, item in enumerate(_read_items(roles, role, "regions")):
            key = read_integer(item, "region_id", "id")
            by_id[("no id", role, position) if key is None else key] = item
    regions: list[Region] = []
    for item in by_id.values():
        text = clean_text(item.get("phrase"))
        if not text:
            counts.skip("regions dropped: no phrase", item)
        elif box := box_from_corner(*_read_corners(item), size, counts):
            references = [read_integer(entry, "object_id", "id") for entry in _read_dicts(item.get("objects"))]
            objects = _resolve_tags(references, tags, counts)
            regions.append(Region(tag=f"r{len(regions) + 1}", text=text, box=box, objects=objects))
    return tuple(regions)


def _resolve_tags(references: Iterable[int | None], tags: dict[int, str], counts: ReadCounts) -> tuple[str, ...]:
    """The tags of object ids, each once; unknown ids, and ids merged into an object that was named already, are counted."""
    found: dict[str, None] = {}
    for reference in references:
        tag = None if reference is None else tags.get(reference)
        if tag is None:
            counts.skip("region references dropped: unknown object", f"object {reference}")
        elif tag in found:
            counts.note("region references folded: the same object", f"object {reference}")
        else:
            found[tag] = None
    return tuple(found)


def _read_relations(roles: Roles, tags: dict[int, str], from_graphs: bool, counts: ReadCounts) -> tuple[Relation, ...]:
    """The image's relations; from the region graphs if there is no relationships.json."""
    items = _read_items(roles, "relationships")
    if from_graphs:
        items = [
            item for graph in _read_items(roles, "region_graphs", "regions") for item in _read_dicts(graph.get("relationships"))
        ]
    relations: dict[Relation, None] = {}
    for item in items:
        ids = [_read_end(item, role) for role in ("subject", "object")]
        subject, target = (None if id is None else tags.get(id) for id in ids)
        predicate = clean_text(item.get("predicate")).lower()
        if subject is None or target is None:
            counts.skip("relations dropped: unknown object", item)
        elif not predicate:
            counts.skip("relations dropped: no predicate", item)
        elif subject == target:
            counts.skip("relations dropped: an object to itself", item)
        elif (relation := Relation(subject=subject, predicate=predicate, object=target)) in relations:
            counts.note("relations folded: said before", item)
        else:
            relations[relation] = None
    return tuple(relations)


def _read_end(relation: Entry, role: str) -> int | None:
    end = relation.get(role)
    return read_integer(end, "object_id", "id") if isinstance(end, dict) else read_integer(relation, f"{role}_id")


def _read_questions(roles: Roles, counts: ReadCounts) -> tuple[Question, ...]:
    questions = []
    for item in _read_items(roles, "question_answers", "qas"):
        question, answer = clean_text(item.get("question")), clean_text(item.get("answer"))
        if question and answer:
            questions.append(Question(question=question, answer=answer))
        else:
            counts.skip("questions dropped: empty", item)
    return tuple(questions)
