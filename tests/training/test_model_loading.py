"""Models of a run: loaded or refused in a sentence, weights from a checkpoint, bounds that the processor would undo."""

from types import SimpleNamespace

import pytest

from comvint_hf.errors import InputError, ModelError
from comvint_hf.training import model_loading
from comvint_hf.training.error_messages import explain_model_loading_error


def test_weights_come_from_the_checkpoint_of_a_full_run_only(tmp_path):
    whole, adapter = tmp_path / "whole", tmp_path / "adapter"
    for folder, files in ((whole, ["config.json"]), (adapter, ["adapter_config.json"])):
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    assert model_loading.find_weights("base", None) == "base"
    assert model_loading.find_weights("base", str(whole)) == str(whole)
    assert model_loading.find_weights("base", str(adapter)) == "base"


def test_models_that_cannot_be_loaded_are_said_in_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="No model is named"):
        model_loading.load_processor(SimpleNamespace(model_name_or_path=None, model_revision="main"))
    with pytest.raises(ModelError, match=r"There is no folder .*nothing; expected the folder of a model"):
        model_loading.load_processor(SimpleNamespace(model_name_or_path=str(tmp_path / "nothing"), model_revision="main"))
    with pytest.raises(ModelError, match=r"The model .* cannot be loaded") as refusal:
        model_loading.load_processor(SimpleNamespace(model_name_or_path=str(tmp_path), model_revision="main"))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ModelError, match="too few"), explain_model_loading_error("a"):
        raise ModelError("too few")


def test_bounds_that_the_processor_would_undo_are_refused():
    class Looks(SimpleNamespace):
        pass

    one_size = SimpleNamespace(image_processor=Looks(size={"height": 336, "width": 336}))
    with pytest.raises(InputError, match="resizes all images to one size"):
        model_loading.check_pixel_bounds(one_size, None, 1000)
    model_loading.check_pixel_bounds(one_size, None, None)
    free = SimpleNamespace(image_processor=Looks(size={"shortest_edge": 100, "longest_edge": 900}, merge_size=2))
    model_loading.check_pixel_bounds(free, 200, 800)
    for bounds in ((50, None), (None, 1000)):
        with pytest.raises(InputError, match="between 100 and 900 pixels"):
            model_loading.check_pixel_bounds(free, *bounds)
