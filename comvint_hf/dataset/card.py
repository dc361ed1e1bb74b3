"""Write the files beside a dataset's rows: the card (README.md), build.json, stats.json and the plots.

The card's YAML names the configs with their files, features and sizes, so that `load_dataset(folder)` works. Its text is in
`card_text`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.card_references import collect_figures
from comvint_hf.dataset.card_text import card_title, hash_card, render_text, sort_splits
from comvint_hf.dataset.failure_checks import find_warnings
from comvint_hf.dataset.foreign_text import one_line
from comvint_hf.dataset.integrity import HASHES, collect_hashes
from comvint_hf.dataset.markers import hash_file
from comvint_hf.dataset.plot import plot_statistics
from comvint_hf.dataset.reader import list_configs
from comvint_hf.dataset.splits import TRAIN
from comvint_hf.dataset.statistics import Statistics

TAGS = ["comvint_hf", "visual-instruction-tuning", "multimodal", "grounding", "synthetic"]
TASK_CATEGORIES = ["image-text-to-text", "visual-question-answering"]
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
MAX_TAG = 100
LARGEST_SIZE = "10M<n<100M"


def write_card(
    out: Path, build_info: dict[str, Any], statistics: Statistics, probed: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """Write README.md, build.json, stats.json and the plots.

    Args:
        out: The dataset's folder.
        build_info: The content of build.json. "files" maps each parquet file to its row count; "parts" are the plans of the builds
            that the rows came from (one for a build, several for a mix).
        statistics: The counts of all rows.
        probed: Results of the blind probe (`quality.blind_probe`), as plain values.

    Returns:
        Warnings about what looks wrong with the dataset, one sentence each.
    """
    warnings = find_warnings(statistics, recipe_settings(build_info), probed)
    plots = plot_statistics(statistics, out / shards.PLOTS, collect_figures(build_info["parts"]))
    stats = {**_to_stats(statistics, warnings), "blind_probe": list(probed)}
    shards.write_text_atomic(out / "stats.json", json.dumps(stats, indent=2, ensure_ascii=False) + "\n")
    if statistics.verification.has_attempts:
        build_info = {**build_info, "health": stats["health"]}
    build_info = {**build_info, HASHES: collect_hashes(out, build_info["files"])}
    card = _render_yaml(out, build_info, statistics) + render_text(build_info, statistics, warnings, plots, probed)
    written = {"card": hash_card(card), "plots": {plot.file: hash_file(out / shards.PLOTS / plot.file) for plot in plots}}
    build_info = {**build_info, **written}
    shards.write_text_atomic(out / "build.json", json.dumps(build_info, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    shards.write_text_atomic(out / "README.md", card)
    return warnings


def _to_stats(statistics: Statistics, warnings: list[str]) -> dict[str, Any]:
    """The content of stats.json: the counts, and the averages and rates derived from them."""
    counts, verification = statistics.to_json(), statistics.verification
    derived = {
        "by_round": [_round_values(entry) for entry in verification.by_round()],
        "criteria_passed": {name: _round_values(rates) for name, rates in verification.criterion_pass_rates().items()},
        "warnings": warnings,
    }
    averages = {name: task.averages for name, task in sorted(statistics.tasks.items())}
    return {"figures": averages, **counts, "health": {**derived, **counts["health"]}}


def _round_values(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def recipe_settings(build_info: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the recipe if the dataset holds all of its rows; nothing for a mix, which selects others."""
    parts = build_info["parts"]
    return parts[0]["settings"] if len(parts) == 1 and not build_info.get("selection") else {}


def describe_configs(files: dict[str, int], hashes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Describe the configs of a dataset for the YAML of its card.

    The description is a hash of the config's files: the cache of datasets knows a folder by the text of its card alone, and would
    give the rows of another dataset of the same name and size.
    """
    described: dict[str, dict[str, Any]] = {}
    for config, splits in list_configs(files).items():
        names = sorted(path for paths in splits.values() for path in paths)
        digest = hashlib.sha256("".join(f"{name} {hashes.get(name)}\n" for name in names).encode()).hexdigest()
        data_files = [{"split": split, "path": _pattern(paths)} for split, paths in sort_splits(splits)]
        described[config] = {"data_files": data_files, "description": f"files {digest[:16]}"}
    if "default" in described:
        described["default"]["default"] = True
    else:
        # Without a default of its own, datasets would give the first config there is: rejected rows.
        described["rows"] = {
            "data_files": [{"split": TRAIN, "path": f"{shards.WITH_IMAGES}/*/{TRAIN}-*.parquet"}],
            "default": True,
        }
    return described


def _pattern(paths: list[str]) -> str | list[str]:
    """A glob for the files of a split: shorter than a list, and later shards match it too."""
    patterns = sorted({f"{path.rpartition('/')[0]}/{path.rpartition('/')[2].split('-')[0]}-*.parquet" for path in paths})
    return patterns[0] if len(patterns) == 1 else patterns


def _render_yaml(out: Path, build_info: dict[str, Any], statistics: Statistics) -> str:
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    parts, rows = build_info["parts"], build_info["files"]
    licences = {one_line(part["licence"]["name"], MAX_TAG) for part in parts}
    data = DatasetCardData(
        language="en",
        license=licences.pop() if len(licences) == 1 else "other",
        task_categories=TASK_CATEGORIES,
        tags=TAGS + sorted({one_line(part[name], MAX_TAG) for part in parts for name in ("recipe", "source")}),
        size_categories=next((name for most, name in SIZES if statistics.kept < most), LARGEST_SIZE),
        pretty_name=one_line(card_title(build_info)),
    )
    infos = {}
    for config, splits in list_configs(rows).items():
        sizes = {
            split: SplitInfo(split, sum((out / path).stat().st_size for path in paths), sum(rows[path] for path in paths))
            for split, paths in sort_splits(splits)
        }
        folder = next(iter(splits.values()))[0].split("/")[0]
        infos[config] = DatasetInfo(features=shards.schema_of(folder), splits=SplitDict(sizes, dataset_name=""))
    DatasetInfosDict(infos).to_dataset_card_data(data)
    MetadataConfigs(describe_configs(rows, build_info[HASHES])).to_dataset_card_data(data)
    return f"---\n{data.to_yaml()}\n---\n"
