"""A tuned model on the Hub: what `train/sft.py --push_to_hub` leaves there, and what a Space is made of."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from comvint_hf.conventions import Conventions

ROOT = Path(__file__).parents[2]
SCRIPT = """
import runpy, sys
from pathlib import Path
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
HELD = """
import json, sys
from huggingface_hub import HfApi, ModelCard, hf_hub_download
api, (name, kind) = HfApi(), sys.argv[1:]
files = api.list_repo_files(name, repo_type=kind)
read = {file: open(hf_hub_download(name, file, repo_type=kind)).read() for file in files if file.endswith((".md", "comvint.json", "adapter_config.json", ".txt"))}
commits = len(api.list_repo_commits(name, repo_type=kind))
card = ModelCard(read["README.md"]).data.to_dict() if kind == "model" else None
print(json.dumps({"files": files, "read": read, "commits": commits, "card": card}))
"""
QUIET = ["--bf16", "false", "--use_cpu", "--gradient_checkpointing", "false", "--report_to", "none", "--save_strategy", "no"]


@pytest.fixture
def held(client):
    """What a repository holds, as a reader finds it."""
    return lambda name, kind="model": json.loads(client(HELD, name, kind))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    from comvint_hf.training.tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("base") / "tiny", ["Where is the red circle? It is there."] * 8, words=300)


def test_training_leaves_a_card_and_conventions_on_the_hub(client, held, base, toy_dataset, tmp_path) -> None:
    """Dataset and base come from the Hub, so that the card can link them; scores join the card with a later push."""
    from comvint_hf.hub.push import version_tag

    data, out = toy_dataset(), tmp_path / "adapter"
    client("import sys; from comvint_hf import push; push(sys.argv[1], 'tester/rows')", str(data))
    client(
        "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo('tester/base'); "
        "api.upload_folder(repo_id='tester/base', folder_path=sys.argv[1])",
        str(base),
    )
    flags = ["--model_name_or_path", "tester/base", "--dataset_name", "tester/rows", "--output_dir", str(out), "--max_steps", "1"]
    flags += [*QUIET, "--use_peft", "--lora_r", "4", "--push_to_hub", "--hub_model_id", "tester/adapter", "--seed", "7"]
    told = client(SCRIPT, str(ROOT / "train" / "sft.py"), *flags)
    assert re.search("Pushed: http://.*/tester/adapter/commit/", told)
    found = held("tester/adapter")
    assert {"adapter_model.safetensors", "adapter_config.json", "comvint.json", "README.md", "tuning.json"} <= set(found["files"])
    assert not [name for name in found["files"] if name.startswith("checkpoint-") or name.endswith(".bin")]
    card, text = found["card"], found["read"]["README.md"]
    assert (card["base_model"], card["base_model_relation"], card["datasets"]) == ("tester/base", "adapter", ["tester/rows"])
    assert card["library_name"] == "peft" and "model-index" not in card
    for said in (
        "The instruction and the response carry loss (L2T)",
        "| seed | 7 |",
        "| recipe | toy |",
        "None yet",
        "datasets/tester/rows",
    ):
        assert said in text, said
    agreed = json.loads(found["read"]["comvint.json"])
    assert (agreed["base_model"], agreed["dataset"], agreed["learn"]) == ("tester/base", "tester/rows", "instruction+response")
    assert version_tag(data).startswith("build-")

    scores = {"closed_accuracy": 0.75, "mean_iou": 0.5, "yes_ratio": None, "n": {"closed": 8, "grounding": 4}}
    (out / "results.json").write_text(json.dumps(scores))
    client("import sys; from comvint_hf.cli import main; main(['push', sys.argv[1], 'tester/adapter'])", str(out))
    card = held("tester/adapter")["card"]
    figures = {one["type"]: one["value"] for one in card["model-index"][0]["results"][0]["metrics"]}
    assert figures == {"closed_accuracy": 0.75, "mean_iou": 0.5} and card["base_model"] == "tester/base"
    assert "| closed questions, accuracy | 0.750 |" in held("tester/adapter")["read"]["README.md"]


