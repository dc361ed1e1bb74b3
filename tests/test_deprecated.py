"""Old import paths work for one more version, and say where the new ones are."""

import subprocess
import sys
from importlib import import_module

import pytest

from comvint_hf import _deprecated

NAMED = """
from comvint_hf.data.guests import guests
from comvint_hf.data.inputs import open_input
from comvint_hf.data.mix import Choice, mix
from comvint_hf.data.rows import turns
from comvint_hf.families import load_processor
from comvint_hf.records import Sample
from comvint_hf.serving.chat import open_picture
from comvint_hf.serving.closed import option_letter, yes_no
from comvint_hf.serving.ui import interface
from comvint_hf.serving.visit import Visit, ask
from comvint_hf.synthesis.checks import CLEAN, check, first_failure
from comvint_hf.synthesis.engine.cache import Cache
from comvint_hf.synthesis.engine.money import Meter
from comvint_hf.synthesis.engine.openai_llm import OpenAILLM
from comvint_hf.synthesis.llm import Reply
from comvint_hf.synthesis.prompt import Prompt, add_prompts
from comvint_hf.synthesis.recipes import SVIT, Recipe, comvint, each, up_to
from comvint_hf.synthesis.stages.asking import asks, tags, until_clean
from comvint_hf.tuning.collator import L2TCollator
from comvint_hf.tuning.masks import attention_of
from comvint_hf.tuning.reading import pictures_of
from comvint_hf.tuning.sparse import use_sparse_attention
from comvint_hf.tuning.tiny import make_tiny
import comvint_hf.building.options
""".strip().splitlines()
"""What README, docs and bug reports imported before the modules moved."""


@pytest.mark.timeout(1800)
def test_every_path_that_was_named_still_works_with_a_warning() -> None:
    code = """if True:
        import sys, warnings
        for line in sys.stdin.read().splitlines():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                exec(line)
            old = line.split()[1]
            about = [str(w.message) for w in caught if w.category is DeprecationWarning and str(w.message).startswith(old)]
            assert about and "is now comvint_hf." in about[0], line
            assert all(w.filename == "<string>" for w in caught if str(w.message).startswith(old)), "blame the importer"
    """
    done = subprocess.run([sys.executable, "-c", code], input="\n".join(NAMED), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("old", _deprecated.read_table()["modules"])
def test_every_old_module_leads_to_one_that_exists(old: str) -> None:
    new = _deprecated.find_new_module(old)
    assert new and import_module(f"comvint_hf.{new}")
    with pytest.raises(ModuleNotFoundError):
        import_module(f"comvint_hf.{old}_that_never_was")


@pytest.mark.parametrize(("old", "new"), _deprecated.read_table()["names"].items())
def test_every_old_name_leads_to_one_that_exists(old: str, new: str) -> None:
    module, _, name = new.rpartition(".")
    assert hasattr(import_module(f"comvint_hf.{module}"), name)


def test_a_name_that_never_was_is_an_attribute_error() -> None:
    from comvint_hf.serving import chat

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = chat.nothing
    with pytest.warns(DeprecationWarning, match="comvint_hf.serving.chat.open_picture is now comvint_hf.images.decode_image"):
        assert chat.open_picture is import_module("comvint_hf.images").decode_image
