"""A dry run is within 25 % of what a writer that fills in everything really costs: each recipe, on each source."""

from itertools import islice

import pytest
from endpoint.comparing import compare

from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.generation.recipes.svit import svit
from comvint_hf.generation.recipes.vlit import vlit
from comvint_hf.sources import load_scenes

RECIPES = {"svit": svit(), "comvint": comvint(rounds=2), "vlit": vlit()}
SOURCES = {
    "coco": "coco:{0}/coco",
    "flickr30k": "flickr30k:{0}/flickr30k_entities",
    "visual_genome": "visual_genome:{0}/visual_genome",
}


def check(recipe: str, scenes, tmp_path) -> None:
    compared = compare(RECIPES[recipe], scenes, tmp_path / "replies.sqlite")
    assert compared.kept > 0.9, "a full writer's rows pass the checks, or its retries would be compared"
    assert compared.estimated.requests == pytest.approx(compared.paid.requests, rel=0.25)
    assert compared.estimated.prompt_tokens == pytest.approx(compared.paid.prompt_tokens, rel=0.25)
    assert 0.75 < compared.ratio < 1.25, compared


@pytest.mark.parametrize("recipe", RECIPES)
def test_rendered_scenes_cost_what_the_dry_run_says(recipe, tmp_path) -> None:
    check(recipe, list(load_scenes("shapes:6")), tmp_path)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_real_annotations_cost_what_the_dry_run_says(recipe, source, shared, tmp_path) -> None:
    check(recipe, list(islice(load_scenes(SOURCES[source].format(shared)), 4)), tmp_path)
