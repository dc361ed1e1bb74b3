"""Draw the dataset card, and write down beside it what was built: build.json, stats.json.

The card's YAML names the configs (which files are which), their features and sizes, so that `load_dataset(folder)` works;
its text says what is in the dataset, how it was made and under which terms. This file knows the layout of a dataset
folder and its statistics; it knows no recipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.card_names import BESIDE, HERE, title
from comvint_hf.dataset.citations import citations
from comvint_hf.dataset.failure_checks import failure_signs
from comvint_hf.dataset.paper_figures import published_for
from comvint_hf.dataset.plot import FOLDER, Picture, draw_pictures
from comvint_hf.dataset.splits import TEST, TRAIN
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.tables import form_table, health_tables, published_table, question_table, table
from comvint_hf.formatting import dollars

TAGS = ["comvint_hf", "visual-instruction-tuning", "multimodal", "grounding", "synthetic"]
TASK_CATEGORIES = ["image-text-to-text", "visual-question-answering"]
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
HUGE = "10M<n<100M"


def write_folder(out: Path, about: dict[str, Any], statistics: Statistics) -> list[str]:
    """Write README.md, build.json, stats.json and the pictures; gives the signs of a build gone wrong, one sentence each.

    `about["files"]` maps each parquet file to its row count; `about["parts"]` are the plans of the builds that the rows
    came from (one for a build, several for a mix).
    """
    write = shards.write_atomically
    signs = failure_signs(statistics, settings(about))
    pictures = draw_pictures(statistics, out / FOLDER, recipes(about))
    told = _told(statistics, signs)
    write(out / "stats.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    about = {**about, "health": told["health"]} if statistics.health.verified else about
    write(out / "build.json", json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    write(out / "README.md", _yaml(out, about, statistics) + _text(about, statistics, signs, pictures))
    return signs


def _told(statistics: Statistics, signs: list[str]) -> dict[str, Any]:
    """The counts, and the figures that follow from them."""
    counts, health = statistics.to_json(), statistics.health
    by_round = [_rounded(entry) for entry in health.rounds()]
    rates = {name: _rounded(rates) for name, rates in health.criterion_rates().items()}
    derived = {"by_round": by_round, "criteria_passed": rates, "warnings": signs}
    figures = {name: task.figures for name, task in sorted(statistics.tasks.items())}
    return {"figures": figures, **counts, "health": {**derived, **counts["health"]}}


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def recipes(about: dict[str, Any]) -> list[str]:
    """The recipes that rows came from, as far as they are known."""
    return sorted({part["recipe"] for part in about["parts"]} - {"unknown"})


def settings(about: dict[str, Any]) -> dict[str, Any]:
    """What the recipe was asked for, where all of its rows are here; nothing for a mix, which asks for something else."""
    return about["parts"][0]["settings"] if len(about["parts"]) == 1 and not about.get("selection") else {}


def configs(files: dict[str, int]) -> dict[str, dict[str, list[str]]]:
    """Which files make up which split of which config: `{"default": {"train": [...], "test": [...]}, ...}`.

    "default" and one config a task hold the rows that trainers read; rows that lack a photo in a dataset of photos stand
    apart in "without_images", so that nobody trains blind on them; "images" and "rejected" are there where needed.
    """
    main = shards.WITH_IMAGES if any(name.startswith(f"{shards.WITH_IMAGES}/") for name in files) else shards.WITHOUT_IMAGES
    grouped: dict[str, dict[str, list[str]]] = {}
    for name in sorted(files):
        folder, *task, file = name.split("/")
        split = file.split("-")[0]
        for config in ("default", *task) if folder == main else (folder,):
            grouped.setdefault(config, {}).setdefault(split, []).append(name)
    ordered = [name for name in ("default", shards.WITHOUT_IMAGES, shards.IMAGES, shards.REJECTED) if name in grouped]
    return {name: grouped[name] for name in (*ordered[:1], *sorted(set(grouped) - set(ordered)), *ordered[1:])}


def _pattern(paths: list[str]) -> str | list[str]:
    """A glob a config's split can be found by: shorter than the list, and later shards join it."""
    patterns = sorted({f"{path.rpartition('/')[0]}/{path.rpartition('/')[2].split('-')[0]}-*.parquet" for path in paths})
    return patterns[0] if len(patterns) == 1 else patterns


def _yaml(out: Path, about: dict[str, Any], statistics: Statistics) -> str:
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    layout = configs(about["files"])
    data = DatasetCardData(
        language="en",
        license=_licence(about["parts"]),
        task_categories=TASK_CATEGORIES,
        tags=TAGS + sorted({part["recipe"] for part in about["parts"]} | {part["source"] for part in about["parts"]}),
        size_categories=next((name for most, name in SIZES if statistics.kept < most), HUGE),
        pretty_name=title(about),
    )
    infos, metadata = {}, {}
    for config, splits in layout.items():
        sizes = {
            split: SplitInfo(
                split, sum((out / path).stat().st_size for path in paths), sum(about["files"][path] for path in paths)
            )
            for split, paths in _ordered(splits)
        }
        folder = next(iter(splits.values()))[0].split("/")[0]
        infos[config] = DatasetInfo(features=shards.schema_of(folder), splits=SplitDict(sizes, dataset_name=""))
        files = [{"split": split, "path": _pattern(paths)} for split, paths in _ordered(splits)]
        metadata[config] = {"data_files": files, **({"default": True} if config == "default" else {})}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    MetadataConfigs(metadata).to_dataset_card_data(data)
    return f"---\n{data.to_yaml()}\n---\n"


