"""The way of a user: tune an adapter, merge it, and serve, score and load what came out."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from comvint_hf.conventions import Conventions

TRAIN = Path(__file__).parents[2] / "train"
ADAPTER = ["--use_peft", "--lora_r", "4", "--max_steps", "2", "--save_strategy", "no"]
NF4 = ["--load_in_4bit", "--dtype", "bfloat16"]
TURN = [{"role": "user", "content": "Is there a circle?"}]


@pytest.fixture
def script(monkeypatch, capsys):
    """Run a script of train/ in this process; gives its exit status and what it said."""

    def run(name: str, *flags: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TRAIN / name), run_name="__main__")
        told = capsys.readouterr()
        return ended.value.code, told.out + told.err

    return run


@pytest.mark.parametrize("flags", [NF4, ["--lora_modules_to_save", "multi_modal_projector"]], ids=["qlora", "lora and projector"])
def test_a_tuned_adapter_becomes_one_model(tune, script, tmp_path, model, dataset, flags) -> None:
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from comvint_hf import load_chat

    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    tune(adapter, *ADAPTER, *flags)
    agreed = Conventions.read(adapter)
    assert agreed.base_dtype == ("bfloat16" if flags is NF4 else "float32")
    assert (agreed.quantization or {}).get("bnb_4bit_quant_type") == ("nf4" if flags is NF4 else None)

    code, told = script("merge.py", "--adapter", adapter, "--out", merged)
    assert code == 0 and "holds the merged model: logits differ by at most" in told
    assert Conventions.read(merged) == agreed
    card = (merged / "README.md").read_text()
    assert "merged | adapter into its base" in card and "library_name: transformers" in card and "| max_steps | 2 |" in card
    assert not (merged / "adapter_config.json").exists()

    whole = AutoModelForImageTextToText.from_pretrained(merged)
    assert str(whole.dtype) == "torch.float32" and AutoProcessor.from_pretrained(merged).chat_template
    assert load_chat(merged, device="cpu", max_new_tokens=4).answer(TURN, Image.new("RGB", (64, 64), "red")) is not None
    out = tmp_path / "results.json"
    asked = ["--model", merged, "--dataset", dataset, "--limit", 2, "--max-new-tokens", 4, "--device", "cpu", "--out", out]
    code, told = script("evaluate.py", *asked)
    assert code == 0, told
    assert json.loads(out.read_text())["versions"]


def test_what_cannot_be_merged_is_said(tune, script, tmp_path, model) -> None:
    out = tmp_path / "merged"
    code, told = script("merge.py", "--adapter", model, "--out", out)
    assert code == 2 and "so it is a whole model and there is nothing to merge" in told
    code, told = script("merge.py", "--adapter", tmp_path / "nothing", "--out", out)
    assert code == 2 and "There is no folder" in told
    (tmp_path / "empty").mkdir()
    code, told = script("merge.py", "--adapter", tmp_path / "empty", "--out", out)
    assert code == 2 and "has no config.json, so it is not a model" in told
    code, told = script("merge.py", "--adapter", model, "--out", out, "--device", "gpu")
    assert code == 2 and "The device 'gpu' cannot be used" in told
    code, told = script("merge.py", "--adapter", model, "--out", model)
    assert code == 2 and "holds files already; give --out a new folder" in told
    tune(tmp_path / "adapter", *ADAPTER)
    lost = shutil.copytree(tmp_path / "adapter", tmp_path / "lost")
    (lost / "comvint.json").unlink()
    code, told = script(
        "merge.py", "--adapter", lost, "--out", out, "--quantised", "nf4", "--tolerance", "1e-9", "--dtype", "bfloat16"
    )
    assert code == 1 and "Nothing was written" in told and not out.exists()
    code, told = script("merge.py", "--adapter", lost, "--out", out)
    assert code == 0 and "There is no comvint.json, so the base is taken as not quantised" in told
    assert Conventions.read(out).base_model == str(model)
