"""From annotated images to an instruction-tuned, grounded multimodal LLM.

The public names of the package. Each is imported when it is first used, so importing the package is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from comvint_hf import _deprecated

__version__ = "0.2.0"

_MODULES = {
    "AnnotationLLM": "annotator",
    "Box": "types",
    "COMVINT": "generation.recipes.comvint",
    "Conventions": "conventions",
    "L2TCollator": "training.collator",
    "LLMs": "generation.llm",
    "Licence": "registry",
    "Object": "types",
    "OpenAILLM": "generation.client.openai_llm",
    "Prompt": "generation.prompt",
    "Recipe": "generation.recipe",
    "Relation": "types",
    "Reply": "generation.llm",
    "SVIT": "generation.recipes.svit",
    "Sample": "types",
    "Scene": "types",
    "ScriptedLLM": "generation.llm",
    "Traits": "registry",
    "VLIT": "generation.recipes.vlit",
    "attach_images": "dataset.attach_images",
    "benchmark": "registry",
    "build": "pipeline.build",
    "by_image": "dataset.schema",
    "comvint": "generation.recipes.comvint",
    "from_llava": "dataset.llava",
    "from_svit": "dataset.svit_json",
    "load_chat": "serving.loading",
    "load_scenes": "sources",
    "measure": "registry",
    "mine_templates": "training.task_templates",
    "push": "hub.push",
    "recipe": "registry",
    "source": "registry",
    "stage": "generation.stage",
    "svit": "generation.recipes.svit",
    "to_llava": "dataset.llava",
    "vlit": "generation.recipes.vlit",
}
__all__ = list(_MODULES)

if TYPE_CHECKING:
    from comvint_hf.annotator import AnnotationLLM as AnnotationLLM
    from comvint_hf.conventions import Conventions as Conventions
    from comvint_hf.dataset.attach_images import attach_images as attach_images
    from comvint_hf.dataset.llava import from_llava as from_llava
    from comvint_hf.dataset.llava import to_llava as to_llava
    from comvint_hf.dataset.schema import by_image as by_image
    from comvint_hf.dataset.svit_json import from_svit as from_svit
    from comvint_hf.generation.client.openai_llm import OpenAILLM as OpenAILLM
    from comvint_hf.generation.llm import LLMs as LLMs
    from comvint_hf.generation.llm import Reply as Reply
    from comvint_hf.generation.llm import ScriptedLLM as ScriptedLLM
    from comvint_hf.generation.prompt import Prompt as Prompt
    from comvint_hf.generation.recipe import Recipe as Recipe
    from comvint_hf.generation.recipes.comvint import COMVINT as COMVINT
    from comvint_hf.generation.recipes.comvint import comvint as comvint
    from comvint_hf.generation.recipes.svit import SVIT as SVIT
    from comvint_hf.generation.recipes.svit import svit as svit
    from comvint_hf.generation.recipes.vlit import VLIT as VLIT
    from comvint_hf.generation.recipes.vlit import vlit as vlit
    from comvint_hf.generation.stage import stage as stage
    from comvint_hf.hub.push import push as push
    from comvint_hf.pipeline.build import build as build
    from comvint_hf.registry import Licence as Licence
    from comvint_hf.registry import Traits as Traits
    from comvint_hf.registry import benchmark as benchmark
    from comvint_hf.registry import measure as measure
    from comvint_hf.registry import recipe as recipe
    from comvint_hf.registry import source as source
    from comvint_hf.serving.loading import load_chat as load_chat
    from comvint_hf.sources import load_scenes as load_scenes
    from comvint_hf.training.collator import L2TCollator as L2TCollator
    from comvint_hf.training.task_templates import mine_templates as mine_templates
    from comvint_hf.types import Box as Box
    from comvint_hf.types import Object as Object
    from comvint_hf.types import Relation as Relation
    from comvint_hf.types import Sample as Sample
    from comvint_hf.types import Scene as Scene


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'comvint_hf' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"comvint_hf.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


_deprecated.install()
