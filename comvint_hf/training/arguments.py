"""The flags of `train/sft.py`, and the YAML file of --config, read into dataclasses as TRL does.

A wrong name or value is reported in one sentence, with its place, before anything else is done; so is a flag that would change
nothing. This module knows flags; it loads no model and no row.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from argparse import Action, ArgumentDefaultsHelpFormatter, ArgumentError
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Literal, NoReturn

from transformers.hf_argparser import string_to_bool
from trl import SFTConfig, TrlParser
from yaml import YAMLError

from comvint_hf.box_formats import BOX_FORMATS
from comvint_hf.errors import InputError

USAGE = "%(prog)s --config FILE.yaml\n       %(prog)s --model_name_or_path MODEL --dataset_name DATASET --output_dir DIR [flags]"
DESCRIPTION = "Tune a multimodal model with TRL's trainer. First the flags of this package, then those of TRL and transformers."
CHECKED_TYPES = (int, float, string_to_bool)
"""The types for which a value of a YAML file is checked; TRL accepts lists and mappings for some of the others."""


def _flag(default: Any, help: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"help": help, **metadata})


@dataclass
class L2TConfig(SFTConfig):
    """TRL's SFTConfig with two other defaults: TRL's own would cut multimodal rows or drop their images."""

    max_length: int | None = _flag(None, "Leave out rows of more tokens; rows are never cut.")
    remove_unused_columns: bool = _flag(False, "Keep False: the collator reads more columns than TRL.")


@dataclass
class L2TArguments:
    """The flags that TRL does not have."""

    _argument_group_name = "comvint_hf: rows, loss and packing"

    learn: Literal["instruction+response", "response"] = _flag(
        "instruction+response",
        "Tokens that carry loss: instruction+response (L2T), or response (VIT, TRL's assistant_only_loss).",
    )
    templates: str = _flag(
        "mine",
        'Task sentences that carry no loss ("Answer with one word."): mine finds them in the rows, none has none, else a file with '
        "one per line.",
    )
    boxes: str = _flag(
        "family",
        "The format in which boxes are trained: family takes that of the model's family.",
        choices=["family", *BOX_FORMATS],
    )
    images: str | None = _flag(None, "Folder or Hub repository of images, for rows that hold none.")
    text_only: bool = _flag(False, "Train on rows whose image is missing, on purpose.")
    pack: Literal["tree"] | None = _flag(
        None,
        "tree: pack the rows of one image into one sequence, so that the image is encoded once. Loss and gradients of a batch equal "
        "those of its rows one by one, but a batch is then of images: --per_device_train_batch_size counts images, all rows of an "
        "image are trained in the same step, and steps differ in their number of rows. Gradients are noisier than those of as many "
        "rows of different images; use several images per step (batch size or --gradient_accumulation_steps).",
    )
    branches: int = _flag(
        64, "With --pack tree, the maximum number of rows per sequence; an image with more takes several sequences."
    )
    alike: bool = _flag(False, "Group rows (or trees) of similar length into batches; the batches come in random order.")
    skip_bad_rows: bool = _flag(
        True,
        "Leave rows that cannot be trained on (broken image, more than --max_length tokens, a box cropped away) out of their batch, "
        "and print their number by reason at the end. With false the first such row ends the run.",
    )
    min_pixels: int | None = _flag(None, "Enlarge smaller images to this many pixels; serving will too.")
    max_pixels: int | None = _flag(None, "Shrink larger images to this many pixels; serving will too.")
    train_projector: bool = _flag(
        False, "With --use_peft, also train the projector between vision tower and language model, and save it whole."
    )
    freeze: list[str] = field(
        default_factory=lambda: ["family"],
        metadata={"help": "Modules that a full run does not train; family: the vision tower, as far as the projector."},
    )
    traceback: bool = _flag(False, "Show the whole error where memory was short.")


class _HelpFormatter(ArgumentDefaultsHelpFormatter):
    """Shows one spelling of each flag: TRL accepts --max-steps for --max_steps."""

    def _format_action_invocation(self, action: Action) -> str:
        flag = next(name for name in action.option_strings if name.startswith("--"))
        return f"{flag} {self._format_args(action, action.dest.upper())}" if action.nargs != 0 else flag


class StrictTrlParser(TrlParser):
    """TRL's parser with the error messages and the help of this package. Raises `InputError`."""

    def __init__(self, dataclass_types: tuple[Any, ...], config: str = "") -> None:
        # A flag with a letter left out is a typo, not a short form.
        super().__init__(
            dataclass_types, usage=USAGE, description=DESCRIPTION, allow_abbrev=False, formatter_class=_HelpFormatter
        )
        self._config = config

    def format_help(self) -> str:
        """Put the flags of this package first, then those of TRL and transformers."""
        groups = self._action_groups
        self._action_groups = sorted(groups, key=lambda group: group.title == "options")
        try:
            return super().format_help()
        finally:
            self._action_groups = groups

    def error(self, message: str) -> NoReturn:
        """Raise argparse's message; of a flag's several spellings the first is named."""
        message = re.sub(r"^argument (--[^/:]+)[^:]*", r"\1", message).removesuffix(".")
        raise InputError(f"{message}; see --help for its values.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = next((word for word in unknown if word.startswith("-")), unknown[0])
            raise InputError(f"There is no flag {flag.partition('=')[0]}{self._suggest(flag)}; --help lists all.")
        return found, unknown

    def set_defaults_with_config(self, **values: Any) -> list[str]:
        known = {action.dest: action for action in self._actions if action.nargs != 0}
        for name, value in values.items():
            if name not in known:
                raise InputError(f"{self._config} sets {name}, which is no setting{self._suggest(name)}; --help lists all.")
            values[name] = self._check_config_value(known[name], value)
        return super().set_defaults_with_config(**values)

    def _check_config_value(self, action: Action, value: Any) -> Any:
        """Convert a file's value as a flag's would be. Raises `InputError`."""
        is_list = action.nargs == "+"
        if value is None or (action.type not in CHECKED_TYPES and not action.choices and not is_list):
            return value
        try:
            found = [self._convert(action, item) for item in (value if is_list and isinstance(value, list) else [value])]
        except ArgumentError as error:
            raise InputError(f"{action.dest} in {self._config}: {error.message}; see --help for its values.") from error
        return found if is_list else found[0]

    def _convert(self, action: Action, value: Any) -> Any:
        if value is False and "no" in (action.choices or ()):
            return "no"  # YAML reads an unquoted no as false
        found = self._get_value(action, str(value).lower() if isinstance(value, bool) else str(value))
        self._check_value(action, found)
        return found

    def _suggest(self, name: str) -> str:
        wanted = name.partition("=")[0].lstrip("-").replace("-", "_")
        close = difflib.get_close_matches(wanted, [*(action.dest for action in self._actions), "config"], n=1)
        return f" (did you mean {'--' if name.startswith('-') else ''}{close[0]}?)" if close else ""


def parse_args(*dataclass_types: Any) -> tuple[Any, ...]:
    """Read the flags, and the YAML file of --config, into one object of each dataclass. Raises `InputError`."""
    words = [part for word in sys.argv[1:] for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    config = next((file for flag, file in pairwise(words) if flag == "--config"), "")
    try:
        return StrictTrlParser(dataclass_types, config).parse_args_and_config(words)
    except InputError:
        raise
    except IndexError as error:
        raise InputError("--config names no file: give the YAML file's path after it.") from error
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"The --config file {config} cannot be read ({reason}); expected lines like `name: value`.") from error
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split()).removesuffix(".")
        step = (
            "here, without a GPU, add --use_cpu --bf16 false" if "use_cpu" in reason else "correct the flag or the --config file"
        )
        raise InputError(f"The settings cannot be used ({reason}); {step}.") from error


