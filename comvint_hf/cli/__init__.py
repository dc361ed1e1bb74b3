"""The command line: the command `comvint`, and what the scripts share with it.

Scripts take from here; the work is done by the rooms behind.
"""

from comvint_hf.cli.build import make_dataset
from comvint_hf.cli.commands import main
from comvint_hf.cli.exit_codes import calm, wrong_use
from comvint_hf.cli.options import PRIVATE, build_options
from comvint_hf.cli.output import show, tell_of_photos
from comvint_hf.cli.param_types import Several, limits
from comvint_hf.cli.push import push_folder
from comvint_hf.pipeline.options import BuildOptions

__all__ = [
    "PRIVATE",
    "BuildOptions",
    "Several",
    "build_options",
    "calm",
    "limits",
    "main",
    "make_dataset",
    "push_folder",
    "show",
    "tell_of_photos",
    "wrong_use",
]
