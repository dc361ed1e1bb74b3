"""What `space/deploy.py` refuses before it builds or sends anything; tests/hub deploys for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "space" / "deploy.py"


def test_a_local_model_is_refused(tmp_path) -> None:
    command = [sys.executable, str(DEPLOY), "org/space", "--model", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2 and "is a local folder, which a Space cannot read: push it first" in " ".join(done.stderr.split())
