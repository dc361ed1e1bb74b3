"""What a command line, and the YAML file that --config names, say of a tuning run: read into settings, or refused in one sentence.

A wrong name or value is said before anything is made of the others, with the place where it stands; so is a flag that would
change nothing as the others are. This file knows flags; it loads no model and no row.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from argparse import Action, ArgumentError
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from transformers.hf_argparser import string_to_bool
from trl import TrlParser
from yaml import YAMLError

from comvint_hf.errors import InputError

USAGE = (
    "%(prog)s --config FILE.yaml, or --model_name_or_path MODEL --dataset_name DATASET --output_dir DIR; all TRL flags: --help"
)
CHECKED = (int, float, string_to_bool)
"""The types that a value of a YAML file is checked for; TRL takes lists and mappings for some of the others."""


class Flags(TrlParser):
    """TRL's parser, which says what is wrong of a command line or file in one sentence. Raises `InputError`."""

    def __init__(self, kinds: Sequence[type], config: str = "") -> None:
        # A flag with a letter left out is a typo, not a short form.
        super().__init__(kinds, usage=USAGE, allow_abbrev=False)
        self._config = config

    def error(self, message: str) -> None:
        """What argparse refuses; of a flag's several names the first is told."""
        said = re.sub(r"^argument (--[^/:]+)[^:]*", r"\1", message).removesuffix(".")
        raise InputError(f"{said}; --help says what it takes.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = next((word for word in unknown if word.startswith("-")), unknown[0])
            raise InputError(f"There is no flag {flag.partition('=')[0]}{self._nearest(flag)}; --help lists all.")
        return found, unknown

    def set_defaults_with_config(self, **values: Any) -> list[str]:
        known = {action.dest: action for action in self._actions if action.nargs != 0}
        for name, value in values.items():
            if name not in known:
                raise InputError(f"{self._config} sets {name}, which is no setting{self._nearest(name)}; --help lists all.")
            values[name] = self._checked(known[name], value)
        return super().set_defaults_with_config(**values)

    def _checked(self, action: Action, value: Any) -> Any:
        """A file's value as a flag's would be. Raises `InputError`."""
        several = action.nargs == "+"
        if value is None or (action.type not in CHECKED and not action.choices and not several):
            return value
        try:
            found = [self._one(action, one) for one in (value if several and isinstance(value, list) else [value])]
        except ArgumentError as error:
            raise InputError(f"{action.dest} in {self._config}: {error.message}; --help says what it takes.") from error
        return found if several else found[0]

    def _one(self, action: Action, value: Any) -> Any:
        if value is False and "no" in (action.choices or ()):
            return "no"  # YAML takes an unquoted no for false
        found = self._get_value(action, str(value).lower() if isinstance(value, bool) else str(value))
        self._check_value(action, found)
        return found

    def _nearest(self, name: str) -> str:
        wanted = name.partition("=")[0].lstrip("-").replace("-", "_")
        near = difflib.get_close_matches(wanted, [*(action.dest for action in self._actions), "config"], n=1)
        return f" (did you mean {'--' if name.startswith('-') else ''}{near[0]}?)" if near else ""


def read_settings(*kinds: type) -> tuple[Any, ...]:
    """Read the flags, and the YAML file that --config names, into one object of each kind. Raises `InputError`."""
    words = [part for word in sys.argv[1:] for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    config = next((file for flag, file in pairwise(words) if flag == "--config"), "")
    try:
        return Flags(kinds, config).parse_args_and_config(words)
    except InputError:
        raise
    except IndexError as error:
        raise InputError("--config names no file: give the YAML file's path after it.") from error
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"The file {config} that --config names cannot be read ({why}); expected lines like `name: value`."
        ) from error
    except (ValueError, ImportError) as error:
        said = " ".join(str(error).split()).removesuffix(".")
        step = "here, without a GPU, add --use_cpu --bf16 false" if "use_cpu" in said else "mend the flag or the --config file"
        raise InputError(f"The settings cannot be used ({said}); {step}.") from error


@dataclasses.dataclass(frozen=True)
class _Need:
    """Flags that do nothing unless something else is so: what that is, and what to say where it is not.

    Those that are `harmless` only bound or name what does not happen; the others were given for something that would not come.
    """

    flags: tuple[str, ...]
    met: Callable[[SimpleNamespace], bool]
    said: str
    harmless: bool = False


_ADAPTER = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_parameters", "lora_modules_to_save")
_LABELS = "--learn says what is learnt: instruction+response, or response"
_NEEDS = (
    _Need(
        ("load_in_4bit", "load_in_8bit"),
        lambda given: given.use_peft,
        "a quantised model is trained through an adapter: add --use_peft",
    ),
    _Need((*_ADAPTER, "use_rslora", "use_dora"), lambda given: given.use_peft, "there is no adapter: add --use_peft"),
    _Need(("assistant_only_loss", "completion_only_loss"), lambda given: False, _LABELS),
    _Need(
        ("model_init_kwargs",), lambda given: False, "the model is loaded as --dtype, --attn_implementation and their like say"
    ),
    _Need(("trust_remote_code",), lambda given: False, "no code that comes with a model is run"),
    _Need(
        ("train_projector",),
        lambda given: given.use_peft,
        "a full run trains the projector anyway, and all else that --freeze does not name",
        harmless=True,
    ),
    _Need(("freeze",), lambda given: not given.use_peft, "beside an adapter the whole model is frozen", harmless=True),
    _Need(("branches",), lambda given: given.pack == "tree", "there is no --pack tree", harmless=True),
    _Need(("branches",), lambda given: not given.dataset_streaming, "a stream's rows are taken as they come", harmless=True),
    _Need(
        ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"),
        lambda given: given.load_in_4bit,
        "there is no --load_in_4bit",
        harmless=True,
    ),
    _Need(("dataset_test_split",), lambda given: given.eval_strategy != "no", "there is no --eval_strategy", harmless=True),
    _Need(("train_sampling_strategy",), lambda given: not given.alike, "--alike says in which order rows come", harmless=True),
    _Need(("truncation_mode",), lambda given: False, "no row is ever cut", harmless=True),
)


_BATCHES = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
_COUNTS = (*_BATCHES, "branches", "max_length", "min_pixels", "max_pixels")


def idle(*settings: Any) -> Iterator[str]:
    """Say in a sentence each which flags change nothing. Raises `InputError` for those that cannot have what they are for, and for
    numbers of rows, tokens or pixels below 1.
    """
    given = SimpleNamespace(**{field.name: getattr(one, field.name) for one in settings for field in dataclasses.fields(one)})
    for name in _COUNTS:
        if (number := getattr(given, name)) is not None and number < 1:
            raise InputError(f"--{name} is {number}: expected 1 or more.")
    changed = {field.name for one in settings for field in dataclasses.fields(one) if getattr(one, field.name) != _usual(field)}
    for need in _NEEDS:
        named = ", ".join(f"--{name}" for name in need.flags if name in changed)
        if not named or need.met(given):
            continue
        if not need.harmless:
            raise InputError(f"{named} cannot be used, as {need.said}.")
        yield f"{named} change{'' if ',' in named else 's'} nothing, as {need.said}."


def _usual(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
