"""Visual contribution: of every family, the same however rows are batched, and what it must be for models one knows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from training.tiny.families import FAMILY, SAMPLE_IMAGE, TINY, collator_of, model_of, processor_of, row_of, talk

from comvint_hf import L2TCollator
from comvint_hf.conventions import Conventions
from comvint_hf.errors import RowError
from comvint_hf.evaluation import visual_contribution
from comvint_hf.evaluation.results import render_table
from comvint_hf.evaluation.scoring import compute_metrics

LLAVA = "LLaVA-1.5, CLIP"


def chat_of(name: str, **agreed) -> SimpleNamespace:
    """What of a chat is used: loading one is tested elsewhere."""
    return SimpleNamespace(model=model_of(name), processor=processor_of(name), conventions=Conventions(**agreed))


def rows(count: int = 5) -> list[dict]:
    """Answers of several lengths about two images of different size."""
    images = [SAMPLE_IMAGE, SAMPLE_IMAGE.rotate(90, expand=True)]
    return [
        row_of("Is it?", "yes " * (number + 1), *("Sure?", "no") * (number % 2))
        | {"id": str(number), "image_id": str(number % 2), "images": [images[number % 2]], "task": "ab"[number % 2]}
        for number in range(count)
    ]


@FAMILY
def test_batches_measure_what_single_rows_do_and_the_loss_says_it(name) -> None:
    chat, collator = chat_of(name), collator_of(name, learn="response")
    single, batched = (visual_contribution.measure_contributions(chat, collator, rows(), batch_size=size).rows for size in (1, 3))
    assert [row.id for row in batched] == [str(number) for number in range(5)]
    for one, other, row in zip(single, batched, rows(), strict=True):
        assert (one.with_image, one.with_noise) == pytest.approx((other.with_image, other.with_noise), abs=2e-4)
        with torch.no_grad():
            loss = chat.model(**collator([row])).loss.item()
        assert one.with_image == pytest.approx(-loss * one.tokens, rel=1e-4)


def test_a_family_with_a_prefix_is_measured_as_it_was_trained() -> None:
    name, row = "PaliGemma", rows(1)
    chat = chat_of(name, learn="instruction+response")
    found = visual_contribution.measure_contributions(chat, collator_of(name, learn="response"), row).rows[0]
    trained, answers = L2TCollator(chat.processor)(row), collator_of(name, learn="response")(row)
    with torch.no_grad():
        loss = chat.model(**{**trained, "labels": answers["labels"]}).loss.item()
        other = chat.model(**answers).loss.item()
    assert found.with_image == pytest.approx(-loss * found.tokens, rel=1e-4) and abs(loss - other) > 1e-5


def test_a_model_that_learnt_to_look_has_a_contribution_and_one_that_does_not_has_none() -> None:
    """Which answer is right can only be seen: after training on the images the true answer needs them."""
    processor = processor_of(LLAVA)
    seen = [
        row_of("Which?", answer) | {"id": answer, "image_id": answer, "images": [Image.new("RGB", (32, 32), colour)]}
        for colour, answer in (("white", "car"), ("black", "tree"))
    ]
    collator, model = collator_of(LLAVA, learn="response"), TINY[LLAVA].model(processor)
    chat = SimpleNamespace(model=model, processor=processor, conventions=Conventions())
    model.model.multi_modal_projector.linear_2.weight.data.mul_(50)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(**collator(seen)).loss.backward()
        optimizer.step()
    model.eval()
    assert (
        visual_contribution.aggregate_contributions(visual_contribution.measure_contributions(chat, collator, seen))["value"]
        > 0.3
    )
    torch.nn.init.zeros_(model.model.multi_modal_projector.linear_2.weight)
    torch.nn.init.zeros_(model.model.multi_modal_projector.linear_2.bias)
    assert visual_contribution.aggregate_contributions(visual_contribution.measure_contributions(chat, collator, seen))[
        "value"
    ] == pytest.approx(0, abs=1e-6)


def test_noise_is_the_rows_own_and_seeded() -> None:
    row = {"id": "a", "images": [SAMPLE_IMAGE, SAMPLE_IMAGE]}
    first, again, other = (visual_contribution.replace_with_noise(row, seed)["images"] for seed in (0, 0, 1))
    arrays = [np.asarray(image) for image in (*first, again[0], other[0])]
    assert first[0].size == SAMPLE_IMAGE.size and arrays[0].min() < 5 and arrays[0].max() > 250
    assert (arrays[0] == arrays[2]).all() and not (arrays[0] == arrays[1]).all() and not (arrays[0] == arrays[3]).all()
    assert visual_contribution.replace_with_noise({**row, "id": "b"}, 0)["images"][0].tobytes() != first[0].tobytes()


def test_unusable_rows_are_counted_and_pixel_bounds_are_kept() -> None:
    chat, collator = chat_of(LLAVA, max_pixels=300), collator_of(LLAVA, learn="response")
    blind = {"id": "blind", "images": [], "messages": talk("Is it?", "yes")}
    found = visual_contribution.measure_contributions(
        chat, collator, [*rows(2), blind, {**rows(1)[0], "messages": talk("Is it?")}]
    )
    metrics = visual_contribution.aggregate_contributions(found)
    assert (metrics["n"], metrics["left_out"]["n"], metrics["left_out"]["first"]) == (2, 2, "Row 'blind' has no image.")
    assert visual_contribution.fit_images(rows(1)[0], chat.conventions)["images"][0].size == (20, 15)
    with pytest.raises(RowError, match="The first problem: Row 'blind' has no image"):
        visual_contribution.measure_contributions(chat, collator, [blind])


def test_the_mean_has_an_interval_by_kind_and_stands_in_the_table() -> None:
    made = visual_contribution.ContributionResults(
        [visual_contribution.Contribution(str(n), str(n // 2), "ab"[n % 2], "open", 4, float(n % 2), 0.0) for n in range(40)]
    )
    metrics = visual_contribution.aggregate_contributions(made)
    assert (metrics["value"], metrics["per_token"], metrics["n"]) == (0.5, 0.125, 40) and metrics["low"] <= 0.5 <= metrics["high"]
    assert {name: own["value"] for name, own in metrics["by_task"].items()} == {"a": 0.0, "b": 1.0}
    drawn = render_table(compute_metrics([]) | {"visual_contribution": metrics})
    first = list(drawn.columns[0].cells)
    assert first[first.index("visual contribution, nats a row") + 1 :] == ["  task a", "  task b", "  format open"]
