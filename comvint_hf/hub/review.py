"""Review a dataset folder before a push: what of it the build made, and what somebody else may have put there.

A folder may come from anybody. Only files that build.json names are uploaded, only if they are as they were written, and the card
only if it shows nothing that cards of builds never show, unless the user has read it and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comvint_hf import registry
from comvint_hf.dataset import shards
from comvint_hf.dataset.card import describe_configs
from comvint_hf.dataset.card_text import PLACEHOLDER, hash_card
from comvint_hf.dataset.foreign_text import clean_parts
from comvint_hf.dataset.integrity import HASHES
from comvint_hf.dataset.markers import hash_file, is_row_file
from comvint_hf.dataset.reader import read_build_info
from comvint_hf.errors import InputError, first_line
from comvint_hf.images import resolve_inside
from comvint_hf.strict_reader import bounded_int, clean_text, read_file

CARD = "README.md"
MAX_CARD_BYTES = 8 * 2**20
MAX_NAMED = 5
_YAML_KEYS = {"language", "license", "task_categories", "tags", "size_categories", "pretty_name", "dataset_info", "configs"}
_CODE = re.compile(r"^```.*?^```$|(?<!\\)`[^`\n]*`", re.DOTALL | re.MULTILINE)
_HTML = re.compile(r"(?<!\\)<[A-Za-z/!?][^>\n]*>?")
_IMAGE = re.compile(r"(?<!\\)!\[[^\]]*\]\(([^)\s]*)")
_TARGET = re.compile(r"(?<!\\)\]\(\s*<?([^)\s>]*)|^\s*\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_ADDRESS = re.compile(r"(?:https?://|\bwww\.)[^\s)\]>\"'}|]+", re.IGNORECASE)
_LOADED = re.compile(r'load_dataset\("([^"\n]*)"')


@dataclass(frozen=True)
class Review:
    """The files to upload by their path in the repository, and sentences about what the user should know of them."""

    files: dict[str, Path]
    notices: list[str]


def review_folder(folder: Path, *, keep_card: bool = False) -> Review:
    """Review a folder that `build` or `mix` wrote, or that claims so.

    Args:
        folder: The folder.
        keep_card: Whether to upload README.md although the build did not write it like that.

    Raises:
        InputError: For files that are no dataset's, that lead out of the folder or are missing, for a build.json of another form, for
            a dataset without rows, and for a card that the build did not write.
    """
    info = read_build_info(folder)
    clean_parts(info["parts"], folder / "build.json")
    if not bounded_int(info.get("rows"), 1, 2**40):
        raise InputError(f"{folder} has no rows to push: rejected rows are no dataset.")
    if strange := sorted(name for name in info["files"] if not is_row_file(name)):
        raise InputError(f"{folder / 'build.json'} names {strange[0]!r}, which is no file of rows: build the dataset anew.")
    files = {name: _own_file(folder, name) for name in _list_names(folder, info)}
    card = read_file(files[CARD], max_bytes=MAX_CARD_BYTES).decode(errors="replace") if CARD in files else ""
    if not card:
        raise InputError(f"{folder} has no {CARD}, which every build and mix writes: run it again.")
    found = [clean_text(problem) for problem in _find_card_problems(card, info)]
    if found and not keep_card:
        raise InputError(
            f"{folder / CARD} is not as the build wrote it: {'; '.join(found[:MAX_NAMED])}. Read it, then add --keep-card to publish it "
            "as it is; or run the build again, which writes it anew."
        )
    return Review(files, [*_name_left_out(folder, files), *_name_links(card)])


def _list_names(folder: Path, info: dict[str, Any]) -> list[str]:
    """List the files of the dataset. A plot that was deleted or exchanged is left out; build.json of older versions names none."""
    names = [*info["files"], *(name for name in shards.METADATA_FILES if (folder / name).exists())]
    plots = info.get("plots")
    for path in sorted((folder / shards.PLOTS).glob("*.png")):
        name = path.relative_to(folder).as_posix()
        shown = f"]({name})" in read_file(folder / CARD, max_bytes=MAX_CARD_BYTES).decode(errors="replace")
        if shown if plots is None else path.is_file() and plots.get(path.name) == hash_file(path):
            names.append(name)
    return names


def _own_file(folder: Path, name: str) -> Path:
    """Return the path of a file. Raises `InputError` for one that is missing, or that a link takes out of the folder."""
    path = resolve_inside(folder, name)
    if path is None:
        raise InputError(f"{folder / name} is a link that leads out of the dataset's folder: nothing outside it is pushed.")
    if not path.is_file():
        raise InputError(f"{folder / name} is missing or no file: `comvint stats {folder} --verify` names every such file.")
    return folder / name


def _find_card_problems(card: str, info: dict[str, Any]) -> Iterator[str]:
    """Describe what of a card its build did not write, and what no build writes."""
    if info.get("card") not in (None, hash_card(card)):
        yield "it was changed after the build"
    yaml, text = _split_card(card)
    yield from _find_yaml_problems(yaml, info)
    text = _CODE.sub("", text)
    yield from (f"it holds HTML, {tag[:100]}" for tag in dict.fromkeys(_HTML.findall(text)))
    images = dict.fromkeys(_IMAGE.findall(text))
    yield from (f"it shows the image {image[:100]}" for image in images if not image.startswith(f"{shards.PLOTS}/"))
    targets = dict.fromkeys(one or two for one, two in _TARGET.findall(text))
    shown = (target for target in targets if not target.startswith((f"{shards.PLOTS}/", "https://", "http://", "#")))
    yield from (f"it has a link to {target[:100]}" for target in shown)


def _split_card(card: str) -> tuple[str, str]:
    parts = card.split("---\n", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and not parts[0] else ("", card)


def _find_yaml_problems(yaml: str, info: dict[str, Any]) -> Iterator[str]:
    """Describe what the head of a card says besides the facts of the dataset: gates, thumbnails, files of elsewhere."""
    from yaml import YAMLError, safe_load

    try:
        head = safe_load(yaml) or {}
    except (YAMLError, RecursionError, ValueError) as error:
        yield f"its YAML cannot be read ({first_line(error)})"
        return
    if not isinstance(head, dict):
        yield "its YAML is no list of settings"
        return
    yield from (f"its YAML sets {str(key)[:100]}" for key in head if key not in _YAML_KEYS)
    expected = {name: config["data_files"] for name, config in describe_configs(info["files"], info.get(HASHES, {})).items()}
    configs = head.get("configs")
    given = (
        {str(entry.get("config_name")): entry.get("data_files") for entry in configs if isinstance(entry, dict)}
        if configs
        else {}
    )
    yield from (f"its config {name[:100]} names other files" for name in given if given[name] != expected.get(name))


def _name_left_out(folder: Path, files: dict[str, Path]) -> Iterator[str]:
    """Name the files of the folder that are not uploaded, the build's own state apart."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink())
    others = [name for name in names if name not in files and not name.startswith(f"{shards.STATE}/")]
    if others:
        more = f" and {len(others) - MAX_NAMED:,} more" if len(others) > MAX_NAMED else ""
        yield f"Not pushed, because the build did not make it: {', '.join(others[:MAX_NAMED])}{more}."


def _name_links(card: str) -> Iterator[str]:
    """Name the addresses in a card that no source or recipe known here declares, and datasets that its code loads."""
    known = "\n".join(_declared_texts())
    text = _split_card(card)[1]
    links = [link for link in dict.fromkeys(_ADDRESS.findall(text)) if link.rstrip(".,;") not in known]
    title = re.search(r"^# (.*)$", text, re.MULTILINE)
    loaded = set(_LOADED.findall(text)) - {PLACEHOLDER, title[1] if title else ""}
    if named := [*links, *sorted(loaded)]:
        yield f"The card names: {', '.join(link[:200] for link in named[:MAX_NAMED])}{' and more' if len(named) > MAX_NAMED else ''}."


def _declared_texts() -> Iterator[str]:
    """The texts with addresses that sources and recipes of the registry declare."""
    for source in map(registry.sources.find, registry.sources.names()):
        yield from (source.citation, source.licence.text) if source else ()
    for recipe in map(registry.find_recipe, registry.recipes.names()):
        yield from (recipe.citation, recipe.licence, str(dict(recipe.figures))) if recipe else ()
