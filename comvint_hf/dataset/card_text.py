"""Render the text of a dataset card: what the rows are, how they were made, and under which terms.

A folder's own path is in no card, so the same build in another folder has the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comvint_hf import registry
from comvint_hf.dataset import shards
from comvint_hf.dataset.card_references import collect_citations, collect_figures
from comvint_hf.dataset.foreign_text import escape_code, escape_markdown, map_text
from comvint_hf.dataset.plot import Plot
from comvint_hf.dataset.reader import list_configs
from comvint_hf.dataset.splits import TEST, TRAIN
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.tables import (
    comparison_table,
    format_table,
    overview_table,
    probe_table,
    question_table,
    verification_tables,
)
from comvint_hf.formatting import format_cost

# How a card names its own folder in code, until a push puts the repository's name there.
PLACEHOLDER = "FOLDER"
PLACEHOLDER_COMMENT = "    # the path of this folder"
MAX_PARTS_NAMED = 3
_LOADING = re.compile(r'(load_dataset\(|attach_images\(dataset, )"([^"\n]*)"')
_TITLE = re.compile(r"^# .*$", re.MULTILINE)
_PRETTY_NAME = re.compile(r"^pretty_name: .*(?:\n  .*)*$", re.MULTILINE)


def card_title(build_info: dict[str, Any]) -> str:
    """Name a dataset by its parts in build.json.

    >>> card_title({"parts": [{"recipe": "svit", "source": "coco"}]})
    'svit on coco'
    >>> card_title({"parts": [{"recipe": "svit", "source": "coco"}, {"recipe": "unknown", "source": "llava.json"}]})
    'Mix of svit on coco and llava.json'
    """
    parts = build_info["parts"]
    named = [part["source"] if part["recipe"] == "unknown" else f"{part['recipe']} on {part['source']}" for part in parts]
    named = list(dict.fromkeys(named))
    if len(named) > MAX_PARTS_NAMED + 1:
        named = [*named[:MAX_PARTS_NAMED], f"{len(named) - MAX_PARTS_NAMED} more"]
    joined = " and ".join(filter(None, (", ".join(named[:-1]), *named[-1:]))) or "rows"
    return f"Mix of {joined}" if len(named) > 1 or build_info.get("selection") else joined


def render_hub_card(card: str, repo_id: str) -> str:
    """Render the card of a folder for its repository: with the repository's name as title and in the code.

    >>> print(render_hub_card('# svit on coco\\nload_dataset("FOLDER", "images")', "org/ours"))
    # org/ours
    load_dataset("org/ours", "images")
    """
    title = _TITLE.search(card)
    own = {PLACEHOLDER, title[0].removeprefix("# ") if title else ""}  # a card from the Hub has the name of its repository
    card = _LOADING.sub(lambda found: f'{found[1]}"{repo_id}"' if found[2] in own else found[0], card)
    card = _TITLE.sub(f"# {repo_id}", card, count=1)
    card = _PRETTY_NAME.sub(f"pretty_name: {json.dumps(repo_id.rpartition('/')[2])}", card, count=1)
    return card.replace(PLACEHOLDER_COMMENT, "")


def hash_card(card: str) -> str:
    """Hash a card without what `render_hub_card` changes in it, so that a copy from the Hub has the hash of its folder."""
    return hashlib.sha256(render_hub_card(card, PLACEHOLDER).encode()).hexdigest()


def sort_splits(splits: Mapping[str, list[str]]) -> list[tuple[str, list[str]]]:
    """Sort splits: train, test, others."""
    return sorted(splits.items(), key=lambda item: (TRAIN, TEST).index(item[0]) if item[0] in (TRAIN, TEST) else 2)


def render_text(
    build_info: dict[str, Any],
    statistics: Statistics,
    warnings: list[str],
    plots: list[Plot],
    probed: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Render the card below its YAML."""
    build_info = {**build_info, "parts": [_escape_part(part, build_info) for part in build_info["parts"]]}
    parts, files = build_info["parts"], build_info["files"]
    sections = [
        f"# {card_title(build_info)}",
        _summarize(parts, statistics),
        "## How to load it",
        _render_loading_code(files),
        "## Contents",
        *map(_text_table, (overview_table(statistics), question_table(statistics), format_table(statistics))),
        _describe_images(files, statistics),
        *_render_comparison(statistics, collect_figures(parts)),
        *_render_plots(plots),
        *_render_verification(statistics, warnings),
        *_render_probe(probed),
        "## Rejected samples",
        _render_rejected(statistics),
        "## How it was made",
        *map(_render_provenance, parts),
        *([f"Selection: {escape_markdown(build_info['selection'])}"] if build_info.get("selection") else []),
        *_render_usage(build_info.get("usage") or {}),
        "## Columns",
        _COLUMNS,
        "## Terms",
        *dict.fromkeys(_render_licence(part) for part in parts),
        *dict.fromkeys(f"{part['recipe']}: {licence}" for part in parts if (licence := part.get("recipe_licence"))),
        *_render_citations(parts),
    ]
    return "\n\n" + "\n\n".join(sections) + "\n"


