"""Asks an endpoint what it serves: the names of its models, and the length of their context."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import LIMITS, bounded_int, clean_text, parse_json, redact

_CONTEXTS = ("max_model_len", "context_length", "context_window", "max_context_length", "max_context_len", "max_seq_len", "n_ctx")
_MOST_NAMED = 6


def models_url(url: str) -> str:
    """The address of the list of models."""
    return f"{url}/models"


def props_url(url: str) -> str:
    """The address at which llama.cpp tells its settings."""
    return f"{url.removesuffix('/v1')}/props"


def read_models(content: bytes) -> list[dict[str, Any]]:
    """The models of a list, [] for an answer that is none."""
    try:
        listed = parse_json(content, what="The list of models", max_bytes=LIMITS.reply_bytes, allow_non_finite=True)
    except InputError:
        return []
    listed = listed.get("data", listed.get("models")) if isinstance(listed, dict) else listed
    return [model for model in listed if isinstance(model, dict)] if isinstance(listed, list) else []


def find_context(models: list[dict[str, Any]], name: str) -> int | None:
    """The context length that a list gives for a model, or for the only one that it holds."""
    own = [model for model in models if model.get("id") == name] or (models if len(models) == 1 else [])
    return next((found for model in own for found in _contexts(model)), None)


def read_props(content: bytes) -> int | None:
    """The tokens of one slot's context in llama.cpp's settings."""
    try:
        props = parse_json(content, what="The settings", max_bytes=LIMITS.reply_bytes, allow_non_finite=True)
    except InputError:
        return None
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    return next(_contexts(settings), None) if isinstance(settings, dict) else None


def _contexts(node: dict[str, Any]) -> Iterator[int]:
    for name in _CONTEXTS:
        if (found := bounded_int(node.get(name), 64, 10**9)) is not None:
            yield found


def name_models(models: list[dict[str, Any]], wanted: str) -> str:
    """A sentence that names what an endpoint serves, the names most like the wanted one first; "" for an empty list.

    >>> name_models([{"id": "llama-3"}, {"id": "qwen"}], "lama-3")
    ' It serves llama-3, qwen.'
    """
    names = [redact(clean_text(str(model.get("id") or model.get("name")), 100)) for model in models[:5000]]
    if not names:
        return ""
    close = difflib.get_close_matches(wanted, names, n=_MOST_NAMED, cutoff=0.4)
    ordered = list(dict.fromkeys([*close, *names]))
    more = f" and {len(ordered) - _MOST_NAMED:,} others" if len(ordered) > _MOST_NAMED else ""
    return f" It serves {', '.join(ordered[:_MOST_NAMED])}{more}."
