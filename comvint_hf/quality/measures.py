"""Quality measures of the VLIT review (PAPERS section 4): balance, yes bias, diversity, and CLIP's matching of images and texts.

Functions on texts, labels and embeddings come first. Those registered with `@measure` take the rows of a dataset, which they may
iterate repeatedly, and return a number or numbers by name; they need no model.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from comvint_hf.answers import yes_no
from comvint_hf.dataset.schema import Row, first_question, turns
from comvint_hf.dataset.statistics import split_words
from comvint_hf.errors import InputError
from comvint_hf.registry import measure

if TYPE_CHECKING:
    import networkx
    import numpy as np
    from PIL.Image import Image

T = TypeVar("T")
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
    """Compute the variance of the labels' shares, in percent squared: 0 if every label has equally many samples.

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
    """How many answers say yes and how many no. `ratio` is yes for each no, infinite without a no."""

    yes: int
    no: int

    @property
    def ratio(self) -> float:
        return self.yes / self.no if self.no else math.inf if self.yes else 1.0


def yes_bias(answers: Iterable[str], questions: Iterable[str] = ()) -> YesBias:
    """Count the answers that say yes and those that say no.

    Args:
        answers: The answers.
        questions: Their questions, where some may be open ones; see `comvint_hf.answers.yes_no`.

    >>> yes_bias(["Yes.", "The answer is yes.", "No.", "A dog."]).ratio
    2.0
    """
    verdicts = Counter(yes_no(answer, question) for answer, question in zip_longest(answers, questions, fillvalue=""))
    return YesBias(verdicts["yes"], verdicts["no"])


def build_cooccurrence_graph(texts: Iterable[str], most_words: int = 500) -> networkx.Graph:
    """Build the graph of words that occur together in an instruction, without stop words.

    Nodes are the `most_words` most frequent words that occur at least twice; an edge's weight is the number of instructions
    with both words.
    """
    import networkx

    bags = [sorted({word.lower() for word in split_words(text)} - STOP_WORDS) for text in texts]
    counts = Counter(word for bag in bags for word in bag)
    # Ties are broken by the word, so that equal datasets give equal graphs.
    known = {word for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most_words] if count > 1}
    graph = networkx.Graph()
    graph.add_nodes_from(sorted(known))
    edges = Counter(pair for bag in bags for pair in combinations([word for word in bag if word in known], 2))
    graph.add_weighted_edges_from((one, two, weight) for (one, two), weight in sorted(edges.items()))
    return graph


def ego_splitting(graph: networkx.Graph, seed: int = 0) -> list[set[Any]]:
    """Find overlapping communities by Ego-Splitting (Epasto, Lattanzi, Paes Leme 2017).

    Each node becomes one persona for each community among its neighbours. The graph of personas is partitioned, and the nodes
    of the personas in one part form a community. Louvain does both partitions.
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


def count_instruction_clusters(texts: Sequence[str], *, most: int = 5000, seed: int = 0) -> int:
    """Count the overlapping word communities of instructions, the review's instruction diversity of one label.

    At most `most` instructions are read, drawn by `seed`. Communities of a single word do not count.
    """
    sampled = random.Random(seed).sample(list(texts), most) if len(texts) > most else texts
    return sum(len(community) > 1 for community in ego_splitting(build_cooccurrence_graph(sampled), seed))


def instruction_diversity(texts: Sequence[str], labels: Sequence[str], *, seed: int = 0) -> dict[str, int]:
    """Count the instruction clusters of each label; the review reports their mean."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for text, label in zip(texts, labels, strict=True):
        grouped[label].append(text)
    return {label: count_instruction_clusters(group, seed=seed) for label, group in sorted(grouped.items())}


def response_diversity(embeddings: np.ndarray, *, radius: float = 0.3, neighbours: int = 2) -> float:
    """Compute the natural logarithm of the number of DBSCAN clusters of response embeddings.

    Args:
        embeddings: [N, D] floats, as from `embed`.
        radius: DBSCAN's `eps`, a cosine distance.
        neighbours: DBSCAN's `min_samples`.

    Returns:
        0 if there is no cluster; noise does not count as one.
    """
    from sklearn.cluster import DBSCAN

    found = DBSCAN(eps=radius, min_samples=neighbours, metric="cosine").fit(embeddings).labels_
    return math.log(max(len(set(found) - {-1}), 1))


def embed(texts: Sequence[str], model: str = "princeton-nlp/sup-simcse-roberta-base") -> np.ndarray:
    """Compute sentence embeddings, [N, D] float32, with any sentence-transformers model (the review used SimCSE)."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise InputError("Embedding sentences needs sentence-transformers: pip install 'comvint-hf[quality]'.") from error
    return SentenceTransformer(model).encode(list(texts), show_progress_bar=False)


def matching(
    pairs: Iterable[tuple[Image, str]], model: str = CLIP, *, batch_size: int = 32, device: str | None = None
) -> Iterator[float]:
    """Compute CLIP's similarity of each image and text, times 100; good datasets reach 33 to 34 on average.

    Args:
        pairs: Images and texts, read a batch at a time. Texts are truncated to CLIP's 77 tokens.
        model: A name on the Hub or a folder.
        batch_size: Pairs per batch.
        device: The torch device; by default the GPU if there is one.
    """
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    clip: Any = CLIPModel.from_pretrained(model)  # Any: the stubs of `to` take no string
    clip = clip.to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    processor = AutoImageProcessor.from_pretrained(model, trust_remote_code=False)
    longest = clip.config.text_config.max_position_embeddings
    for batch in _batches(pairs, batch_size):
        images, texts = zip(*batch, strict=True)
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt").to(device)
        pixels = processor(images=[image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"].to(device)
        with torch.inference_mode():
            out = clip(**tokens, pixel_values=pixels)
            similarity = torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds)
        yield from (100 * similarity).tolist()


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    return iter(lambda: list(islice(iterator, size)), [])


@measure("balance")
def measure_balance(rows: Iterable[Row]) -> float:
    """Compute the variance of the tasks' shares, in percent squared."""
    return balance(row["task"] for row in rows)


@measure("yes_bias")
def measure_yes_bias(rows: Iterable[Row]) -> dict[str, float]:
    """Count the answers that say yes and those that say no."""
    pairs = [turn for row in rows for turn in turns(row)]
    bias = yes_bias((answer for _, answer in pairs), (question for question, _ in pairs))
    return {"yes": bias.yes, "no": bias.no, "yes for each no": bias.ratio}


@measure("instruction_diversity")
def measure_instruction_diversity(rows: Iterable[Row]) -> dict[str, float]:
    """Count the instruction clusters of each task, and their mean."""
    pairs = [(first_question(row), row["task"]) for row in rows]
    clusters = instruction_diversity([question for question, _ in pairs], [task for _, task in pairs])
    return {"mean": sum(clusters.values()) / max(len(clusters), 1), **clusters}
