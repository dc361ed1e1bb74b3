"""A small model for the experiments."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from comvint_hf.sources.shapes import scenes
    from comvint_hf.training.tiny_model import make_tiny_model

    texts = [text for scene in scenes(60) for question in scene.questions for text in (question.question, question.answer)]
    return make_tiny_model(tmp_path_factory.mktemp("model"), texts)