def _summarize(parts: Sequence[Mapping[str, Any]], statistics: Statistics) -> str:
    recipes = sorted({part["recipe"] for part in parts} - {"unknown"})
    made = f"made with the comvint_hf recipe {' and '.join(recipes)} from" if recipes else "collected by comvint_hf from"
    sources = ", ".join(dict.fromkeys(part["scenes"] for part in parts))
    return (
        f"{statistics.kept:,} rows of {statistics.images.total():,} images: visual instruction samples, {made} {sources}. "
        "Text may say where an object is in the image: `<st>cup<ed>[0.100, 0.200, 0.300, 0.400]`, left, top, right and bottom as "
        "fractions of the image."
    )


def _render_loading_code(files: dict[str, int]) -> str:
    lines = [
        "```python",
        "from datasets import load_dataset",
        "",
        f'dataset = load_dataset("{PLACEHOLDER}"){PLACEHOLDER_COMMENT}',
    ]
    if any(name.startswith(f"{shards.IMAGES}/") for name in files):
        lines += [
            "",
            "from comvint_hf import attach_images",
            "",
            f'dataset = attach_images(dataset, "{PLACEHOLDER}")    # images, from the config `images`',
            "",
        ]
    for config, splits in list_configs(files).items():
        if config != "default":
            rows = sum(files[path] for paths in splits.values() for path in paths)
            names = ", ".join(split for split, _ in sort_splits(splits))
            lines.append(f'load_dataset("{PLACEHOLDER}", "{config}")    # {rows:,} rows: {names}')
    return "\n".join([*lines, "```", "", "Add `streaming=True` to read it without downloading it first."])


def _describe_images(files: Iterable[str], statistics: Statistics) -> str:
    splits = ", ".join(
        f"{count:,} in {escape_markdown(split)}" for split, count in sorted(statistics.images.items(), reverse=True)
    )
    lines = [f"Images: {splits}. Splits are by image: no image is in both."]
    folders = {name.split("/")[0] for name in files}
    if shards.WITHOUT_IMAGES in folders:
        missing = (
            "The config `without_images` holds the rows whose image was missing"
            if shards.WITH_IMAGES in folders
            else ("The rows do not hold their images")
        )
        lines.append(f"{missing}: attach them by `image_id` with `comvint_hf.attach_images` before you train.")
    if statistics.notes:
        notes = "; ".join(f"{escape_markdown(note)}: {count:,}" for note, count in sorted(statistics.notes.items()))
        lines.append(f"Counted during the build: {notes}.")
    return "\n\n".join(lines)


