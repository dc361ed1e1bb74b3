"""Datasets of others on a Hub as a source, read by unmodified clients in other processes."""

import json

MAKE = """
import sys
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pictures
name = sys.argv[1]
kind = {"bbox": List(List(Value("float32"))), "category": List(ClassLabel(names=["cat", "dog"]))}
features = Features({"image_id": Value("int64"), "image": Image(), "objects": kind})
def part(first):
    numbers = range(3)
    return Dataset.from_dict({
        "image_id": list(numbers),
        "image": [Pictures.new("RGB", (100, 50), (first, 80 * number, 0)) for number in numbers],
        "objects": [{"bbox": [[10, 5, 20, 20]], "category": [number % 2]} for number in numbers],
    }, features=features)
DatasetDict({"train": part(0), "test": part(200)}).push_to_hub(name, max_shard_size="1MB")
from huggingface_hub import DatasetCard
card = DatasetCard.load(name)
card.data.license = "cc-by-4.0"
card.push_to_hub(name)
"""
READ = """
import json, sys
from comvint_hf import load_scenes
stream = load_scenes(sys.argv[1], limit=int(sys.argv[2]) if len(sys.argv) > 2 else None)
read = [(scene.id, scene.objects[0].name, scene.open().getpixel((0, 0))[0]) for scene in stream]
print(json.dumps({"scenes": read, "counts": stream.counts, "licence": [stream.licence.name, stream.licence.images_may_be_shared]}))
"""
FOLDER = """
import sys
from pathlib import Path
from huggingface_hub import HfApi
from PIL import Image as Pictures
folder = Path(sys.argv[2])
(folder / "train").mkdir(parents=True)
Pictures.new("RGB", (40, 30), "red").save(folder / "train" / "a.png")
(folder / "train" / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "A red card."}\\n')
HfApi().create_repo(sys.argv[1], repo_type="dataset")
HfApi().upload_folder(repo_id=sys.argv[1], repo_type="dataset", folder_path=folder)
"""


def test_a_detection_set_of_two_splits_that_number_their_images_alike(client) -> None:
    client(MAKE, "tester/animals")
    told = json.loads(client(READ, "hub:tester/animals"))
    assert [name for name, _, _ in told["scenes"]] == [
        f"hub/tester/animals/{split}/{number}" for split in ("train", "test") for number in range(3)
    ]
    assert [found for _, found, _ in told["scenes"]] == ["cat", "dog", "cat"] * 2
    assert [red for _, _, red in told["scenes"]] == [0] * 3 + [200] * 3
    assert told["licence"] == ["cc-by-4.0", True]
    assert "read: boxes as xywh in pixels" in told["counts"]
    assert len(json.loads(client(READ, "hub:tester/animals,split=test"))["scenes"]) == 3
    assert len(json.loads(client(READ, "hub:tester/animals", "2"))["scenes"]) == 2


def test_files_of_a_repository_are_read_and_no_others(client, tmp_path) -> None:
    client(FOLDER, "tester/files", str(tmp_path / "files"))
    code = """
import sys
from comvint_hf import load_scenes
(scene,) = load_scenes(sys.argv[1])
print(scene.captions, scene.open().size)
"""
    assert client(code, "hub:tester/files").strip() == "('A red card.',) (40, 30)"


def test_a_repository_that_is_not_there_is_one_sentence(client) -> None:
    code = """
from comvint_hf import load_scenes
from comvint_hf.errors import SourceError
try:
    list(load_scenes("hub:tester/nowhere"))
except SourceError as error:
    print(error)
"""
    told = client(code).strip()
    assert told.startswith("tester/nowhere cannot be loaded")
    assert "\n" not in told


def test_a_build_from_the_hub_and_its_card(client, tmp_path) -> None:
    client(MAKE, "tester/beasts")
    code = """
import sys
from comvint_hf.cli import main
main(["build", "--recipe", "svit", "--scenes", "hub:tester/beasts", "--llm", "annotations", "--out", sys.argv[1]])
"""
    client(code, str(tmp_path / "built"))
    build = json.loads((tmp_path / "built" / "build.json").read_text())
    assert build["parts"][0]["licence"]["name"] == "cc-by-4.0"
    assert build["parts"][0]["scenes"] == "hub:tester/beasts"
    assert "cc-by-4.0" in (tmp_path / "built" / "README.md").read_text()
