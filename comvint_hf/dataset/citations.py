"""Whom a dataset cites: the papers of its recipes, and of the corpora that its annotations come from."""

from __future__ import annotations

from collections.abc import Iterable

PAPERS = {
    "svit": "SVIT: Scaling up Visual Instruction Tuning, 2023, [arXiv:2307.04087](https://arxiv.org/abs/2307.04087)",
    "comvint": "What Makes for Good Visual Instructions? (ComVint), 2023, [arXiv:2311.01487](https://arxiv.org/abs/2311.01487)",
    "vlit": "Vision-Language Instruction Tuning: A Review and Analysis, 2023, [arXiv:2311.08172](https://arxiv.org/abs/2311.08172)",
    "visual_genome": "Krishna et al., Visual Genome, IJCV 2017, [arXiv:1602.07332](https://arxiv.org/abs/1602.07332)",
    "coco": "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, [arXiv:1405.0312](https://arxiv.org/abs/1405.0312)",
    "flickr30k": "Young et al., From Image Descriptions to Visual Denotations, TACL 2014; Plummer et al., Flickr30k Entities, ICCV 2015, "
    "[arXiv:1505.04870](https://arxiv.org/abs/1505.04870)",
}


def citations(names: Iterable[str]) -> list[str]:
    """A line for each recipe or corpus of these names that has a paper."""
    wanted = set(names)
    return [f"- {paper}" for name, paper in PAPERS.items() if name in wanted]
