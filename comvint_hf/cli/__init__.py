"""The command line: the command `comvint`, and what the scripts share with it.

Scripts take from here; the work is done by the rooms behind.
"""

from comvint_hf.building.options import BuildOptions
from comvint_hf.cli.commands import main
from comvint_hf.cli.endings import calm, wrong_use
from comvint_hf.cli.flags import PRIVATE, build_options
from comvint_hf.cli.forms import Several, limits
from comvint_hf.cli.pushing import push_folder
from comvint_hf.cli.running import make_dataset
from comvint_hf.cli.showing import show, tell_of_photos

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
