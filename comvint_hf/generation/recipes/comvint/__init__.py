"""ComVint (PAPERS section 2): synthesise, complicate-then-verify, reformulate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from comvint_hf.errors import InputError
from comvint_hf.generation import filters
from comvint_hf.generation.recipe import Recipe, each, require_at_least, require_known, up_to
from comvint_hf.generation.recipes.comvint.stages import complicate, quota, reformulate, synthesize
from comvint_hf.generation.recipes.comvint.verification import verify
from comvint_hf.types import FORMATS

COMVINT_KINDS = ("cross_modal", "outside_knowledge")


def comvint(
    rounds: int = 1,
    formats: Sequence[str] = FORMATS,
    kinds: Sequence[str] | Mapping[str, float] = COMVINT_KINDS,
    count: int = 4,
    votes: int = 1,
) -> Recipe:
    """ComVint (PAPERS section 2): synthesise, complicate-then-verify, reformulate.

    `count` samples an image are synthesised for each of the `kinds`; where these have weights ({"cross_modal": 3,
    "outside_knowledge": 1}, or "cross_modal=3"), all samples of an image together are divided in that proportion. Each ends
    in one of `formats`, all of them equally likely. The judge is asked up to `votes` times a rewrite, and the majority
    counts. Synthesising and reformulating check what they get themselves, and ask again. Raises `InputError` for an unknown
    kind or format, a weight that is none, an even number of votes, and numbers that make no sample.
    """
    require_at_least("rounds", rounds, 0)
    require_at_least("count", count, 1)
    weights, formats = shares(kinds), require_known("formats", formats, FORMATS)
    if votes < 1 or votes % 2 == 0:
        raise InputError(f"votes is {votes}: expected an odd number such as 3, so that a majority can always be found.")
    total = count * len(weights)
    return Recipe(
        "comvint",
        (
            each(*(synthesize(kind, quota(weights, total, kind)) for kind in weights)),
            up_to(rounds, complicate, filters.check, partial(verify, votes=votes)),
            reformulate(formats),
        ),
        {
            "rounds": rounds,
            "formats": list(formats),
            "kinds": list(weights) if len(set(weights.values())) == 1 else weights,
            "count": count,
            "votes": votes,
        },
    )


def shares(kinds: Iterable[str] | Mapping[str, float]) -> dict[str, float]:
    """The weight of each kind: 1 unless "name=weight" says otherwise. Raises `InputError` for anything else.

    >>> shares(["cross_modal=3", "outside_knowledge"])
    {'cross_modal': 3.0, 'outside_knowledge': 1.0}
    """
    given = kinds.items() if isinstance(kinds, Mapping) else (kind.strip().partition("=")[::2] for kind in kinds)
    weights = {}
    for name, weight in given:
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            weights[name] = 0.0
        if name not in COMVINT_KINDS or not 0 < weights[name] < float("inf"):
            raise InputError(
                f"{name}{'=' if weight else ''}{weight} was given for kinds: expected some of {', '.join(COMVINT_KINDS)}, each alone or with a weight "
                "above 0, as in cross_modal=3,outside_knowledge=1."
            )
    if not weights:
        raise InputError(f"No kind was given: expected some of {', '.join(COMVINT_KINDS)}.")
    return weights


COMVINT = comvint()
