"""A recipe of a user's own, as docs/build.md shows it: a prompt file, a reply, a stage, a list of stages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs/build.md"
SNIPPET = next(code for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "my_prompts" in code)


@pytest.mark.timeout(1800)
def test_a_recipe_of_ones_own_is_a_dataset_in_a_few_lines(tmp_path):
    assert len([line for line in SNIPPET.splitlines() if line.strip()]) <= 20
    for _ in range(2):  # run again, it goes on where it was
        done = subprocess.run([sys.executable, "-c", SNIPPET], check=False, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    about = json.loads((tmp_path / "build/what_if/build.json").read_text())
    assert about["rows"] == 20
    assert list(about["parts"][0]["prompts"]) == ["what_if"]


def test_the_prompt_of_a_user_may_import_the_packages_and_has_a_version_of_its_own(tmp_path, monkeypatch):
    from comvint_hf.generation import prompt as prompts

    monkeypatch.setattr(prompts, "_folders", list(prompts._folders))
    before = prompts.prompt_hash("comvint/verify"), prompts.prompt_hash("svit/conversation")
    (tmp_path / "comvint").mkdir()
    (tmp_path / "comvint" / "verify.jinja").write_text("Is it so?")
    try:
        prompts.add_prompts(tmp_path)
        after = prompts.prompt_hash("comvint/verify"), prompts.prompt_hash("svit/conversation")
        assert before[0] != after[0], "a prompt that takes the place of the package's is another version"
        assert before[1] == after[1]
        (tmp_path / "scene.jinja").write_text((prompts.FOLDER / "scene.jinja").read_text() + "{# changed #}")
        prompts.add_prompts(tmp_path)
        assert prompts.prompt_hash("svit/conversation") != before[1], "what a prompt imports is part of its version"
    finally:
        monkeypatch.undo()
        for known in (prompts._environment, prompts._template, prompts.prompt_hash):
            known.cache_clear()
