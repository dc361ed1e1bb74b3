"""What a build says of itself while it goes on and at its end."""

from __future__ import annotations

from comvint_hf import AnnotationLLM, build, load_scenes
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.pipeline import build as build_module
from comvint_hf.types import Sample


class OneInThree:
    """A recipe that makes one row of every third image."""

    name, prompts, settings = "one", (), {}

    async def run(self, scene, llms):
        sample = Sample(scene=scene).write([("What is it?", "A cup.")])
        return [sample if int(scene.id.rpartition("-")[2]) % 3 == 0 else sample.reject("too short")]


def test_the_summary_and_the_card_count_the_same_images(tmp_path) -> None:
    nobody = LLMs.one(ScriptedLLM([]))
    report = build(load_scenes("shapes:9"), OneInThree(), nobody, tmp_path, progress=False, shard_scenes=2)
    assert str(report).startswith(f"{tmp_path}: 3 rows of 3 images, 6 rejected, in ") and report.scenes == 9
    card = (tmp_path / "README.md").read_text()
    assert "3 rows of 3 images: " in card and "Counted during the build: images that gave no row: 6." in card


def test_the_pass_rate_of_the_judge_stands_beside_the_progress(tmp_path, monkeypatch) -> None:
    notes = []

    class Recording(build_module.Progress):
        def __init__(self, title, total, shown, note) -> None:
            super().__init__(title, total, False)
            notes.append(note)

    monkeypatch.setattr(build_module, "Progress", Recording)
    for _ in range(2):  # the second run finds all shards finished
        annotator = LLMs.one(AnnotationLLM())
        report = build(load_scenes("shapes:12"), comvint(rounds=2), annotator, tmp_path, images=False, shard_scenes=5)
    one, two = (entry for entry in report.statistics.verification.by_round() if entry["round"])
    judged = [entry["passed"] + entry["refused"] for entry in (one, two)]
    told = f"the judge passed {one['pass_rate']:.0%} of {judged[0]} in round 1, {two['pass_rate']:.0%} of {judged[1]} in round 2"
    assert min(judged) > 10 and [note() for note in notes] == [told, told]
