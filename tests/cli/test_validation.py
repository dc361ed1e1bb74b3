"""The flags that builders share: wrong ones end with click's code 2, and none is passed over without a word."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from comvint_hf.cli import build as build_module
from comvint_hf.cli import main


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Run `comvint build` up to the moment where the work would begin."""
    monkeypatch.setattr("comvint_hf.cli.commands.make_dataset", lambda recipe, options: print("building"))

    def run(*flags: object, recipe: str = "svit", scenes: str = "shapes:3") -> Result:
        named = ["build", "--recipe", recipe, "--scenes", scenes, "--out", tmp_path / "out", *flags]
        return CliRunner().invoke(main, [str(flag) for flag in named])

    return run


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--base-url", "http://x"), "--base-url cannot be used, as no language model is asked: name one with --llm MODEL."),
        (("--batch", "--temperature", 0.5), "--batch, --temperature cannot be used, as no language model is asked"),
        (("--attempts", 3), "--attempts cannot be used, as no language model is asked"),
        (("--see",), "--see cannot be used, as the annotations write"),
        (("--see", "--judge", "m"), "--see cannot be used, as the annotations write"),
        (("--llm", "m", "--see-pixels", 9), "--see-pixels cannot be used, as no image is shown: add --see."),
        (("--llm", "m", "--retry-failed", "--overwrite"), "choose one of them"),
        (("--llm", "m", "--retry-failed", "--dry-run"), "choose one of them"),
        (("--llm", "m", "--pilot", 5, "--dry-run"), "--dry-run asks nobody: choose one of them"),
        (("--pilot", 5), "--pilot cannot be used, as no language model is asked"),
        (("--llm", "m", "--pilot", 5, "--batch"), "leave --batch out of the pilot"),
        (("--llm", "m", "--yes"), "--yes cannot be used, as there is no --pilot."),
        (
            ("--llm", "m", "--batch", "--num-workers", 2),
            "--batch cannot be used, as --num-workers and --executor split the build",
        ),
    ],
)
def test_flags_that_cannot_do_what_they_are_for_are_refused(flags, said, build) -> None:
    done = build(*flags)
    assert done.exit_code == 2 and said in done.stderr.splitlines()[-1] and not done.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--budget", 5, "--concurrency", 8), "--budget, --concurrency change nothing, as no language model is asked."),
        (("--requests-per-minute", 9), "--requests-per-minute changes nothing, as no language model is asked."),
        (("--retry-failed",), "--retry-failed changes nothing, as no language model is asked."),
        (
            ("--llm", "m", "--batch", "--tokens-per-minute", 9),
            "--tokens-per-minute changes nothing, as the provider sets the pace",
        ),
        (("--llm", "m", "--poll", 9), "--poll changes nothing, as there is no --batch."),
        (("--llm", "m", "--judge-pass-rate", 0.5), "--judge-pass-rate changes nothing, as there is no --dry-run and no --pilot."),
        (("--public",), "--public changes nothing, as there is no --push-to."),
    ],
)
def test_flags_that_bound_what_does_not_happen_are_named(flags, said, build) -> None:
    done = build(*flags)
    assert done.exit_code == 0 and done.stdout == "building\n" and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_flags_that_were_not_given_are_not_spoken_of(build) -> None:
    for flags in ((), ("--llm", "m", "--budget", 5, "--see", "--see-pixels", 9), ("--judge", "m", "--base-url", "x")):
        done = build(*flags)
        assert done.exit_code == 0 and not done.stderr, flags


@pytest.mark.parametrize(
    ("recipe", "setting", "said"),
    [
        ("vlit", "generations=0", "generations is 0: expected 1 or more."),
        ("comvint", "count=0", "count is 0: expected 1 or more."),
        ("comvint", "votes=2", "expected an odd number"),
        ("comvint", "round=2", "the names of comvint are rounds"),
        ("svit", "tasks=chat", "chat was given for tasks"),
    ],
)
def test_a_wrong_setting_is_refused_as_a_wrong_flag_is(recipe, setting, said, build) -> None:
    done = build("--set", setting, recipe=recipe)
    assert done.exit_code == 2 and said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("scenes", ["photos:here", "coco:/nowhere", "shapes:many", "shapes:3,level=none"])
def test_wrong_scenes_are_refused_as_a_wrong_flag_is(scenes, build, monkeypatch) -> None:
    monkeypatch.setattr("comvint_hf.cli.commands.make_dataset", build_module.make_dataset)
    done = build(scenes=scenes)
    assert done.exit_code == 2 and done.stderr.splitlines()[-1].startswith("Error: ")


def test_a_judge_is_for_recipes_that_have_something_judged(build, monkeypatch) -> None:
    monkeypatch.setattr("comvint_hf.cli.commands.make_dataset", build_module.make_dataset)
    assert "the recipe svit makes none" in build("--judge", "m").stderr
