"""The command `comvint`: building with any recipe, and looking at what was built."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from comvint_hf.cli import handle_errors, main
from comvint_hf.cli.commands import open_recipe
from comvint_hf.cli.exit_codes import RESUME_HINT
from comvint_hf.errors import InputError


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_build_stats_and_preview(tmp_path) -> None:
    out = tmp_path / "out"
    told = run("build", "--recipe", "svit", "--set", "tasks=referring_qa,conversation", "--scenes", "shapes:6", "--out", out)
    assert "referring_qa" in told and "detail_description" not in told
    assert "referring_qa" in run("stats", out)
    assert "instruction_diversity: mean " in run("stats", out, "--quality")
    assert run("preview", out, "--rows", 4).count("assistant:") >= 4
    run("preview", out, out, "--rows", 2, "--out", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<section>") == 4


def test_settings_of_a_recipe_are_read_and_checked() -> None:
    recipe = open_recipe("comvint", ("rounds=2", "formats=open,bool"))
    assert recipe.settings["rounds"] == 2 and recipe.settings["formats"] == ["open", "bool"]
    with pytest.raises(InputError, match="the names of comvint are rounds"):
        open_recipe("comvint", ("round=2",))
    with pytest.raises(InputError, match="rounds is a whole number"):
        open_recipe("comvint", ("rounds=two",))


def test_a_folder_that_is_no_dataset_is_said_calmly(tmp_path) -> None:
    assert "no finished dataset" in run("stats", tmp_path, code=2)
    assert "no finished dataset" in run("push", tmp_path, "a/b", code=1)


@pytest.mark.parametrize("told", [{}, {"resume_hint": "Go back to sleep."}])
def test_a_stopped_command_says_how_to_go_on(told, capsys) -> None:
    @handle_errors(**told)
    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        stopped()
    assert capsys.readouterr().err == f"Stopped. {told.get('resume_hint', RESUME_HINT)}\n"
