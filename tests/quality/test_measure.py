"""Counting and measuring a dataset from its rows alone."""

from __future__ import annotations

import json

from comvint_hf.dataset.reader import read_statistics
from comvint_hf.quality.measure import count, look, measure


def test_the_rows_of_a_folder_give_the_statistics_that_its_build_wrote(toy_dataset) -> None:
    for options in ({}, {"images": "table"}):
        folder = toy_dataset(**options)
        counted, stored = count(folder).to_json(), read_statistics(folder).to_json()
        assert counted == {**stored, "notes": {}} and counted["rejected"] and counted["images"]["test"]


def test_rows_of_a_llava_file_are_counted_too(tmp_path) -> None:
    said = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A red cup."}]
    file = tmp_path / "some.json"
    file.write_text(json.dumps([{"id": str(number), "image": "a.jpg", "conversations": said} for number in range(3)]))
    (task,) = count(file).tasks.values()
    assert (task.rows, task.openings, task.figures["mean_answer_words"]) == (3, {"what is it": 3}, 3.0)


def test_looking_at_a_dataset_says_what_its_card_says(toy_dataset, tmp_path) -> None:
    folder = toy_dataset(scenes=60)
    found = look(folder, tmp_path / "drawn")
    assert found.statistics.to_json() == read_statistics(folder).to_json()
    assert found.signs == json.loads((folder / "stats.json").read_text())["health"]["warnings"] == []
    assert sorted(found.pictures) == sorted((tmp_path / "drawn").iterdir()) != []
    assert all(path.read_bytes() == (folder / "pictures" / path.name).read_bytes() for path in found.pictures)
    assert look(folder).pictures == []


def test_measures_are_told_in_words(toy_dataset) -> None:
    told = measure(toy_dataset())
    assert list(told) == ["balance (variance of the tasks' shares in percent)", "yes for each no", "instruction clusters"]
