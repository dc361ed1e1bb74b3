"""Hugging Face Jobs: what would be sent to the Hub is what it takes, and what the Jobs would run builds the dataset.

No Job was run on the Hub: a stand-in takes each Job and runs it here, in the place of a machine without a common disk.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders.wired import contents

from comvint_hf.cli import make_dataset
from comvint_hf.errors import InputError
from comvint_hf.generation.recipes.svit import svit
from comvint_hf.pipeline import distributed
from comvint_hf.pipeline.options import BuildOptions
from comvint_hf.pipeline.storage import RemoteFolder

PACKAGE = "comvint-hf[scale] @ git+https://example.org/comvint"


def options(out: Path, **more) -> BuildOptions:
    return BuildOptions("shapes:10", out, shard_scenes=3, **more)


@pytest.fixture
def hub(monkeypatch) -> list[dict]:
    """A stand-in for the Hub's Jobs, which notes what it is given and runs it in this process."""
    pytest.importorskip("datatrove", reason="Jobs are launched by datatrove: pip install '.[scale]'")
    import dill
    import huggingface_hub
    from datatrove.io import open_file

    given: list[dict] = []

    def run_uv_job(script: str, *, script_args: list[str], env: dict, **more):
        given.append({"script": script, "script_args": script_args, "env": env, **more})
        with monkeypatch.context() as job:
            for name, value in env.items():
                job.setenv(name, value)
            with open_file(script_args[0], "rb") as file:
                dill.load(file).run()
        return SimpleNamespace(id=str(len(given)), url="")

    def inspect_job(**_):
        return SimpleNamespace(status=SimpleNamespace(stage="COMPLETED"))

    monkeypatch.setattr(huggingface_hub, "run_uv_job", run_uv_job)
    monkeypatch.setattr(huggingface_hub, "inspect_job", inspect_job)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_toy")
    return given


def test_the_jobs_build_the_dataset_and_upload_it(hub, tmp_path) -> None:
    make_dataset(svit(), options(tmp_path / "one" / "set"))
    settings = ("logging_dir=memory://toys/one", f"dependencies={PACKAGE}", "flavor=cpu-upgrade", "timeout=2h", "poll_interval=0")
    for workers in (3, 2):
        make_dataset(svit(), options(tmp_path / "many" / "set", executor="jobs", num_workers=workers, executor_set=settings))
    assert contents(tmp_path / "many" / "set") == contents(tmp_path / "one" / "set")
    assert len(hub) == 5 and {job["flavor"] for job in hub} == {"cpu-upgrade"} and {job["timeout"] for job in hub} == {"2h"}
    first = hub[0]
    assert Path(first["script"]).name == "launch_pickled_pipeline.py" and first["dependencies"] == [PACKAGE]
    assert first["python"] == f"{sys.version_info.major}.{sys.version_info.minor}" and first["secrets"] == {"HF_TOKEN": "hf_toy"}
    assert [job["env"]["DATATROVE_JOB_ARRAY_INDEX"] for job in hub] == ["0", "1", "2", "0", "1"]


def test_a_key_goes_to_the_jobs_as_a_secret_and_into_no_file(hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    settings = ("logging_dir=memory://toys/two", f"dependencies={PACKAGE}", "poll_interval=0")
    make_dataset(svit(("referring_qa",)), options(tmp_path / "set", executor="jobs", num_workers=1, executor_set=settings))
    assert hub[0]["secrets"]["OPENAI_API_KEY"] == "sk-very-secret"
    remote = RemoteFolder("memory://toys/two")
    for name in ("executor.pik", "executor.json"):
        assert b"sk-very-secret" not in remote._files.cat_file(f"{remote._root}/{name}")


def test_another_datasets_folder_is_refused_and_so_is_none(hub, tmp_path) -> None:
    settings = ("logging_dir=memory://toys/three", f"dependencies={PACKAGE}", "poll_interval=0")
    make_dataset(svit(("referring_qa",)), options(tmp_path / "set", executor="jobs", executor_set=settings))
    with pytest.raises(InputError, match="memory://toys/three holds the shards of another dataset"):
        make_dataset(svit(("conversation",)), options(tmp_path / "two", executor="jobs", executor_set=settings))
    with pytest.raises(InputError, match="--executor-set logging_dir=hf://buckets/ORG/NAME/FOLDER"):
        make_dataset(svit(), options(tmp_path / "three", executor="jobs", num_workers=2))


def test_a_remote_folder_exchanges_whole_shards_and_no_other(tmp_path) -> None:
    make_dataset(svit(("referring_qa",)), options(tmp_path / "set"))
    remote = RemoteFolder(f"file://{tmp_path / 'remote'}")
    assert remote.finished_shards() == frozenset() and remote.list_files(distributed.REPLIES) == []
    for number in (0, 2):
        remote.upload_shard(tmp_path / "set", number)
    os.unlink(next((tmp_path / "remote").glob("data/*/*-00002.parquet")))
    os.unlink(tmp_path / "remote" / ".build" / "00002.json")
    assert remote.finished_shards() == {0}
    remote.download_shards(tmp_path / "home")
    taken = {str(path.relative_to(tmp_path / "home")) for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert taken and all("00000." in name for name in taken)
    assert all((tmp_path / "home" / name).read_bytes() == (tmp_path / "set" / name).read_bytes() for name in taken)
