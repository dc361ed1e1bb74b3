"""Counting and measuring a dataset from its rows alone."""

from __future__ import annotations

import json
import re

from click.testing import CliRunner

from comvint_hf import registry
from comvint_hf.cli import main
from comvint_hf.dataset.reader import read_statistics
from comvint_hf.quality.measure import count_rows, describe_dataset, run_measures


def test_the_rows_of_a_folder_give_the_statistics_that_its_build_wrote(toy_dataset) -> None:
    for options in ({}, {"images": "table"}):
        folder = toy_dataset(**options)
        counted, stored = count_rows(folder).to_json(), read_statistics(folder).to_json()
        assert counted == {**stored, "notes": {}} and counted["rejected"] and counted["images"]["test"]


def test_rows_of_a_llava_file_are_counted_too(tmp_path) -> None:
    said = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A red cup."}]
    file = tmp_path / "some.json"
    file.write_text(json.dumps([{"id": str(number), "image": "a.jpg", "conversations": said} for number in range(3)]))
    (task,) = count_rows(file).tasks.values()
    assert (task.rows, task.openings, task.averages["mean_answer_words"]) == (3, {"what is it": 3}, 3.0)


def test_looking_at_a_dataset_says_what_its_card_says(toy_dataset, tmp_path) -> None:
    folder = toy_dataset(scenes=60)
    found = describe_dataset(folder, tmp_path / "drawn")
    assert found.statistics.to_json() == read_statistics(folder).to_json()
    assert found.warnings == json.loads((folder / "stats.json").read_text())["health"]["warnings"] == []
    assert sorted(found.plots) == sorted((tmp_path / "drawn").iterdir()) != []
    assert all(path.read_bytes() == (folder / "pictures" / path.name).read_bytes() for path in found.plots)
    assert describe_dataset(folder).plots == []


def test_all_registered_measures_run_on_the_rows_of_a_folder(toy_dataset) -> None:
    results = run_measures(toy_dataset())
    assert list(results) == ["balance", "yes_bias", "instruction_diversity"] and results["yes_bias"]["no"] == 0
    assert results["instruction_diversity"].keys() == {"mean", "conversation", "referring_qa", "cross_modal"}


OWN_MEASURE = """
from comvint_hf.registry import measure

@measure("mean_turns")
def count_turns(rows):
    numbers = [len(row["messages"]) / 2 for row in rows]
    return sum(numbers) / len(numbers)
"""


def test_a_measure_of_ones_own_is_one_file(toy_dataset, tmp_path, monkeypatch) -> None:
    (tmp_path / "own_measures.py").write_text(OWN_MEASURE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry.measures, "_entries", dict(registry.measures._entries))
    done = CliRunner().invoke(main, ["stats", str(toy_dataset()), "--measure", "own_measures:count_turns"])
    assert done.exit_code == 0 and re.search(r"^own_measures:count_turns: 1\.\d\d$", done.output, re.MULTILINE), done.output
    assert "balance" not in done.output
    done = CliRunner().invoke(main, ["stats", str(toy_dataset()), "--measure", "no_such_measure"])
    assert done.exit_code == 2 and "No measure is called 'no_such_measure'" in done.output
