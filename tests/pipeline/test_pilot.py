"""A pilot: what it asks, what it projects, and that nothing is paid twice."""

from dataclasses import replace

import pytest
from endpoint.comparing import JUDGE, WRITER
from endpoint.full_writer import PASSES, endpoint_settings
from endpoint.server import Endpoint, serve

from comvint_hf.generation.client.estimate import DryRun, SceneCost
from comvint_hf.generation.client.pilot import Projection, project
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.pipeline.build import BuildReport
from comvint_hf.pipeline.options import BuildOptions
from comvint_hf.pipeline.run import open_run

RECIPE = comvint(formats=("open",))


def scene_cost(tokens: int, rows: int = 1, verdicts: tuple[bool, ...] = ()) -> SceneCost:
    cost = SceneCost(rows=rows, verdicts=list(verdicts))
    counts = cost.usage.get_counts("gpt-4o", "toy")
    counts.requests, counts.prompt_tokens, counts.completion_tokens = 2, tokens, 100
    counts.cost = tokens / 1000
    return cost


def projected(pilot: list[int], rehearsed: list[int], all_rehearsed: list[int], scenes: int) -> Projection:
    estimate = DryRun("gpt-4o").estimate([scene_cost(tokens) for tokens in all_rehearsed], scenes)
    return project([scene_cost(tokens) for tokens in pilot], [scene_cost(tokens) for tokens in rehearsed], estimate)


def test_what_the_rehearsal_missed_on_the_pilot_corrects_all_scenes() -> None:
    # The pilot happened to draw sparse scenes: its mean alone would say 100 a scene.
    found = projected([100, 120, 80], [50, 60, 40], [50, 60, 40, 450, 400], 5000)
    assert found.estimate.cost == pytest.approx(2 * 5000 * 200 / 1000) and found.estimate.total.requests == 10_000
    assert found.margin > 0 and "between $" in found.format(0.8)


def test_the_interval_is_wider_for_fewer_and_for_more_different_scenes() -> None:
    rehearsed, scenes = [100] * 20, 20_000
    alike = projected([100, 102, 98, 101, 99], [100] * 5, rehearsed, scenes).margin
    fewer = projected([100, 102, 98], [100] * 3, rehearsed, scenes).margin
    different = projected([100, 180, 40, 140, 40], [100] * 5, rehearsed, scenes).margin
    assert 0 < alike < fewer < different
    assert projected([100], [100], rehearsed, scenes).margin is None
    assert projected([120, 80], [100, 100], [100, 100], 2).margin == 0, "nothing is left to project"


@pytest.fixture
def endpoint():
    return Endpoint(**endpoint_settings())


def options(url: str, tmp_path, **changed) -> BuildOptions:
    settings = LLMSettings(base_url=url, concurrency=8)
    return BuildOptions("shapes:12", tmp_path / "out", WRITER, JUDGE, settings, **changed)


def test_a_pilot_asks_about_its_scenes_only_and_the_build_pays_none_of_them_again(endpoint, tmp_path) -> None:
    with serve(endpoint) as url:
        said = open_run(RECIPE, options(url, tmp_path, pilot=4)).run(lambda *_: None)
        asked = endpoint.paid.total()
        assert isinstance(said, str) and "All 12 scenes" in said and "between $" in said and "without --pilot" in said
        assert "The pilot's 4 scenes" in said and f"rewrites (assumed {PASSES:.0%})" in said
        again = open_run(RECIPE, options(url, tmp_path, pilot=4)).run(lambda *_: None)
        assert endpoint.paid.total() == asked and again.splitlines()[-2] == said.splitlines()[-2]
        report = open_run(RECIPE, options(url, tmp_path)).run(lambda *_: None)
    assert isinstance(report, BuildReport) and report.scenes == 12
    assert endpoint.paid.total() > 2 * asked and set(endpoint.paid.values()) == {1}


def test_a_pilot_projects_what_the_build_then_costs(endpoint, tmp_path) -> None:
    with serve(endpoint) as url:
        run = open_run(RECIPE, options(url, tmp_path, pilot=4))
        found = {}
        project_all = run._project

        async def keep():
            found["projection"] = await project_all()
            return found["projection"]

        run._project = keep
        run.run(lambda *_: None)
        report = open_run(RECIPE, options(url, tmp_path)).run(lambda *_: None)
    paid = sum(usage["cost"] for usage in report.usage.values())
    projection = found["projection"]
    assert projection.estimate.cost == pytest.approx(paid, rel=0.15)
    assert abs(projection.estimate.cost - paid) <= projection.margin * projection.estimate.cost
    assert projection.estimate.rows == pytest.approx(report.kept, rel=0.1)


def test_with_yes_the_build_follows(endpoint, tmp_path, capsys) -> None:
    with serve(endpoint) as url:
        run = open_run(RECIPE, replace(options(url, tmp_path, pilot=2, yes=True), limit=5))
        report = run.run(lambda *_: None)
    assert isinstance(report, BuildReport) and report.scenes == 5 and run.cost
    assert "The pilot's 2 scenes" in capsys.readouterr().out and set(endpoint.paid.values()) == {1}
