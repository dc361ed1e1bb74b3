"""Measures on hand-made cases whose answers are known."""

from __future__ import annotations

import math
import os
import random

import networkx
import numpy as np
import pytest

from comvint_hf.quality import measures


def test_balance_is_the_variance_of_shares() -> None:
    assert measures.balance([]) == 0 and measures.balance(["a", "b", "c"]) == 0
    assert measures.balance(["a"] * 3 + ["b"]) == pytest.approx(625.0)


def test_yes_bias_of_nothing_is_none_and_of_yes_alone_infinite() -> None:
    assert measures.yes_bias([]).ratio == 1.0 and measures.yes_bias(["Yes"]).ratio == math.inf


def test_a_word_in_two_circles_belongs_to_two_communities() -> None:
    graph = networkx.Graph()
    left, right = [f"l{n}" for n in range(5)], [f"r{n}" for n in range(5)]
    for circle in (left, right):
        graph.add_edges_from((one, two) for one in [*circle, "bank"] for two in [*circle, "bank"] if one != two)
    communities = measures.ego_splitting(graph)
    assert sorted(map(sorted, communities)) == [sorted(["bank", *left]), sorted(["bank", *right])]


def test_more_kinds_of_instructions_make_more_clusters() -> None:
    dice = random.Random(0)
    topics = [[f"{letter}{n}" for n in range(8)] for letter in "pqrs"]

    def instructions(kinds: int) -> list[str]:
        return ["What is the " + " ".join(dice.sample(topics[n % kinds], 4)) for n in range(400)]

    assert [measures.count_instruction_clusters(instructions(kinds)) for kinds in (1, 2, 4)] == [1, 2, 4]
    found = measures.instruction_diversity(instructions(2) + instructions(1), ["a"] * 400 + ["b"] * 400)
    assert found == {"a": 2, "b": 1}
    assert measures.count_instruction_clusters([]) == 0


def test_response_diversity_counts_clusters_of_embeddings() -> None:
    pytest.importorskip("sklearn")
    centres = np.eye(6)[:3]
    embeddings = np.concatenate([centre + np.random.default_rng(0).normal(0, 0.01, (20, 6)) for centre in centres])
    assert measures.response_diversity(embeddings) == pytest.approx(math.log(3))
    assert measures.response_diversity(np.eye(4)) == 0


def test_matching_runs_clip_in_batches_and_tells_pictures_apart(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from PIL import Image
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    words = {word: number for number, word in enumerate(["<pad>", "<end>", "a", "red", "blue", "square"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>").save_pretrained(
        tmp_path
    )
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 8, "max_position_embeddings": 6, "eos_token_id": 1, "pad_token_id": 0},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    processor = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    processor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pairs = [(Image.new("RGB", (40, 30), colour), f"a {colour} square " * 5) for colour in ("red", "blue", "red")]
    scores = list(measures.matching(pairs, str(tmp_path), batch_size=2, device="cpu"))
    assert len(scores) == 3 and all(-100 <= score <= 100 for score in scores)
    assert scores[0] == pytest.approx(scores[2], abs=1e-3) and scores[0] != pytest.approx(scores[1], abs=1e-3)
