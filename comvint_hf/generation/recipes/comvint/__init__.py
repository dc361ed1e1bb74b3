"""ComVint (PAPERS section 2): synthesise, complicate-then-verify, reformulate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from comvint_hf.errors import InputError
from comvint_hf.generation import filters
from comvint_hf.generation.group import TOGETHER
from comvint_hf.generation.recipe import Recipe, branch, load_figures, repeat, validate_choices, validate_minimum, validate_range
from comvint_hf.generation.recipes.comvint.stages import Kind, allocate_samples, complicate_all, reformulate, synthesize
from comvint_hf.generation.recipes.comvint.verification import verify_all, verify_first
from comvint_hf.registry import recipe
from comvint_hf.types import FORMATS

COMVINT_KINDS: tuple[Kind, ...] = ("cross_modal", "outside_knowledge")


@recipe("comvint")
def comvint(
    rounds: int = 1,
    formats: Sequence[str] = FORMATS,
    kinds: Sequence[str] | Mapping[str, float] = COMVINT_KINDS,
    count: int = 4,
    votes: int = 1,
    together: int = TOGETHER,
    shots: int = 1,
) -> Recipe:
    """Make the ComVint recipe (PAPERS section 2): synthesise, complicate-then-verify, reformulate.

    A sample of which no complication was kept is judged as it is, and rejected where the judge does not pass it.

    Args:
        rounds: How often a sample is made harder, at most.
        formats: Some of `FORMATS`; each sample ends in one of them, all equally likely.
        kinds: Some of `COMVINT_KINDS`, alone or with weights (`{"cross_modal": 3, "outside_knowledge": 1}` or "cross_modal=3")
            that divide the samples of an image.
        count: Samples per kind and image.
        votes: How often the judge is asked about a rewrite, at most; an odd number, and the majority decides.
        together: Most samples of an image in one request, which shows the scene once for all; 1 as in the paper. The embedded
            annotator, which pays for no prompt, always takes one.
        shots: Whether the prompts show an example of a pair that is too easy and of a good one: 1 or 0.

    Raises:
        InputError: For an unknown kind or format, an invalid weight, an even number of votes, or a number that is too small.
    """
    validate_minimum("rounds", rounds, 0)
    validate_minimum("count", count, 1)
    weights, formats = parse_weights(kinds), validate_choices("formats", formats, FORMATS)
    if votes < 1 or votes % 2 == 0:
        raise InputError(f"votes is {votes}: expected an odd number such as 3, so that a majority can always be found.")
    validate_minimum("together", together, 1)
    validate_range("shots", shots, 0, 1)
    total = count * len(weights)
    judging = (verify_first(votes, together),) if rounds else ()
    return Recipe(
        "comvint",
        (
            branch(*(synthesize(kind, allocate_samples(weights, total, kind), shots) for kind in weights)),
            repeat(rounds, complicate_all(together, shots), filters.check, verify_all(votes, together)),
            *judging,
            reformulate(formats, together),
        ),
        {
            "rounds": rounds,
            "formats": list(formats),
            "kinds": list(weights) if len(set(weights.values())) == 1 else weights,
            "count": count,
            "votes": votes,
            "together": together,
            "shots": shots,
        },
        citation="What Makes for Good Visual Instructions? (ComVint), 2023, [arXiv:2311.01487](https://arxiv.org/abs/2311.01487)",
        figures=load_figures(Path(__file__).parent),
    )


def parse_weights(kinds: Iterable[str] | Mapping[str, float]) -> dict[Kind, float]:
    """Read the weight of each kind, 1 by default. Raises `InputError` for an unknown kind or an invalid weight.

    >>> parse_weights(["cross_modal=3", "outside_knowledge"])
    {'cross_modal': 3.0, 'outside_knowledge': 1.0}
    """
    given = kinds.items() if isinstance(kinds, Mapping) else (kind.strip().partition("=")[::2] for kind in kinds)
    weights: dict[Kind, float] = {}
    for name, weight in given:
        kind = next((known for known in COMVINT_KINDS if known == name), None)
        try:
            number = float(weight or 1)
        except ValueError:
            number = 0.0
        if kind is None or not 0 < number < float("inf"):
            raise InputError(
                f"{name}{'=' if weight else ''}{weight} was given for kinds: expected some of {', '.join(COMVINT_KINDS)}, each alone "
                "or with a weight above 0, as in cross_modal=3,outside_knowledge=1."
            )
        weights[kind] = number
    if not weights:
        raise InputError(f"No kind was given: expected some of {', '.join(COMVINT_KINDS)}.")
    return weights


COMVINT = comvint()
