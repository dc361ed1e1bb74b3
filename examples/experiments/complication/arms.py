"""What is compared: the arms, and the settings that decide all figures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from comvint_hf.errors import InputError
from comvint_hf.types import FORMATS

BEFORE = "before"
"""The model that no arm has tuned."""
MIXED = "rounds {}"
"""The arms of mixed formats, by their number of rounds."""
ONLY = "{} only"
"""The arms of one format."""


@dataclass(frozen=True)
class Settings:
    """All that decides the figures. `weights` tells one base from another that lay in its place."""

    base: str
    weights: str
    tokens: int
    seeds: int
    scenes: int
    level: str
    rounds: int
    format_rounds: int
    asked: int
    learning_rate: float


@dataclass(frozen=True)
class Arm:
    """A training set: how often its samples were complicated, and which formats they end in."""

    rounds: int
    formats: tuple[str, ...] = FORMATS


def arms_of(settings: Settings) -> dict[str, Arm]:
    """Every set to train on, by name; the set of mixed formats at `format_rounds` serves both questions."""
    by_rounds = {MIXED.format(number): Arm(number) for number in range(settings.rounds + 1)}
    return by_rounds | {ONLY.format(format): Arm(settings.format_rounds, (format,)) for format in FORMATS}


def digest(base: Path) -> str:
    """A short name of a model's weights. Raises `InputError` where there are none."""
    files = sorted(base.glob("*.safetensors"))
    if not files:
        raise InputError(f"{base} holds no model: run `make demo SERVE=0` first, or give --base.")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def same_settings(out: Path, settings: Settings) -> None:
    """Note the settings in `out`. Raises `InputError` where figures of other settings lie."""
    noted = out / "settings.json"
    if noted.exists() and json.loads(noted.read_text()) != asdict(settings):
        raise InputError(f"{out} holds an experiment with other settings ({noted}): give another --out, or delete it.")
    out.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps(asdict(settings), indent=2) + "\n")
