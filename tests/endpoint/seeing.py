"""A model that sees: it decodes the attached picture and answers any form from its pixels and its prompt alone.

It knows one thing, where in the picture a colour is, and what the prompt says about the form of an answer.
"""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40)}


def find_patch(picture: Image.Image) -> tuple[str, list[float]]:
    """The colour that is not the background, and its box in fractions of the picture."""
    small = picture.convert("RGB").resize((64, 64), Image.Resampling.NEAREST)
    pixels = {(x, y): small.getpixel((x, y)) for x in range(64) for y in range(64)}

    def near(pixel: tuple[int, int, int], colour: tuple[int, int, int]) -> bool:
        return all(abs(one - other) < 60 for one, other in zip(pixel, colour, strict=True))

    found = {name: [place for place, pixel in pixels.items() if near(pixel, colour)] for name, colour in COLOURS.items()}
    name, places = max(found.items(), key=lambda item: len(item[1]))
    assert places, "the picture holds none of the colours"
    across, down = zip(*places, strict=True)
    return name, [round(value / 64, 2) for value in (min(across), min(down), max(across) + 1, max(down) + 1)]


def picture_of(body: dict[str, Any]) -> Image.Image | None:
    """The picture of a request, if one is attached to its first message."""
    content = body["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"] if isinstance(content, list) else []
    return Image.open(io.BytesIO(base64.b64decode(urls[0].partition(",")[2]))) if urls else None


class Seer:
    """Fills in forms from the picture. `pictures` are those it was shown."""

    def __init__(self, evidence: str = "{name} patch {box}") -> None:
        self.pictures: list[Image.Image] = []
        self.evidence = evidence

    def answer(self, body: dict[str, Any]) -> str:
        picture = picture_of(body)
        if picture is None:
            return "I cannot see any picture."
        self.pictures.append(picture)
        self.name, self.box = find_patch(picture)
        text = next(part["text"] for part in body["messages"][0]["content"] if part["type"] == "text")
        schema = body["response_format"]["json_schema"]["schema"]
        self.asked, self.root, self.said = text, schema, 0
        return json.dumps(self._fill(schema, ""))

    def _fill(self, part: dict[str, Any], field: str) -> Any:
        if "$ref" in part:
            return self._fill(self.root["$defs"][part["$ref"].rsplit("/", 1)[1]], field)
        if "anyOf" in part:
            return self._fill(part["anyOf"][self.said % len(part["anyOf"])], field)
        if "enum" in part:
            return part["enum"][0]
        match part.get("type"):
            case "object":
                return {name: self._fill(inner, name) for name, inner in part["properties"].items()}
            case "array":
                return self._list(part, field)
            case "boolean":
                return True
            case "integer":
                return 7
            case _:
                return self._say(part, field)

    def _list(self, part: dict[str, Any], field: str) -> list[Any]:
        if field == "evidence":
            # The prompt says how a thing is named that has no reference.
            assert "NAME [left, top, right, bottom]" in self.asked
            return [self.evidence.format(name=self.name, box=self.box)]
        count = part.get("minItems", 1)
        return [self._number(self._fill(part["items"], field), place) for place in range(1, count + 1)]

    @staticmethod
    def _number(item: Any, place: int) -> Any:
        return item | {"number": place} if isinstance(item, dict) and "number" in item else item

    def _say(self, part: dict[str, Any], field: str) -> str:
        self.said += 1
        thing = f"<st>patch<ed>{self.box}" if "<st>" in part.get("pattern", "") else "patch"
        match field:
            case "question":
                return f"Would the {thing} be the part that draws the eye first, number {self.said} of those asked here?"
            case "correct":
                return f"The {self.name} one"
            case "wrong":
                return f"The {['pale', 'dark', 'grey', 'pink'][self.said % 4]} one"
            case "topic":
                return "colour"
        return f"It is the {self.name} {thing}, because nothing else stands out, so it would probably be noticed."
