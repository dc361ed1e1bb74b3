"""The command line: the command `comvint`, and what the scripts share with it. Each name is imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_MODULES = {
    "PRIVATE_HELP": "cli.options",
    "BuildCommand": "cli.options",
    "BuildOptions": "pipeline.options",
    "Command": "cli.options",
    "NameList": "cli.options",
    "handle_errors": "cli.exit_codes",
    "main": "cli.commands",
    "make_dataset": "cli.build",
    "parse_limits": "cli.options",
    "print_dataset": "cli.output",
    "push_folder": "cli.output",
    "remote_chat_options": "cli.options",
    "tasks_option": "cli.options",
    "usage_errors": "cli.exit_codes",
}
__all__ = list(_MODULES)

if TYPE_CHECKING:
    from comvint_hf.cli.build import make_dataset as make_dataset
    from comvint_hf.cli.commands import main as main
    from comvint_hf.cli.exit_codes import handle_errors as handle_errors
    from comvint_hf.cli.exit_codes import usage_errors as usage_errors
    from comvint_hf.cli.options import PRIVATE_HELP as PRIVATE_HELP
    from comvint_hf.cli.options import BuildCommand as BuildCommand
    from comvint_hf.cli.options import Command as Command
    from comvint_hf.cli.options import NameList as NameList
    from comvint_hf.cli.options import parse_limits as parse_limits
    from comvint_hf.cli.options import remote_chat_options as remote_chat_options
    from comvint_hf.cli.options import tasks_option as tasks_option
    from comvint_hf.cli.output import print_dataset as print_dataset
    from comvint_hf.cli.output import push_folder as push_folder
    from comvint_hf.pipeline.options import BuildOptions as BuildOptions


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'comvint_hf.cli' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"comvint_hf.{_MODULES[name]}"), name)
