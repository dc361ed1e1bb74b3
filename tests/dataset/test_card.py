"""The card: YAML that the clients accept, figures that are true, terms that are kept."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from datasets import load_dataset_builder
from huggingface_hub import DatasetCard
from yaml import safe_load

from comvint_hf import build, load_scenes, registry
from comvint_hf.dataset.card import list_configs, write_card
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import mix
from comvint_hf.dataset.plan import Plan
from comvint_hf.dataset.reader import list_row_files, read_build_info, read_rows, read_statistics
from comvint_hf.dataset.schema import features
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.verification import VerificationStatistics
from comvint_hf.errors import InputError
from comvint_hf.generation.llm import LLMs, ScriptedLLM


def test_the_yaml_names_configs_features_sizes_licence_and_language(toy_dataset) -> None:
    folder = toy_dataset()
    data = DatasetCard.load(folder / "README.md").data
    assert (data.language, data.license, data.size_categories) == ("en", "apache-2.0", "n<1K")
    assert {"grounding", "shapes", "toy"} <= set(data.tags)
    assert [one["config_name"] for one in data["configs"] if one.get("default")] == ["default"]
    builder = load_dataset_builder(str(folder))
    assert builder.info.features == features()
    about = read_build_info(folder)
    assert sum(split.num_examples for split in builder.info.splits.values()) == about["rows"]


def test_no_row_is_in_two_files_and_every_file_is_in_a_config(toy_dataset) -> None:
    folder = toy_dataset()
    about = read_build_info(folder)
    ids = [row["id"] for name in about["files"] for row in read_rows(folder / name)]
    assert len(set(ids)) == len(ids) == about["rows"] + about["rejected"]
    layout = list_configs(about["files"])
    assert {name for splits in layout.values() for names in splits.values() for name in names} == set(about["files"])
    default = {path.relative_to(folder).as_posix() for path in list_row_files(folder)}
    assert default == {name for name in about["files"] if name.startswith("data/")}


def test_the_text_tells_how_it_was_made_and_what_was_refused(toy_dataset) -> None:
    text = (toy_dataset() / "README.md").read_text()
    for told in (
        "shapes:12",
        "recipe toy",
        "size small",
        "scripted",
        "too short",
        "Apache-2.0",
        'load_dataset("FOLDER", "referring_qa")',
        "# toy on shapes",
        "pretty_name: toy on shapes",
    ):
        assert told in text, told
    assert "None" not in text and "checked by" not in text


def test_health_is_told_where_there_was_something_to_verify(toy_dataset, tmp_path) -> None:
    about, statistics = read_build_info(toy_dataset()), Statistics()
    assert "## Health" not in (toy_dataset() / "README.md").read_text()
    statistics.verification = VerificationStatistics(
        passed=Counter({"1": 10}), refused=Counter({"1": 40}), criteria=Counter({"1/truly harder": 40})
    )
    took = {"requests": 1200, "unusable": 3, "prompt_tokens": 9, "completion_tokens": 8, "cost": 2.5034, "unpriced": 0}
    about["usage"] = {"writer": {**took, "prompts": {"complicate": {**took, "cost": 2.0}, "choice": {**took, "cost": 0.0034}}}}
    (sign,) = write_card(tmp_path, {**about, "files": {}}, statistics)
    text, stored = (tmp_path / "README.md").read_text(), json.loads((tmp_path / "stats.json").read_text())
    assert sign.startswith("Round 1: only 20%") and sign in text and stored["health"]["warnings"] == [sign]
    assert "| truly harder | 20.0% |" in text and "| writer | 1,200 | 3 | 9 / 8 | $2.5034 |" in text
    assert (
        "| writer, complicate | 1,200 | 3 | 9 / 8 | $2.00 |" in text
        and "| writer, choice | 1,200 | 3 | 9 / 8 | $0.0034 |" in text
    )
    assert stored["health"]["criteria_passed"] == {"truly harder": {"1": pytest.approx(0.2)}}
    assert stored["health"]["by_round"][0]["pass_rate"] == 0.2
    assert json.loads((tmp_path / "build.json").read_text())["health"] == stored["health"]
    assert "health" not in read_build_info(toy_dataset())
    assert read_statistics(tmp_path).verification == statistics.verification


def test_a_build_is_compared_with_the_published_dataset(toy_dataset, tmp_path) -> None:
    folder = toy_dataset()
    about, statistics = read_build_info(folder), read_statistics(folder)
    own = {"name": "Mine", "tasks": {"conversation": {"pairs": 12345}}}
    for part, expected in (
        ({"recipe": "svit"}, ["## Compared with the published SVIT", "(1,565,797)", "about 20 yes for each no"]),
        ({"recipe": "comvint"}, ["## Compared with the published ComVint", "about 32,000 samples"]),
        ({"recipe": "my_recipe", "figures": own}, ["## Compared with the published Mine", "(12,345)"]),
    ):
        older = {name: value for name, value in about["parts"][0].items() if name not in ("figures", "citations")}
        write_card(tmp_path, {**about, "parts": [{**older, **part}], "files": {}}, statistics)
        text = (tmp_path / "README.md").read_text()
        assert all(words in text for words in expected)
    figures = json.loads((tmp_path / "stats.json").read_text())["figures"]["conversation"]
    assert figures["share_yes_no"] == 0.5 and figures["share_how_many"] == 0.5


def test_terms_of_every_source_are_said(toy_dataset, tmp_path, toy_recipe) -> None:
    about = read_build_info(toy_dataset())
    for name in registry.sources.names():
        licence = registry.sources.get(name).licence
        part = {**about["parts"][0], "source": name}
        part["licence"] = {"name": licence.name, "text": licence.text, "share_images": licence.images_may_be_shared}
        write_card(tmp_path, {**about, "parts": [part], "files": {}}, Statistics())
        text = (tmp_path / "README.md").read_text()
        assert licence.text in text and f"license: {licence.name}" in text
        assert ("must not be pushed with its images" in text) == (not licence.images_may_be_shared)
    shared = [name for name in registry.sources.names() if registry.sources.get(name).licence.images_may_be_shared]
    assert shared == ["shapes", "coco", "visual_genome"]  # a dataset of others may be shared if its own licence says so


def test_recipe_and_corpora_are_cited(toy_dataset, tmp_path) -> None:
    about = read_build_info(toy_dataset())
    assert "## Citation" not in (toy_dataset() / "README.md").read_text()
    part = {**about["parts"][0], "recipe": "svit", "source": "visual_genome", "scenes": "visual_genome:vg,coco:captions"}
    write_card(tmp_path, {**about, "parts": [part], "files": {}}, Statistics())
    cited = (tmp_path / "README.md").read_text().partition("## Citation")[2]
    assert all(paper in cited for paper in ("2307.04087", "1602.07332", "1405.0312")) and "2311.01487" not in cited


def test_a_mix_keeps_the_citations_of_its_parts(toy_dataset, tmp_path) -> None:
    folder = toy_dataset(fresh=True)
    about = read_build_info(folder)
    about["parts"][0]["citations"] = ["Somebody, My Recipe, 2031"]
    (folder / "build.json").write_text(json.dumps(about))
    mix([open_input(str(folder)), open_input(str(toy_dataset()))], tmp_path / "mix")
    assert (tmp_path / "mix" / "README.md").read_text().endswith("methods:\n\n- Somebody, My Recipe, 2031\n")


def test_rows_without_photo_stand_apart_only_where_others_have_one() -> None:
    files = {"data/vlit/train-00000.parquet": 1, "without_images/vlit/train-00000.parquet": 1, "rejected/train-00000.parquet": 1}
    assert list(list_configs(files)) == ["default", "vlit", "without_images", "rejected"]
    assert list_configs(files)["vlit"] == {"train": ["data/vlit/train-00000.parquet"]}
    del files["data/vlit/train-00000.parquet"]
    assert list(list_configs(files)) == ["default", "vlit", "rejected"]


def test_reading_a_folder_that_is_none_says_so(tmp_path) -> None:
    with pytest.raises(InputError, match="no finished dataset"):
        read_build_info(tmp_path)


@pytest.mark.parametrize("wrong", [{"shard_scenes": 0}, {"split": 1.0}, {"split": -0.1}, {"images": "all"}])
def test_a_plan_that_cannot_be_is_refused(wrong) -> None:
    right = {name: None for name in Plan.__dataclass_fields__} | {"shard_scenes": 1, "images": True}
    Plan(**right)
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is"):
        Plan(**{**right, **wrong})


def test_build_json_holds_the_plan(toy_dataset) -> None:
    about = json.loads((toy_dataset() / "build.json").read_text())
    (part,) = about["parts"]
    assert (part["recipe"], part["scenes"], part["settings"], part["seed"]) == ("toy", "shapes:12", {"size": "small"}, 0)
    assert load_scenes(part["scenes"]).name == "shapes"


def _strings(value) -> Iterator[str]:
    """All text in a row or in JSON; photos are bytes and left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for inner in (*value.keys(), *value.values()) for text in _strings(inner))
    elif isinstance(value, list):
        yield from (text for inner in value for text in _strings(inner))


