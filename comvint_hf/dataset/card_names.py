"""What a dataset's card is called, and by which name it says that the rows are loaded: here, and in a repository on the Hub.

A folder's own name is in no card, so the same build in another folder has the same bytes.
"""

from __future__ import annotations

import json
import re
from typing import Any

HERE = "FOLDER"
"""By this name a card speaks of its own folder, whose place is nobody's business."""
BESIDE = "    # the path of this folder"
PARTS_NAMED = 3
_TITLE = re.compile(r"^# .*$", re.MULTILINE)
_PRETTY = re.compile(r"^pretty_name: .*(?:\n  .*)*$", re.MULTILINE)


def title(about: dict[str, Any]) -> str:
    """The name of a dataset by what it is made of, as build.json says.

    >>> title({"parts": [{"recipe": "svit", "source": "coco"}]})
    'svit on coco'
    >>> title({"parts": [{"recipe": "svit", "source": "coco"}, {"recipe": "unknown", "source": "llava.json"}]})
    'Mix of svit on coco and llava.json'
    """
    made = [part["source"] if part["recipe"] == "unknown" else f"{part['recipe']} on {part['source']}" for part in about["parts"]]
    made = list(dict.fromkeys(made))
    if len(made) > PARTS_NAMED + 1:
        made = [*made[:PARTS_NAMED], f"{len(made) - PARTS_NAMED} more"]
    said = " and ".join(filter(None, (", ".join(made[:-1]), *made[-1:]))) or "rows"
    return f"Mix of {said}" if len(made) > 1 or about.get("selection") else said


def card_on_hub(card: str, repo_id: str) -> str:
    """The card of a folder as it stands in a repository: called after it, and loading its rows by that name.

    >>> print(card_on_hub('# svit on coco\\nload_dataset("FOLDER", "images")', "org/ours"))
    # org/ours
    load_dataset("org/ours", "images")
    """
    card = _TITLE.sub(f"# {repo_id}", card, count=1)
    card = _PRETTY.sub(f"pretty_name: {json.dumps(repo_id.rpartition('/')[2])}", card, count=1)
    for call in ('load_dataset("{}"', 'attach_images(dataset, "{}"'):
        card = card.replace(call.format(HERE), call.format(repo_id))
    return card.replace(BESIDE, "")
