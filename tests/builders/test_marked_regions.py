"""The VLIT review's marked regions: the image of a row shows the box that its question points at."""

import io

from click.testing import CliRunner
from datasets import load_dataset
from PIL import Image

from comvint_hf.cli import main
from comvint_hf.grounding import parse


def test_a_rows_image_shows_the_region_of_its_question(tmp_path):
    out = tmp_path / "marked"
    command = [
        "build",
        "--recipe",
        "svit",
        "--tasks",
        "referring_qa",
        "--scenes",
        "shapes:3",
        "--store-images",
        "marked",
        "--out",
        str(out),
    ]
    assert CliRunner().invoke(main, command).exit_code == 0
    asked = pointed = 0
    for row in load_dataset("parquet", data_files=str(out / "data" / "**" / "*.parquet"), split="train"):
        boxes = [box for found in parse(row["messages"][0]["content"]) for box in found.boxes]
        image = row["images"][0]
        asked += 1
        for box in boxes:
            pointed += 1
            assert image.getpixel((round(box.x1 * image.width), round(box.y1 * image.height))) == (255, 0, 0)
        if not boxes:
            plain = io.BytesIO()
            image.save(plain, "PNG")
            assert (255, 0, 0) not in Image.open(plain).convert("RGB").crop((0, 0, 3, 3)).getdata()
    assert asked and pointed