@pytest.mark.parametrize("images", [True, "table"])
def test_no_file_names_a_place_of_the_machine(tmp_path, toy_recipe, images) -> None:
    """Scenes from files: neither cards nor figures nor any column say where they lay."""
    source, out = tmp_path / "secret place" / "corpus", tmp_path / "built"
    source.mkdir(parents=True)

    class Stream(list):
        name, licence, spec = "coco", registry.sources.get("coco").licence, f"coco:{source},flickr30k:{source}"

    scenes = []
    for scene in load_scenes("shapes:6"):
        photo = source / f"{scene.id.rpartition('/')[2]}.png"
        photo.write_bytes(scene.image_bytes())
        scenes.append(scene.model_copy(update={"image": photo}))
    build(Stream(scenes), toy_recipe, LLMs.one(ScriptedLLM([])), out, images=images, progress=False)
    mix([open_input(str(out))], mixed := tmp_path / "mixed")
    for folder in (out, mixed):
        assert read_build_info(folder)["parts"][0]["scenes"] == "coco:corpus,flickr30k:corpus"
        told = [path.read_text() for path in folder.iterdir() if path.suffix in (".md", ".json")]
        rows = [row for name in read_build_info(folder)["files"] for row in read_rows(folder / name)]
        assert len(told) >= 4 and rows
        assert not [text for text in (*told, *_strings(rows)) if "secret place" in text or str(tmp_path) in text]