@dataclass(frozen=True)
class _Requirement:
    """Flags that do nothing unless a condition holds, and the reason to print where it does not.

    `harmless` flags only bound or name something that does not happen; the others were given for an effect that would not come.
    """

    flags: tuple[str, ...]
    is_met: Callable[[SimpleNamespace], bool]
    reason: str
    harmless: bool = False


_ADAPTER = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_parameters", "lora_modules_to_save")
_NF4 = ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage")
_USES_PEFT = attrgetter("use_peft")
_LEARN = "--learn decides which tokens carry loss: instruction+response, or response"
_LOADING = "the model is loaded with --dtype, --attn_implementation and the like"
_FULL_RUN = "a full run trains the projector anyway, and everything else that --freeze does not name"
_REQUIREMENTS = (
    _Requirement(("load_in_4bit", "load_in_8bit"), _USES_PEFT, "a quantised model is trained through an adapter: add --use_peft"),
    _Requirement((*_ADAPTER, "use_rslora", "use_dora"), _USES_PEFT, "there is no adapter: add --use_peft"),
    _Requirement(("assistant_only_loss", "completion_only_loss"), lambda args: False, _LEARN),
    _Requirement(("model_init_kwargs",), lambda args: False, _LOADING),
    _Requirement(("trust_remote_code",), lambda args: False, "code from a model's repository is never run"),
    _Requirement(("train_projector",), _USES_PEFT, _FULL_RUN, harmless=True),
    _Requirement(("freeze",), lambda args: not args.use_peft, "beside an adapter the whole model is frozen", harmless=True),
    _Requirement(("branches",), lambda args: args.pack == "tree", "there is no --pack tree", harmless=True),
    _Requirement(("branches",), lambda args: not args.dataset_streaming, "a stream's rows are not grouped", harmless=True),
    _Requirement(_NF4, lambda args: args.load_in_4bit, "there is no --load_in_4bit", harmless=True),
    _Requirement(("dataset_test_split",), lambda args: args.eval_strategy != "no", "there is no --eval_strategy", harmless=True),
    _Requirement(("train_sampling_strategy",), lambda args: not args.alike, "--alike decides the order of rows", harmless=True),
    _Requirement(("truncation_mode",), lambda args: False, "rows are never cut", harmless=True),
)
_BATCH_SIZES = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
_COUNTS = (*_BATCH_SIZES, "branches", "max_length", "min_pixels", "max_pixels")


def find_unused_flags(*settings: Any) -> Iterator[str]:
    """Yield a sentence for each flag that changes nothing.

    Raises `InputError` for a flag that cannot have its effect, and for numbers of rows, tokens or pixels below 1.
    """
    fields = [(group, item) for group in settings for item in dataclasses.fields(group)]
    args = SimpleNamespace(**{item.name: getattr(group, item.name) for group, item in fields})
    for name in _COUNTS:
        if (number := getattr(args, name)) is not None and number < 1:
            raise InputError(f"--{name} is {number}: expected 1 or more.")
    changed = {item.name for group, item in fields if getattr(group, item.name) != _get_default(item)}
    for requirement in _REQUIREMENTS:
        flags = ", ".join(f"--{name}" for name in requirement.flags if name in changed)
        if not flags or requirement.is_met(args):
            continue
        if not requirement.harmless:
            raise InputError(f"{flags} cannot be used, as {requirement.reason}.")
        yield f"{flags} change{'' if ',' in flags else 's'} nothing, as {requirement.reason}."


def _get_default(item: dataclasses.Field) -> Any:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
