"""The card of a tuned model: links where there is something to link, and nothing of the machine it was tuned on."""

from __future__ import annotations

import json
import re

import pytest
from huggingface_hub import ModelCard

from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError
from comvint_hf.hub.model_card import render_model_card, write_model_card


def test_folders_are_named_without_their_place_and_not_linked(tmp_path) -> None:
    Conventions(base_model=str(tmp_path / "base"), dataset="/home/me/rows", learn="response").write(tmp_path)
    card = write_model_card(tmp_path, {"learning_rate": 0.001, "seed": 0, "hub_token": "secret"}).read_text()
    data = ModelCard(card).data
    assert (data.base_model, data.datasets, data.eval_results) == (None, None, None) and data.library_name == "transformers"
    assert "`base`" in card and "`rows`" in card and "/home/me" not in card and str(tmp_path) not in card
    assert "carry loss. The chat template does not" in card and "| learning_rate | 0.001 |" in card and "secret" not in card


def test_settings_stay_when_the_card_is_drawn_again(tmp_path) -> None:
    Conventions(learn="response").write(tmp_path)
    first = write_model_card(tmp_path, {"seed": 3}).read_text()
    (tmp_path / "results.json").write_text('{"closed_accuracy": 0.5, "n": {"closed": 2}}')
    again = write_model_card(tmp_path).read_text()
    assert "| seed | 3 |" in first and "| seed | 3 |" in again
    assert "None yet" in first and "| closed questions, accuracy | 0.500 |" in again


def test_a_folder_without_a_model_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="holds no tuned model"):
        write_model_card(tmp_path)


def test_an_adapter_whose_base_is_a_folder_says_so(tmp_path) -> None:
    folder = tmp_path / "adapter"
    Conventions(base_model="build/base", learn="response").write(folder)
    (folder / "adapter_config.json").write_text("{}")
    (tmp_path / "build" / "base").mkdir(parents=True)
    card = write_model_card(folder).read_text()
    assert ModelCard(card).data.base_model is None
    assert "for `base`" in card and "The base is not on the Hub" in card
    card = write_model_card(folder, base="org/base").read_text()
    assert ModelCard(card).data.base_model == "org/base" and "not on the Hub" not in card


def test_what_files_of_others_say_shows_as_text(tmp_path) -> None:
    evil = "<img src=x> [free](https://evil) `a`"
    values = {"recipe": evil, "generator": evil, "judge": evil, "prompts": {evil: evil}, "templates": [evil], "dataset": evil}
    (tmp_path / "comvint.json").write_text(json.dumps({**json.loads(Conventions().model_dump_json()), **values}))
    (tmp_path / "tuning.json").write_text(json.dumps({evil: evil}))
    (tmp_path / "results.json").write_text(json.dumps({"mean_iou": evil, "n": {evil: 3, "b": evil}}))
    _, _, text = render_model_card(tmp_path).split("---\n", 2)
    text = re.sub(r"```.*?```|(?<!\\)`[^`]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<[a-z]|(?<!\\)\]\(https: ?//evil", text) and "https://evil" not in text