def test_a_mix_shows_the_build_json_of_somebody_else_as_text(toy_dataset, tmp_path) -> None:
    evil = '<img src="https://evil/x"> [free](https://evil) ![x](http://evil) `a` www.evil.com\x1b[31m\n# Own heading\n---\nlicense: mit'
    folder = toy_dataset(fresh=True)
    info = json.loads((folder / "build.json").read_text())
    part = info["parts"][0]
    part |= {name: evil for name in ("scenes", "source", "recipe", "generator", "judge", "version", "recipe_licence")}
    part |= {"settings": {evil: [evil]}, "asking": {evil: evil}, "prompts": {evil: evil}, "citations": [evil, evil * 1000]}
    part |= {"licence": {"name": evil, "text": evil, "share_images": True}, "figures": {"source": "https://evil", "name": evil}}
    (folder / "build.json").write_text(json.dumps(info))
    mix([open_input(str(folder))], tmp_path / "mix")
    card = (tmp_path / "mix" / "README.md").read_text()
    _, yaml, text = card.split("---\n", 2)
    assert (
        safe_load(yaml)["license"] == " ".join(evil.replace("\x1b[31m", "").split())[:100].strip()
        and "\x1b" not in card
        and len(card) < 60_000
    )
    text = re.sub(r"```.*?```|(?<!\\)`[^`]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<[a-z]", text)
    assert "https://evil" not in text and "http://evil" not in text and "www.evil" not in text
    assert not re.search(r"(?<!\\)\]\((?!pictures/)", text) and "\n# Own" not in text
    for broken in ({**part, "licence": "mit"}, {**part, "prompts": []}, "text", {**part, "citations": [{}]}):
        (folder / "build.json").write_text(json.dumps({**info, "parts": [broken]}))
        with pytest.raises(InputError, match="another form than builds write"):
            open_input(str(folder))
    for broken in ("[" * 100_000, '{"files": {}, "parts": NaN}', '{"files": [], "parts": []}'):
        (folder / "build.json").write_text(broken)
        with pytest.raises(InputError, match=r"build\.json"):
            open_input(str(folder))
