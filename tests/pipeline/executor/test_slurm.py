"""Slurm: the scripts are written as Slurm wants them, and what they run is the build, on a stand-in for Slurm.

No Slurm was there to try them on: `sbatch` here is a script that notes how it was called and runs each element of the array.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from builders.wired import BUILDERS, contents, rehearse
from endpoint.server import Endpoint, serve

from builders import wired

pytest.importorskip("datatrove", reason="Slurm's scripts are datatrove's: pip install '.[scale]'")
pytestmark = pytest.mark.timeout(wired.PATIENCE)
SBATCH = r"""#!/bin/bash
echo "$@" >> "$SLURM_NOTES"
script="${@: -1}"
last=$(grep -oP '(?<=--array=0-)\d+' "$script")
for number in $(seq 0 "$last"); do
  SLURM_ARRAY_TASK_ID=$number SLURM_JOB_ID=7 SLURM_NODELIST=here bash "$script" >> "$SLURM_NOTES.log" 2>&1 || exit 1
done
echo "Submitted batch job $(wc -l < "$SLURM_NOTES")"
"""
SRUN = """#!/bin/bash
while [ "${1:0:1}" = - ]; do [ "$1" = -n ] && shift; shift; done
exec "$@"
"""
SETTINGS = ("--executor-set", "partition=cpu", "--executor-set", "time=1:00:00", "--executor-set", "sbatch_args=account=me")


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """An environment with a stand-in for Slurm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scontrol": "#!/bin/bash\necho here\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_NOTES": str(tmp_path / "notes")}


def svit(out: Path, *more: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BUILDERS / "svit.py"), "--out", str(out), "--shard-scenes", "4", *map(str, more)]
    environment = {**os.environ, "OPENAI_API_KEY": "local", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def directives(script: Path) -> dict[str, str]:
    lines = (line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH"))
    return dict(line.partition("=")[::2] for line in lines)


def test_without_slurm_the_scripts_are_written_and_the_way_to_submit_them_is_said(tmp_path) -> None:
    done = svit(tmp_path / "set", "--scenes", "shapes:9", "--executor", "slurm", "--num-workers", 40, *SETTINGS)
    assert done.returncode == 0 and "There is no sbatch here" in done.stdout and "--dependency=afterok:NUMBER" in done.stdout
    tasks, finish = (tmp_path / "set/.build/executor" / part / "launch_script.slurm" for part in ("tasks", "finish"))
    asked = directives(tasks)
    assert (asked["array"], asked["partition"], asked["time"], asked["account"]) == ("0-39", "cpu", "1:00:00", "me")
    assert directives(finish)["array"] == "0-0" and directives(finish)["job-name"] == "comvint-finish"
    for script in (tasks, finish):
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
        assert f"launch_pickled_pipeline {script.parent / 'executor.pik'}" in script.read_text()


def test_what_slurm_needs_and_does_not_know_is_said(tmp_path) -> None:
    done = svit(tmp_path / "set", "--scenes", "shapes:9", "--executor", "slurm", "--num-workers", 4)
    assert done.returncode == 1 and "needs --executor-set time=... and --executor-set partition=..." in done.stderr
    done = svit(tmp_path / "set", "--scenes", "shapes:9", "--executor", "slurm", *SETTINGS, "--executor-set", "speed=9")
    assert done.returncode == 1 and "--executor-set speed=9: expected NAME=VALUE, where the names of slurm are " in done.stderr


def test_what_the_scripts_run_builds_the_dataset_and_merges_the_replies(slurm, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearse("shapes:10").answer)
    with serve(endpoint) as url:
        asked = ("--scenes", "shapes:10", "--llm", "toy-model", "--base-url", url)
        assert svit(tmp_path / "one" / "set", *asked).returncode == 0
        paid = endpoint.paid.copy()
        out = tmp_path / "many" / "set"
        done = svit(out, *asked, "--executor", "slurm", "--num-workers", 2, *SETTINGS, **slurm)
        assert done.returncode == 0, done.stderr + Path(f"{slurm['SLURM_NOTES']}.log").read_text()[-3000:]
        again = svit(tmp_path / "three" / "set", *asked, "--cache", out / ".build/replies.sqlite")
    assert contents(out) == contents(tmp_path / "one" / "set") == contents(tmp_path / "three" / "set")
    assert endpoint.paid.total() == 2 * paid.total(), "the workers pay for what nobody knew, and what they paid for is known"
    assert again.returncode == 0 and "toy-model: 0 requests, " in again.stdout
    first, last = Path(slurm["SLURM_NOTES"]).read_text().splitlines()
    assert "--dependency=afterok:1" in last and "dependency" not in first
    assert "Slurm has the 2 workers as job 1; job 2 finishes the dataset after them." in done.stdout
    assert [path.name for path in (out / ".build" / "replies").iterdir()] == [], "the workers' caches have become one"


def test_each_task_has_a_server_of_its_own_and_the_pilot_one_here(slurm, tmp_path) -> None:
    served = Path(__file__).parents[2] / "endpoint" / "served.py"
    command = f"{sys.executable} {served} --port {{port}} --state {tmp_path / 'starts'} --requests {tmp_path / 'requests'}"
    out = tmp_path / "set"
    asked = ("--scenes", "shapes:8", "--llm", "toy-model", "--serve", command, "--tasks", "conversation", "--pilot", 1, "--yes")
    done = svit(out, *asked, "--executor", "slurm", "--num-workers", 2, *SETTINGS, **slurm)
    assert done.returncode == 0, done.stderr + Path(f"{slurm['SLURM_NOTES']}.log").read_text()[-3000:]
    assert (tmp_path / "starts").read_text() == "3", "the job that finishes the dataset asks nobody"
    assert len(set((tmp_path / "requests").read_text().split())) == 3
    assert {path.name for path in (out / ".build").glob("*.log")} == {"server.log", "server-00000.log", "server-00001.log"}
    assert "24 rows of 8 images" in (out / "README.md").read_text()


def test_the_scripts_find_a_recipe_of_the_folder_in_which_they_were_submitted(slurm, tmp_path) -> None:
    (tmp_path / "my_recipe.py").write_text(
        "from comvint_hf import Recipe\n\n\nasync def ask(sample, llms):\n"
        '    return [sample.write([("What is there?", "A shape.")], task="conversation")]\n\n\nMINE = Recipe("mine", (ask,), {})\n'
    )
    command = [str(Path(sys.executable).parent / "comvint"), "build", "--recipe", "my_recipe:MINE", "--scenes", "shapes:6"]
    command += ["--out", "set", "--shard-scenes", "2", "--executor", "slurm", "--num-workers", "2", *SETTINGS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **slurm})
    assert done.returncode == 0, done.stderr + Path(f"{slurm['SLURM_NOTES']}.log").read_text()[-3000:]
    assert "6 rows of 6 images" in (tmp_path / "set" / "README.md").read_text()
