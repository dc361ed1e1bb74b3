"""The arms of the experiment (the training sets that are compared), and the settings that decide all results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from comvint_hf.errors import InputError
from comvint_hf.types import FORMATS

BEFORE = "before"
"""The base model, tuned on no arm."""
MIXED = "rounds {}"
"""The names of the arms with mixed formats, by their number of rounds."""
ONLY = "{} only"
"""The names of the arms with one format."""


@dataclass(frozen=True)
class Settings:
    """The settings that decide all results. `weights` is the hash of the base model's weights."""

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
    """A training set: the number of complication rounds, and the answer formats."""

    rounds: int
    formats: tuple[str, ...] = FORMATS


def list_arms(settings: Settings) -> dict[str, Arm]:
    """List every training set by name; the one with mixed formats at `format_rounds` serves both questions."""
    by_rounds = {MIXED.format(number): Arm(number) for number in range(settings.rounds + 1)}
    return by_rounds | {ONLY.format(format): Arm(settings.format_rounds, (format,)) for format in FORMATS}


def hash_weights(base: Path) -> str:
    """Hash a model's weights to 12 characters. Raises `InputError` where there are none."""
    files = sorted(base.glob("*.safetensors"))
    if not files:
        raise InputError(f"{base} holds no model: run `make demo SERVE=0` first, or give --base.")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def save_settings(out: Path, settings: Settings) -> None:
    """Write the settings to `out`. Raises `InputError` if it holds results of other settings."""
    path = out / "settings.json"
    if path.exists() and json.loads(path.read_text()) != asdict(settings):
        raise InputError(f"{out} holds an experiment with other settings ({path}): give another --out, or delete it.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(settings), indent=2) + "\n")
