"""Hand-made corpora, small enough to read, and what every source test does with a stream."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
]


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, object], Path]:
    """Write a file under the temporary folder: text and bytes as they are, anything else as JSON."""

    def write(name: str, content: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode()
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Save a small JPEG under the temporary folder."""

    def save(name: str, size: tuple[int, int] = (40, 30)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(size, 80).convert("RGB").save(path, quality=95)
        return path

    return save


@pytest.fixture
def instances(put: Callable[[str, object], Path]) -> Callable[..., Path]:
    """Write COCO instances: `images` (id, file name) of 100 x 50 pixels, `annotations` (id, image, bbox, more)."""

    def write(images: list[tuple], annotations: list[tuple] = (), name: str = "annotations/instances_val2017.json") -> Path:
        return put(
            name,
            {
                "info": {},
                "licenses": [{"id": 4, "url": "http://example.org/by/2.0/", "name": "Attribution"}],
                "images": [
                    {
                        "id": number,
                        "file_name": file,
                        "width": 100,
                        "height": 50,
                        "license": 4,
                        "coco_url": f"http://example.org/{file}",
                    }
                    for number, file in images
                ],
                "annotations": [
                    {"id": number, "image_id": image, "bbox": box, "category_id": 1, "iscrowd": 0, "segmentation": [[1.5, 2, 3]]}
                    | (more[0] if more else {})
                    for number, image, box, *more in annotations
                ],
                "categories": CATEGORIES,
            },
        )

    return write


@pytest.fixture
def flickr(put: Callable[[str, object], Path], tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Write one image of Flickr30k Entities, 100 x 50 pixels; returns the corpus folder."""

    def write(image: str, objects: str, sentences: str) -> Path:
        size = "<size><width>100</width><height>50</height><depth>3</depth></size>"
        put(f"Annotations/{image}.xml", f"<annotation><filename>{image}.jpg</filename>{size}{objects}</annotation>")
        put(f"Sentences/{image}.txt", sentences)
        return tmp_path

    return write


@pytest.fixture
def genome(put: Callable[[str, object], Path], tmp_path: Path) -> Callable[..., Path]:
    """Write Visual Genome files by role, and image_data for images of 100 x 50 pixels; returns the folder."""

    def write(sized: tuple[int, ...] = (1,), **roles: object) -> Path:
        roles.setdefault("image_data", [{"image_id": number, "width": 100, "height": 50, "coco_id": None} for number in sized])
        for role, content in roles.items():
            put(f"{role}.json", content)
        return tmp_path

    return write
