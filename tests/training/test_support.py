"""The table of docs/families.md says what is so of each family; and the doors through which processors are loaded."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
import torch
from training.tiny import families as small
from training.tiny.trees import rows_of_images, tree_of

from comvint_hf import L2TCollator
from comvint_hf.box_formats import BOX_FORMATS
from comvint_hf.errors import ModelError, RowError
from comvint_hf.model_families import FAMILIES, family_of, load_processor
from comvint_hf.training.packing.masks import read_attention

VIDEO = [name for name, tiny in small.TINY.items() if type(tiny.processor()).__module__ == "comvint_hf.model_families"]


@pytest.mark.parametrize("name", VIDEO)
def test_a_processor_whose_video_part_wants_torchvision_is_loaded_for_images(name, tmp_path) -> None:
    processor = small.processor_of(name)
    processor.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="needs torchvision for videos.* loaded for images only"):
        again = load_processor(str(tmp_path))
    assert type(again) is type(processor)
    sent = pickle.loads(pickle.dumps(L2TCollator(again)))
    first, second = (collate([small.row_of(*small.TALK)]) for collate in (L2TCollator(processor), sent))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_checkpoint_without_a_chat_template_gets_its_familys_only_where_all_are_so(tmp_path) -> None:
    for name in ("PaliGemma", "LLaVA-1.5, SigLIP"):
        small.TINY[name].processor().save_pretrained(tmp_path / name)
        (tmp_path / name / "chat_template.jinja").unlink()
    assert load_processor(str(tmp_path / "PaliGemma")).chat_template == small.processor_of("PaliGemma").chat_template
    assert load_processor(str(tmp_path / "LLaVA-1.5, SigLIP")).chat_template is None


def test_a_family_that_needs_an_image_says_so() -> None:
    collate = L2TCollator(small.processor_of("PaliGemma"))
    with pytest.raises(RowError, match="Row 1 of the batch has no image, and PaliGemmaProcessor takes no row without one"):
        collate([small.row_of("a", "b"), {"messages": small.talk("a", "b")}])


def accepts_trees(name: str) -> str:
    """Where trees of rows have the rows' loss: yes for whatever is learnt, no, or what has to be learnt."""
    rows = rows_of_images()
    model, accepted = small.model_of(name), []
    for learn in small.LEARN:
        try:
            tree = tree_of(name, rows, read_attention(model), learn=learn)
        except ModelError:
            continue
        single = small.collator_of(name, learn=learn)
        with torch.no_grad():
            wanted = sum(model(**single([row]), num_items_in_batch=1).loss for row in rows)
            assert torch.allclose(model(**tree, num_items_in_batch=1).loss, wanted, rtol=1e-5)
        accepted.append(learn)
    return "yes" if len(accepted) == len(small.LEARN) else ", ".join(accepted) or "no"


def family_of_class(name: str) -> Any:
    return FAMILIES[small.TINY[name].processor_class]


def support_table() -> dict[str, list[str]]:
    from pathlib import Path

    lines = (Path(__file__).parents[2] / "docs/families.md").read_text().partition("| family |")[2].splitlines()
    rows = []
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))])
    return {row[0]: row[1:] for row in rows}


def test_the_support_table_has_a_line_for_every_family() -> None:
    assert list(support_table()) == list(small.TINY)
    assert {small.TINY[name].processor_class for name in small.TINY} == set(FAMILIES)


@small.FAMILY
def test_the_support_table_says_what_is_so(name) -> None:
    """Trainer, template style, boxes, what can be learnt, rows without an image, trees, and the processor without torchvision."""
    processor = small.processor_of(name)
    family = family_of(processor)
    said = small.collator_of(name, boxes="family").preview(small.row_of(small.SENTENCE, "yes")).plain
    box = BOX_FORMATS[family.box_format].pattern.search(said)[0]
    assert support_table()[name] == [
        "TRL" if family.supports_trl else "transformers",
        family.chat_template,
        f"`{box}`",
        small.collator_of(name).learn,
        "yes" if small.collator_of(name).check({"messages": small.talk("a", "b")}) is None else "no",
        accepts_trees(name),
        "images only" if name in VIDEO or family_of_class(name).fallback_processor else "whole",
    ]