def _ordered(splits: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    return sorted(splits.items(), key=lambda item: (TRAIN, TEST).index(item[0]) if item[0] in (TRAIN, TEST) else 2)


def _licence(parts: list[dict[str, Any]]) -> str:
    names = {part["licence"]["name"] for part in parts}
    return names.pop() if len(names) == 1 else "other"


def _text(about: dict[str, Any], statistics: Statistics, signs: list[str], pictures: list[Picture]) -> str:
    sections = [
        f"# {title(about)}",
        _opening(about, statistics),
        "## How to load it",
        _loading(about["files"]),
        "## What is in it",
        *map(_markdown, (table(statistics), question_table(statistics), form_table(statistics))),
        _images(about["files"], statistics),
        *_published(statistics, recipes(about)),
        *_pictures(pictures),
        *_health(statistics, signs),
        "## What was rejected, and why",
        _reasons(statistics),
        "## How it was made",
        *map(_provenance, about["parts"]),
        *([f"Selection: {about['selection']}"] if about.get("selection") else []),
        *_usage(about.get("usage") or {}),
        "## A row",
        _ROW,
        "## Terms",
        *dict.fromkeys(_terms(part) for part in about["parts"]),
        *_cited(about["parts"]),
    ]
    return "\n\n" + "\n\n".join(sections) + "\n"


def _opening(about: dict[str, Any], statistics: Statistics) -> str:
    made = recipes(about)
    how = f"made with comvint_hf's recipe {' and '.join(made)} from" if made else "brought together by comvint_hf from"
    sources = ", ".join(dict.fromkeys(part["scenes"] for part in about["parts"]))
    return (
        f"{statistics.kept:,} rows of {statistics.images.total():,} images: visual instruction samples, {how} {sources}. "
        "Text that speaks of something in the picture may say where: `<st>cup<ed>[0.100, 0.200, 0.300, 0.400]`, left, top, "
        "right and bottom as fractions of the image."
    )


def _loading(files: dict[str, int]) -> str:
    lines = [
        "```python",
        "from datasets import load_dataset",
        "",
        f'dataset = load_dataset("{HERE}"){BESIDE}',
    ]
    if any(name.startswith(f"{shards.IMAGES}/") for name in files):
        lines += [
            "",
            "from comvint_hf import attach_images",
            "",
            f'dataset = attach_images(dataset, "{HERE}")    # photos, from the config `images`',
            "",
        ]
    for config, splits in configs(files).items():
        if config != "default":
            rows = sum(files[path] for paths in splits.values() for path in paths)
            lines.append(
                f'load_dataset("{HERE}", "{config}")    # {rows:,} rows: {", ".join(split for split, _ in _ordered(splits))}'
            )
    return "\n".join([*lines, "```", "", "Add `streaming=True` to read it without downloading it first."])


def _images(files: dict[str, int], statistics: Statistics) -> str:
    splits = ", ".join(f"{count:,} in {split}" for split, count in sorted(statistics.images.items(), reverse=True))
    lines = [f"Images: {splits}. The splits are by image: no image stands in both."]
    folders = {name.split("/")[0] for name in files}
    if shards.WITHOUT_IMAGES in folders:
        apart = "The config `without_images` holds the rows whose" if shards.WITH_IMAGES in folders else "The"
        verb = "photo was not at hand" if shards.WITH_IMAGES in folders else "photos are not in the rows"
        lines.append(f"{apart} {verb}: join them by `image_id` with `comvint_hf.attach_images` before you train.")
    if statistics.notes:
        lines.append(
            "Counted on the way: " + "; ".join(f"{note}: {count:,}" for note, count in sorted(statistics.notes.items())) + "."
        )
    return "\n\n".join(lines)


def _published(statistics: Statistics, made: list[str]) -> list[str]:
    """The figures here beside those of the datasets that the recipes rebuild."""
    sections = []
    for known in published_for(made):
        lines = [f"## Beside the published {known['name']}"]
        if "rows" in known:
            lines.append(
                f"The [published set]({known['source']}) has about {known['rows']:,} samples; here are {statistics.kept:,}."
            )
        if rows := published_table(statistics, made):
            lines.append(f"In brackets the figures of the [published set]({known['source']}); lengths are mean words.")
            lines.append(_markdown(rows))
        if "yes_for_each_no" in known:
            lines.append(
                f"Its plain answers are about {known['yes_for_each_no']} yes for each no; here: {_yes_for_each_no(statistics)}."
            )
        sections += lines
    return sections


def _yes_for_each_no(statistics: Statistics) -> str:
    yes, no = (sum(task.yes_no[said] for task in statistics.tasks.values()) for said in ("yes", "no"))
    return f"{yes / no:.2f} ({yes:,} : {no:,})" if no else f"{yes:,} yes and no no" if yes else "none says yes or no"


def _pictures(pictures: list[Picture]) -> list[str]:
    """The pictures, sunbursts two in a line."""
    if not pictures:
        return []
    cells = [f"![{picture.shows}]({FOLDER}/{picture.file})" for picture in pictures]
    pairs = [cells[at] for at, picture in enumerate(pictures) if picture.file.startswith("first_words")]
    lines = [pairs[at : at + 2] + [""] * (2 - len(pairs[at : at + 2])) for at in range(0, len(pairs), 2)]
    told = "Rings are the first, second and third words of the questions; every word that begins one keeps its colour."
    return ["## What it looks like", told, _markdown([["", ""], *lines]), *cells[len(pairs) :]]


def _health(statistics: Statistics, signs: list[str]) -> list[str]:
    tables = health_tables(statistics.health)
    if not tables and not signs:
        return []
    found = (
        ["Look at this before you train:", "\n".join(f"- {sign}" for sign in signs)]
        if signs
        else ["No sign of failure was seen."]
    )
    lines = ["## Health", *found]
    if tables:
        lines.append(
            "Round 0 is the first version of a sample. The pass rate is of the judge's verdicts, the score that of the versions which passed; "
            "words are those of the open question, things used are the annotated things that the answers of kept rows rest on."
        )
    return [*lines, *map(_markdown, tables)]


def _reasons(statistics: Statistics) -> str:
    if not statistics.rejected:
        return "Nothing was rejected."
    whole = statistics.kept + statistics.refused
    lines = [["reason", "samples", "share of all"]]
    for reason, count in sorted(statistics.rejected.items(), key=lambda item: (-item[1], item[0])):
        lines.append([reason, f"{count:,}", f"{count / whole:.1%}"])
    return _markdown(lines) + "\n\nThey are published with their reason in the config `rejected`."


def _provenance(part: dict[str, Any]) -> str:
    lines = [["what", "which"]]
    for label, value in (
        ("annotations", part["scenes"]),
        ("recipe", part["recipe"] + "".join(f", {key} {_spoken(value)}" for key, value in part["settings"].items())),
        ("written by", part["generator"]),
        *([("checked by", part["judge"])] if _has_judge(part) else []),
        ("asked with", ", ".join(f"{key} {value}" for key, value in sorted(part["asking"].items())) or "the defaults"),
        ("seed", str(part["seed"])),
        ("comvint_hf", part["version"]),
        ("prompts", ", ".join(f"{name} `{digest}`" for name, digest in part["prompts"].items()) or "none"),
    ):
        lines.append([label, value])
    return _markdown(lines)


def _has_judge(part: dict[str, Any]) -> bool:
    """Whether somebody was asked to check; a recipe that asks nobody has its writer's name there."""
    return part["judge"] != part["generator"] or any("verify" in name for name in part["prompts"])


def _usage(usage: dict[str, Any]) -> list[str]:
    """What the replies behind the rows took, a line a model and a line each of its prompts."""
    lines = [["asked", "requests", "unusable replies", "tokens in / out", "cost"]]
    told = ((name, counts) for model, whole in usage.items() for name, counts in ((model, whole), *_stages(model, whole)))
    for name, counts in told:
        cost = "unknown" if counts["unpriced"] else dollars(counts["cost"])
        tokens = f"{counts['prompt_tokens']:,} / {counts['completion_tokens']:,}"
        lines.append([name, f"{counts['requests']:,}", f"{counts['unusable']:,}", tokens, cost])
    return [_markdown(lines)] if usage else []


def _stages(model: str, whole: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [(f"{model}, {prompt}", counts) for prompt, counts in whole["prompts"].items()] if len(whole["prompts"]) > 1 else []


def _spoken(value: Any) -> str:
    parts = [f"{name} {weight:g}" for name, weight in value.items()] if isinstance(value, dict) else value
    return " ".join(map(str, parts)) if isinstance(parts, list) else str(parts)


def _terms(part: dict[str, Any]) -> str:
    licence = part["licence"]
    shared = "" if licence["share_images"] else " This dataset must not be pushed with its photos in it."
    return f"{part['source']}: {licence['text'] or licence['name']}{shared}"


def _cited(parts: list[dict[str, Any]]) -> list[str]:
    lines = citations(name for part in parts for name in (part["recipe"], *part["scenes"].replace(",", ":").split(":")))
    return ["## Citation", "If you use it, cite what it is made from and after:", "\n".join(lines)] if lines else []


def _markdown(lines: Iterable[list[str]]) -> str:
    header, *body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    rows = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_ROW = """\
`images` and `messages` (user and assistant turns, no image markers in the text) are what trainers read. `boxes` and
`phrases` list what the text points at, in order and of equal length; `evidence` names the annotated things that the answer
rests on; `history` keeps earlier versions of the sample and what the judge found of each; `task`, `format` (open, bool, choice), `topic`, `rounds`, `generator`
and `judge` say what it is and who made it; `image_id`, `source`, `width` and `height` (pixels) which picture it is about."""
