"""What the tests of the Hub let clients do, as code for processes of their own, and what they should find."""

from pathlib import Path

from comvint_hf.dataset.reader import list_row_files, read_columns

PUSH = "import sys; from comvint_hf import push; print(push(sys.argv[1], sys.argv[2], wait=0.01, message=sys.argv[3] if sys.argv[3:] else None))"
PUSH_SMALL_PORTIONS = "from comvint_hf.hub import upload; upload.MAX_FILES = 4\n" + PUSH
IDS = """
import json, sys
from datasets import get_dataset_config_names, load_dataset
name, revision, streaming = sys.argv[1], sys.argv[2] or None, sys.argv[3] == "streaming"
found = {}
for config in {"default", "rejected"} & {*get_dataset_config_names(name, revision=revision)}:
    for split, rows in load_dataset(name, config, revision=revision, streaming=streaming).items():
        found[f"{config}/{split}"] = [row["id"] for row in rows.select_columns(["id"])]
print(json.dumps(found))
"""
HISTORY = """
import json, sys
from huggingface_hub import HfApi
api, where = HfApi(), {"repo_id": sys.argv[1], "repo_type": "dataset"}
refs = api.list_repo_refs(**where)
print(json.dumps({
    "main": [commit.commit_id for commit in api.list_repo_commits(**where)],
    "branches": [branch.name for branch in refs.branches],
    "tags": {tag.name: tag.target_commit for tag in refs.tags},
    "private": api.repo_info(**where).private,
}))
"""


def ids(folder: Path) -> dict[str, list[str]]:
    """The ids of a folder's rows by config and split, read without datasets."""
    found = {}
    for config in ("default", "rejected"):
        for split in ("train", "test"):
            if paths := list_row_files(folder, config, split):
                found[f"{config}/{split}"] = [row["id"] for path in paths for row in read_columns(path, ["id"])]
    return found
