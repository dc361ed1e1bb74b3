"""The command line: the command `comvint`, and what the scripts share with it."""

from comvint_hf.cli.build import make_dataset
from comvint_hf.cli.commands import main
from comvint_hf.cli.exit_codes import handle_errors, usage_errors
from comvint_hf.cli.options import PRIVATE_HELP, BuildCommand, Command, NameList, parse_limits, tasks_option
from comvint_hf.cli.output import print_dataset, push_folder
from comvint_hf.pipeline.options import BuildOptions

__all__ = [
    "PRIVATE_HELP",
    "BuildCommand",
    "BuildOptions",
    "Command",
    "NameList",
    "handle_errors",
    "main",
    "make_dataset",
    "parse_limits",
    "print_dataset",
    "push_folder",
    "tasks_option",
    "usage_errors",
]