def test_an_adapter_tuned_from_a_folder_leaves_the_folder_out(client, held, tmp_path) -> None:
    folder, base = tmp_path / "adapter", str(tmp_path / "base")
    Conventions(base_model=base, dataset=str(tmp_path / "rows"), learn="response").write(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    push = "import sys, warnings\nfrom comvint_hf.cli import main\nwarnings.showwarning = lambda *told: print(told[0])\n"
    push += "main(['push', sys.argv[1], 'tester/local', *sys.argv[2:]])"
    told = client(push, str(folder))
    assert "The adapter's base is a folder of this machine (base), so nobody else can load it" in told
    found = held("tester/local")
    assert str(tmp_path) not in json.dumps(found) and "base_model" not in found["card"]
    assert json.loads(found["read"]["comvint.json"])["base_model"] is None

    assert "nobody else" not in client(push, str(folder), "--base", "org/base")
    found = held("tester/local")
    assert (
        found["card"]["base_model"] == json.loads(found["read"]["adapter_config.json"])["base_model_name_or_path"] == "org/base"
    )
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == base


def test_relative_folders_are_taken_for_no_name_on_the_hub_wherever_the_adapter_is_pushed_from(
    client, held, base, toy_dataset, tmp_path
) -> None:
    """`org/tiny` and `data/rows` look like names on the Hub, and are folders beside the adapter's."""
    shutil.copytree(base, tmp_path / "org" / "tiny")
    shutil.copytree(toy_dataset(), tmp_path / "data" / "rows")
    flags = ["--model_name_or_path", "org/tiny", "--dataset_name", "data/rows", "--output_dir", "out", "--max_steps", "1"]
    here = "import os, sys; os.chdir(sys.argv.pop(1))\n"
    client(here + SCRIPT, str(tmp_path), str(ROOT / "train" / "sft.py"), *flags, *QUIET, "--use_peft", "--lora_r", "4")
    agreed = json.loads((tmp_path / "out" / "comvint.json").read_text())
    assert (agreed["base_model"], agreed["dataset"]) == (str(tmp_path / "org" / "tiny"), str(tmp_path / "data" / "rows"))
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == agreed["base_model"]

    shutil.move(tmp_path / "out", tmp_path / "elsewhere" / "moved")  # from where neither stands any more
    push = here + "from comvint_hf.cli import main; main(['push', *sys.argv[1:], 'tester/relative'])"
    client(push, str(tmp_path / "elsewhere"), "moved")
    found = held("tester/relative")
    told = json.dumps(found)
    assert not [place for place in (str(tmp_path), "org/tiny", "data/rows", "elsewhere", "moved") if place in told]
    assert "base_model" not in found["card"] and "datasets" not in found["card"]
    assert "\n# tester/relative\n" in found["read"]["README.md"] and 'load_chat("tester/relative")' in found["read"]["README.md"]
    assert "# tiny tuned on rows\n" in (tmp_path / "elsewhere" / "moved" / "README.md").read_text()


def test_a_space_is_created_and_brought_up_to_date(hub, client, held, tmp_path) -> None:
    deploy = [str(ROOT / "space" / "deploy.py"), "tester/page", "--model", "tester/adapter"]
    assert client(SCRIPT, *deploy).strip() == f"Deployed: {hub.url}/spaces/tester/page"
    found = held("tester/page", "space")
    (wheel,) = [name for name in found["files"] if name.endswith(".whl")]
    assert {"app.py", "README.md", "requirements.txt", "examples/where.png"} <= set(found["files"])
    assert "deploy.py" not in found["files"]
    assert "sdk: gradio" in found["read"]["README.md"] and "gradio==" in found["read"]["requirements.txt"]
    variables = (
        "from huggingface_hub import HfApi; print({k: v.value for k, v in HfApi().get_space_variables('tester/page').items()})"
    )
    assert client(variables).strip() == "{'COMVINT_MODEL': 'tester/adapter'}"

    client(
        "from huggingface_hub import HfApi; HfApi().upload_file(path_or_fileobj=b'x', path_in_repo='comvint_hf-0.0.1-py3-none-any.whl', "
        "repo_id='tester/page', repo_type='space')"
    )
    client(SCRIPT, *deploy)
    again = held("tester/page", "space")
    assert again["files"] == found["files"], "the stale wheel is still there"
    client(SCRIPT, *deploy)
    assert held("tester/page", "space")["commits"] == again["commits"], "an unchanged Space was committed again"

    runs = """
import subprocess, sys
from huggingface_hub import snapshot_download
folder = snapshot_download("tester/page", repo_type="space", local_dir=sys.argv[1])
print(subprocess.run([sys.executable, "app.py"], cwd=folder, capture_output=True, text=True).stderr)
print(subprocess.run([sys.executable, "-c", "import runpy; runpy.run_path('app.py'); import comvint_hf; print(comvint_hf.__file__)"], cwd=folder, capture_output=True, text=True).stdout)
"""
    told = client(runs, str(tmp_path / "space"))
    assert "set the Space's variable COMVINT_MODEL" in told, "the page does not start"
    assert f"{wheel}/comvint_hf/__init__.py" in told, "the page does not run on its own wheel"
