"""The dry run's parts: a rehearsal that leaves nothing out, and counts that are scaled, priced and timed."""

import asyncio
from dataclasses import replace

import pytest
from endpoint.asking import QA, toy_prompt

from comvint_hf.generation.client.estimate import DryRun, Estimate, compute_margin
from comvint_hf.generation.client.rehearsal import RehearsalLLM
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.generation.recipes.svit import SVIT
from comvint_hf.generation.recipes.vlit import VLIT
from comvint_hf.pipeline.llms import open_dry_run
from comvint_hf.sources import load_scenes

PRICES = '["a"]\ninput = 10\noutput = 20\nbatch = 0.5\n["b"]\ninput = 1\noutput = 2\n'
SCENES = list(load_scenes("shapes:5"))


@pytest.fixture
def settings(tmp_path) -> LLMSettings:
    (tmp_path / "p.toml").write_text(PRICES)
    return LLMSettings(prices=tmp_path / "p.toml", concurrency=10)


class ToyRecipe:
    """A recipe of two prompts: one for the writer, one for the judge."""

    async def run(self, scene, llms):
        await llms.writer.ask(toy_prompt(1, words=300, scene=scene), QA)
        await llms.judge.ask(toy_prompt(1, words=30, scene=scene), QA)
        return []


def estimate(settings: LLMSettings, scenes: int = 1000, writer: str = "a", judge: str | None = "b") -> Estimate:
    dry_run = DryRun(writer, judge, settings)
    return dry_run.estimate([asyncio.run(dry_run.rehearse(scene, ToyRecipe())) for scene in SCENES], scenes)


def test_counts_are_scaled_and_priced(settings) -> None:
    whole = estimate(settings)
    assert whole.total.requests == 2000 and set(whole.usage.by_prompt) == {"toy/question"}
    written = toy_prompt(0, words=300).text
    assert 1000 * len(written) / 5 < whole.usage.by_model["a"].prompt_tokens < 1000 * len(written) / 2.5
    assert whole.cost == pytest.approx(
        sum(
            (counts.prompt_tokens * price + counts.completion_tokens * 2 * price) / 1e6
            for counts, price in ((whole.usage.by_model["a"], 10), (whole.usage.by_model["b"], 1))
        )
    )
    assert "$" in whole.format_line() and "1,000 scenes: about 2,000 requests" in whole.format_line()
    assert whole.format_details().startswith("  toy/question: about 2,000 requests of ")


def test_time_is_that_of_the_concurrency_the_rates_or_the_provider(settings) -> None:
    whole = estimate(settings)
    assert whole.seconds > estimate(replace(settings, concurrency=20)).seconds
    assert estimate(replace(settings, requests_per_minute=10)).seconds == 6_000, "each model has the rate for itself"
    assert estimate(replace(settings, tokens_per_minute=1000)).seconds > 60 * whole.total.prompt_tokens / 2 / 1000
    batched = estimate(replace(settings, batch=True))
    assert batched.seconds is None and "batches" in batched.format_line()
    assert batched.usage.by_model["a"].cost == pytest.approx(whole.usage.by_model["a"].cost / 2)


def test_an_unknown_price_is_said(settings) -> None:
    unknown = estimate(settings, writer="unheard-of")
    assert unknown.cost is None and "unknown price" in unknown.format_line()


def test_the_annotator_costs_nothing() -> None:
    dry_run = open_dry_run("annotations", "gpt-4o-mini")
    made = dry_run.estimate([asyncio.run(dry_run.rehearse(SCENES[0], comvint()))], 1)
    assert set(made.usage.by_model) == {"gpt-4o-mini"} and set(made.usage.by_prompt) == {"comvint/verify"}


def test_the_margin_is_that_of_the_sample() -> None:
    assert compute_margin([10, 12, 8, 11, 9], 10_000) == pytest.approx(1.96 * 1.5811 / 5**0.5 / 10, rel=0.01)
    assert 0 < compute_margin([10, 12, 8], 4) < compute_margin([10, 12, 8], 400)


@pytest.mark.parametrize(("recipe", "rows"), [(SVIT, 29), (comvint(rounds=2), 8), (VLIT, 5)], ids=["svit", "comvint", "vlit"])
def test_a_rehearsal_fills_in_all_that_is_asked_and_nothing_is_rejected(recipe, rows) -> None:
    for scene in SCENES:
        made = asyncio.run(recipe.run(scene, LLMs.one(RehearsalLLM("a", pass_rate=1))))
        assert [sample.reason for sample in made if sample.reason] == [] and len(made) == rows


def test_a_rehearsed_judge_passes_the_share_that_it_is_told() -> None:
    async def passed(rate: float) -> float:
        llms = LLMs.one(RehearsalLLM("a", rate))
        made = [sample for scene in SCENES for sample in await comvint(formats=("open",)).run(scene, llms)]
        return sum(sample.rounds for sample in made) / len(made)

    assert asyncio.run(passed(1.0)) == 1 and asyncio.run(passed(0.0)) == 0
    assert 0.3 < asyncio.run(passed(0.6)) < 0.9


def test_a_failing_judge_makes_later_rounds_cheaper() -> None:
    def tokens(rate: float) -> int:
        dry_run = open_dry_run("gpt-4o", "gpt-4o-mini", pass_rate=rate)
        totals = [asyncio.run(dry_run.rehearse(scene, comvint(rounds=3))).usage.total for scene in SCENES]
        return sum(total.prompt_tokens + total.completion_tokens for total in totals)

    assert tokens(0.2) < tokens(0.6) < tokens(1.0)


def test_a_recipe_of_ones_own_is_rehearsed_too() -> None:
    class Tagged(Reply):
        evidence: list[str]
        question: str
        score: int

    made = asyncio.run(RehearsalLLM("a").ask(toy_prompt(1, scene=SCENES[0]), Tagged))
    assert set(made.evidence) <= set(SCENES[0].by_tag) and made.question.endswith("?")
