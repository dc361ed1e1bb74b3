"""A small dataset, a small model, and the training script run in this process."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SFT = Path(__file__).parents[2] / "train" / "sft.py"
QUIET = ["--bf16", "false", "--use_cpu", "--gradient_checkpointing", "false", "--report_to", "none", "--logging_steps", "1"]
SMALL = ["--per_device_train_batch_size", "4", "--learning_rate", "1e-2", "--save_only_model", "false"]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with images: a train and a test split, and a comvint.json."""
    from datasets import Dataset, Features, Image, List, Value

    from comvint_hf.conventions import Conventions
    from comvint_hf.sources.shapes import scenes

    folder = tmp_path_factory.mktemp("dataset")
    turn = {"role": Value("string"), "content": Value("string")}
    features = Features({"id": Value("string"), "image_id": Value("string"), "images": List(Image()), "messages": List(turn)})
    for split, seed in (("train", 0), ("test", 1)):
        rows = [row for one in scenes(12, seed=seed) for row in rows_of(one)]
        Dataset.from_list(rows, features=features).to_parquet(folder / f"{split}-00000.parquet")
    Conventions(recipe="svit", prompts={"svit/conversation": "abc"}).write(folder)
    return folder


def rows_of(scene):
    for number, question in enumerate(scene.questions):
        yield {
            "id": f"{scene.id}/{number}",
            "image_id": scene.id,
            "images": [scene.open()],
            "messages": [
                {"role": "user", "content": f"{question.question} Answer with one word."},
                {"role": "assistant", "content": question.answer},
            ],
        }


@pytest.fixture(scope="session")
def model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from comvint_hf.sources.shapes import scenes
    from comvint_hf.training.tiny_model import make_tiny_model

    texts = [text for scene in scenes(60) for question in scene.questions for text in question]
    return make_tiny_model(tmp_path_factory.mktemp("model"), [str(text) for text in texts] + ["Answer with one word."] * 3)


@pytest.fixture
def tune(dataset: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run train/sft.py with these flags on the small model and dataset."""

    def run(out: Path, *flags: str, rows: Path = dataset) -> None:
        names = ["--model_name_or_path", str(model), "--dataset_name", str(rows), "--output_dir", str(out)]
        monkeypatch.setattr(sys, "argv", ["sft.py", *names, *QUIET, *SMALL, *flags])
        runpy.run_path(str(SFT), run_name="__main__")

    return run
