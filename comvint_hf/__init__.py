"""comvint_hf: from annotated images to an instruction-tuned, grounded multimodal LLM.

The front door. Every name is loaded when first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_DOORS = {
    "AnnotationLLM": "synthesis.annotator",
    "Box": "records",
    "COMVINT": "synthesis.recipes",
    "Conventions": "conventions",
    "L2TCollator": "tuning.collator",
    "LLMs": "synthesis.llm",
    "OpenAILLM": "synthesis.engine.openai_llm",
    "Prompt": "synthesis.prompt",
    "Recipe": "synthesis.recipes",
    "SVIT": "synthesis.recipes",
    "Sample": "records",
    "Scene": "records",
    "ScriptedLLM": "synthesis.llm",
    "VLIT": "synthesis.recipes",
    "attach_images": "data.attach",
    "build": "building.conductor",
    "by_image": "data.rows",
    "from_llava": "data.llava",
    "load_chat": "serving.loading",
    "load_scenes": "sources",
    "mine_templates": "tuning.templates",
    "push": "data.hub",
    "to_llava": "data.llava",
}
__all__ = list(_DOORS)

if TYPE_CHECKING:
    from comvint_hf.building.conductor import build as build
    from comvint_hf.conventions import Conventions as Conventions
    from comvint_hf.data.attach import attach_images as attach_images
    from comvint_hf.data.hub import push as push
    from comvint_hf.data.llava import from_llava as from_llava
    from comvint_hf.data.llava import to_llava as to_llava
    from comvint_hf.data.rows import by_image as by_image
    from comvint_hf.records import Box as Box
    from comvint_hf.records import Sample as Sample
    from comvint_hf.records import Scene as Scene
    from comvint_hf.serving.loading import load_chat as load_chat
    from comvint_hf.sources import load_scenes as load_scenes
    from comvint_hf.synthesis.annotator import AnnotationLLM as AnnotationLLM
    from comvint_hf.synthesis.engine.openai_llm import OpenAILLM as OpenAILLM
    from comvint_hf.synthesis.llm import LLMs as LLMs
    from comvint_hf.synthesis.llm import ScriptedLLM as ScriptedLLM
    from comvint_hf.synthesis.prompt import Prompt as Prompt
    from comvint_hf.synthesis.recipes import COMVINT as COMVINT
    from comvint_hf.synthesis.recipes import SVIT as SVIT
    from comvint_hf.synthesis.recipes import VLIT as VLIT
    from comvint_hf.synthesis.recipes import Recipe as Recipe
    from comvint_hf.tuning.collator import L2TCollator as L2TCollator
    from comvint_hf.tuning.templates import mine_templates as mine_templates


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'comvint_hf' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(f"comvint_hf.{_DOORS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
