"""The arms of an experiment, and the settings that its results belong to."""

import json
from dataclasses import replace

import pytest
from complication.arms import Settings, hash_weights, list_arms, save_settings

from comvint_hf.errors import InputError

TOY = Settings(
    base="b",
    weights="w",
    tokens=1000,
    seeds=1,
    scenes=40,
    level="grid",
    rounds=3,
    format_rounds=1,
    asked=5,
    learning_rate=1e-3,
)


def test_every_question_has_its_arms() -> None:
    assert {name: (arm.rounds, arm.formats) for name, arm in list_arms(TOY).items()} == {
        **{f"rounds {number}": (number, ("open", "bool", "choice")) for number in range(4)},
        **{f"{format} only": (1, (format,)) for format in ("open", "bool", "choice")},
    }


def test_figures_of_other_settings_are_left_alone(tmp_path) -> None:
    save_settings(tmp_path, TOY)
    save_settings(tmp_path, TOY)
    with pytest.raises(InputError, match="other settings"):
        save_settings(tmp_path, replace(TOY, tokens=2000))
    assert json.loads((tmp_path / "settings.json").read_text())["tokens"] == 1000


def test_a_base_is_known_by_its_weights(tmp_path) -> None:
    with pytest.raises(InputError, match="holds no model"):
        hash_weights(tmp_path)
    names = []
    for weights in (b"one", b"two"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        names.append(hash_weights(tmp_path))
    assert len(set(names)) == 2