def _render_comparison(statistics: Statistics, figures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Compare the dataset with the published ones that its recipes rebuild."""
    sections = []
    for known in figures:
        published = f"[published dataset]({known['source']})" if "source" in known else "published dataset"
        sections.append(f"## Compared with the published {known.get('name', 'dataset')}")
        if "rows" in known:
            sections.append(f"The {published} has about {known['rows']:,} samples, this one {statistics.kept:,}.")
        if rows := comparison_table(statistics, [known]):
            sections.append(f"Figures of the {published} are in brackets; lengths are mean words.")
            sections.append(_text_table(rows))
        if "yes_for_each_no" in known:
            ratio = f"about {known['yes_for_each_no']} yes for each no"
            sections.append(f"Yes/no answers of the {published}: {ratio}; of this one: {_format_yes_ratio(statistics)}.")
    return sections


def _format_yes_ratio(statistics: Statistics) -> str:
    yes, no = (sum(task.yes_no[answer] for task in statistics.tasks.values()) for answer in ("yes", "no"))
    return f"{yes / no:.2f} ({yes:,} : {no:,})" if no else f"{yes:,} yes and no no" if yes else "none says yes or no"


def _render_plots(plots: list[Plot]) -> list[str]:
    """Show the plots, sunbursts two in a line."""
    if not plots:
        return []
    cells = [f"![{plot.caption}]({shards.PLOTS}/{plot.file})" for plot in plots]
    sunbursts = [cell for cell, plot in zip(cells, plots, strict=True) if plot.file.startswith("first_words")]
    pairs = [sunbursts[start : start + 2] for start in range(0, len(sunbursts), 2)]
    caption = "The rings show the first, second and third words of the questions; each first word has its own colour."
    lines = [pair + [""] * (2 - len(pair)) for pair in pairs]
    return ["## Plots", caption, _markdown_table([["", ""], *lines]), *cells[len(sunbursts) :]]


def _render_verification(statistics: Statistics, warnings: list[str]) -> list[str]:
    tables = verification_tables(statistics.verification)
    if not tables and not warnings:
        return []
    found = (
        ["Check this before you train:", "\n".join(f"- {escape_markdown(warning)}" for warning in warnings)]
        if warnings
        else ["No warnings."]
    )
    if tables:
        found.append(
            "Round 0 is the first version of a sample. The pass rate counts the judge's verdicts, the score the versions that passed. "
            "Words are those of the open question; objects are the annotated ones that the answers of kept rows rest on."
        )
    return ["## Health", *found, *map(_text_table, tables)]


def _render_probe(probed: Sequence[Mapping[str, Any]]) -> list[str]:
    if not probed:
        return []
    return [
        "## Answered without the image",
        (
            "A classifier that sees only the words of a question (and its options), fitted and tested on different images. What it gets right "
            "beyond chance, a model can learn without looking. On the questions of POPE it reaches .69 (adversarial), .70 (random) and .89 "
            "(popular)."
        ),
        _text_table(probe_table(probed)),
    ]


def _render_rejected(statistics: Statistics) -> str:
    if not statistics.rejected:
        return "No sample was rejected."
    total = statistics.kept + statistics.num_rejected
    lines = [["reason", "samples", "share of all"]]
    for reason, count in sorted(statistics.rejected.items(), key=lambda item: (-item[1], item[0])):
        lines.append([reason, f"{count:,}", f"{count / total:.1%}"])
    return _text_table(lines) + "\n\nThey are in the config `rejected`, each with its reason."


def _render_provenance(part: Mapping[str, Any]) -> str:
    # A recipe that asks no judge has its writer's name there.
    has_judge = part["judge"] != part["generator"] or any("verify" in name for name in part["prompts"])
    settings = "".join(f", {key} {_format_setting(value)}" for key, value in part["settings"].items())
    return _markdown_table(
        [
            ["setting", "value"],
            ["annotations", part["scenes"]],
            ["recipe", part["recipe"] + settings],
            ["written by", part["generator"]],
            *([["checked by", part["judge"]]] if has_judge else []),
            ["LLM settings", ", ".join(f"{key} {value}" for key, value in sorted(part["asking"].items())) or "the defaults"],
            ["seed", str(part["seed"])],
            ["comvint_hf", part["version"]],
            ["prompts", ", ".join(f"{name} `{digest}`" for name, digest in part["prompts"].items()) or "none"],
        ]
    )


def _render_usage(usage: Mapping[str, Any]) -> list[str]:
    """Show the requests, tokens and cost of each model and, where it had several, of each prompt."""
    lines = [["model", "requests", "unusable replies", "tokens in / out", "cost"]]
    for model, total in usage.items():
        prompts = total["prompts"] if len(total["prompts"]) > 1 else {}
        for name, counts in ((model, total), *((f"{model}, {prompt}", counts) for prompt, counts in prompts.items())):
            cost = "unknown" if counts["unpriced"] else format_cost(counts["cost"])
            tokens = f"{counts['prompt_tokens']:,} / {counts['completion_tokens']:,}"
            lines.append([name, f"{counts['requests']:,}", f"{counts['unusable']:,}", tokens, cost])
    repaired = sum(total.get("repaired", 0) for total in usage.values())
    note = [f"{repaired:,} replies were nearly JSON and have been repaired."] if repaired else []
    return [_text_table(lines), *note] if usage else []


def _format_setting(value: Any) -> str:
    parts = [f"{name} {weight:g}" for name, weight in value.items()] if isinstance(value, dict) else value
    return " ".join(map(str, parts)) if isinstance(parts, list) else str(parts)


def _render_licence(part: Mapping[str, Any]) -> str:
    licence = part["licence"]
    restriction = "" if licence["share_images"] else " This dataset must not be pushed with its images in it."
    return f"{part['source']}: {licence['text'] or licence['name']}{restriction}"


def _render_citations(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"- {citation}" for citation in collect_citations(parts)]
    return ["## Citation", "If you use this dataset, cite its sources and methods:", "\n".join(lines)] if lines else []


def _escape_part(part: Mapping[str, Any], build_info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Escape what the build.json of a mix's dataset says; the texts and figures that the registry knows stay as they are."""
    if not build_info.get("selection"):
        return part
    source, recipe = registry.sources.find(part["source"]), registry.find_recipe(part["recipe"])
    licence = getattr(source, "licence", None)
    known = {getattr(licence, "text", ""), *collect_citations([{**part, "citations": ()}]), getattr(recipe, "licence", "")}
    escaped = map_text(part, lambda text: text if text in known else escape_markdown(text))
    escaped["prompts"] = {escape_markdown(name): escape_code(digest) for name, digest in part["prompts"].items()}
    return {**escaped, "figures": dict(getattr(recipe, "figures", {}))}


def _text_table(lines: Iterable[list[str]]) -> str:
    """A table of texts without markup, such as names that rows give to tasks."""
    return _markdown_table([[escape_markdown(cell) for cell in line] for line in lines])


def _markdown_table(lines: Iterable[list[str]]) -> str:
    header, *body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    rows = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_COLUMNS = """\
Trainers read `images` and `messages` (user and assistant turns, without image markers in the text). `boxes` and `phrases` list
what the text refers to, in order and of equal length. `evidence` names the annotated objects that the answer rests on. `history`
keeps earlier versions of the sample and the judge's findings on each. `task`, `format` (open, bool, choice), `topic`, `rounds`,
`generator` and `judge` describe the sample and its making; `image_id`, `source`, `width` and `height` (pixels) its image."""
