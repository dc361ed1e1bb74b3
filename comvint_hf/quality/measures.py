"""Measure a dataset as the VLIT review does (PAPERS section 4), where that needs no large model; and CLIP's, which does.

Texts, labels, embeddings and pictures in, numbers out. This file knows no row and no file of a dataset.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.statistics import words_of, yes_or_no
from comvint_hf.errors import InputError

if TYPE_CHECKING:
    import networkx
    import numpy as np
    from PIL.Image import Image

CLIP = "openai/clip-vit-large-patch14"
STOP_WORDS = frozenset(
    """
    a an the this that these those is are was were be been being am do does did has have had can could may might will would shall
    should must of in on at by for from with without to into onto as and or but nor not no if than then so such there here it its he
    she they them his her their i you we me my your our us what which who whom whose when where why how many much any some all each
    every one please
    """.split()  # noqa: SIM905
)


def balance(labels: Iterable[str]) -> float:
    """The variance of the labels' shares, in percent squared: 0 where every label has equally many samples.

    >>> balance(["a", "b"]), balance(["a", "a", "a", "b"])
    (0.0, 625.0)
    """
    counts = Counter(labels)
    if not counts:
        return 0.0
    shares = [100 * count / counts.total() for count in counts.values()]
    mean = sum(shares) / len(shares)
    return sum((share - mean) ** 2 for share in shares) / len(shares)


@dataclass(frozen=True)
class YesBias:
    """How many answers say yes and how many no; `ratio` is yes for each no, infinite without a no."""

    yes: int
    no: int

    @property
    def ratio(self) -> float:
        return self.yes / self.no if self.no else math.inf if self.yes else 1.0


def yes_bias(answers: Iterable[str]) -> YesBias:
    """Count the answers that begin with yes and with no.

    >>> yes_bias(["Yes.", "Yes, it is.", "No.", "A dog."]).ratio
    2.0
    """
    said = Counter(map(yes_or_no, answers))
    return YesBias(said[True], said[False])


def cooccurrence(texts: Iterable[str], most_words: int = 500) -> networkx.Graph:
    """The graph of words that stand in one instruction together, stop words left out.

    Nodes are the `most_words` most frequent words that occur at least twice; an edge weighs how often the two met.
    """
    import networkx

    bags = [sorted({word.lower() for word in words_of(text)} - STOP_WORDS) for text in texts]
    counts = Counter(word for bag in bags for word in bag)
    known = {word for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most_words] if count > 1}
    graph = networkx.Graph()
    graph.add_nodes_from(sorted(known))
    edges = Counter(pair for bag in bags for pair in combinations([word for word in bag if word in known], 2))
    graph.add_weighted_edges_from((one, two, weight) for (one, two), weight in sorted(edges.items()))
    return graph


def ego_splitting(graph: networkx.Graph, seed: int = 0) -> list[set[Any]]:
    """Overlapping communities by Ego-Splitting (Epasto, Lattanzi, Paes Leme 2017).

    Each node becomes one persona for each community of its neighbours among themselves; the personas' graph is partitioned;
    a community is the set of nodes whose personas fell together. Louvain does both partitions.
    """
    import networkx

    persona_of: dict[Any, dict[Any, int]] = {}
    for node in graph:
        groups = _louvain(graph.subgraph(graph[node]), seed)
        persona_of[node] = {neighbour: number for number, group in enumerate(groups) for neighbour in group}
    personas = networkx.Graph()
    for one, two, weight in graph.edges(data="weight", default=1):
        personas.add_edge((one, persona_of[one][two]), (two, persona_of[two][one]), weight=weight)
    return [{node for node, _ in community} for community in _louvain(personas, seed)]


def _louvain(graph: networkx.Graph, seed: int) -> list[set[Any]]:
    import networkx

    return networkx.community.louvain_communities(graph, seed=seed) if graph.number_of_edges() else [{node} for node in graph]


def instruction_clusters(texts: Sequence[str], *, most: int = 5000, seed: int = 0) -> int:
    """How many overlapping word communities the instructions form: the review's instruction diversity of one label.

    At most `most` instructions are looked at, drawn by `seed`; communities of a single word are not counted.
    """
    sampled = random.Random(seed).sample(list(texts), most) if len(texts) > most else texts
    return sum(len(community) > 1 for community in ego_splitting(cooccurrence(sampled), seed))


def instruction_diversity(texts: Sequence[str], labels: Sequence[str], *, seed: int = 0) -> dict[str, int]:
    """`instruction_clusters` of each label; the review reports their mean."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for text, label in zip(texts, labels, strict=True):
        grouped[label].append(text)
    return {label: instruction_clusters(group, seed=seed) for label, group in sorted(grouped.items())}


def response_diversity(embeddings: np.ndarray, *, radius: float = 0.3, neighbours: int = 2) -> float:
    """The natural logarithm of the number of DBSCAN clusters of the responses' embeddings, [N, D] floats.

    Distances are cosine; `radius` and `neighbours` are DBSCAN's. Noise is no cluster; without any the result is 0.
    """
    from sklearn.cluster import DBSCAN

    found = DBSCAN(eps=radius, min_samples=neighbours, metric="cosine").fit(embeddings).labels_
    return math.log(max(len(set(found) - {-1}), 1))


def embed(texts: Sequence[str], model: str = "princeton-nlp/sup-simcse-roberta-base") -> np.ndarray:
    """Sentence embeddings, [N, D] float32, by any sentence-transformers model (the review used SimCSE)."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise InputError("Embedding sentences needs sentence-transformers: pip install 'comvint-hf[quality]'.") from error
    return SentenceTransformer(model).encode(list(texts), show_progress_bar=False)


def matching(
    pairs: Iterable[tuple[Image, str]], model: str = CLIP, *, batch_size: int = 32, device: str | None = None
) -> Iterator[float]:
    """CLIP's similarity of each picture and text, times 100; good sets reach 33 to 34 on average.

    Pictures and texts are read a batch at a time; texts beyond CLIP's 77 tokens are cut. `model` is a name or a folder.
    """
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    clip = CLIPModel.from_pretrained(model).to(place).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(model), AutoImageProcessor.from_pretrained(model)
    longest = clip.config.text_config.max_position_embeddings
    for batch in _batches(pairs, batch_size):
        pictures, texts = zip(*batch, strict=True)
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt").to(place)
        pixels = processor(images=[picture.convert("RGB") for picture in pictures], return_tensors="pt")["pixel_values"].to(place)
        with torch.inference_mode():
            out = clip(**tokens, pixel_values=pixels)
            similarity = torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds)
        yield from (100 * similarity).tolist()


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
