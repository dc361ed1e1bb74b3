"""Pushing to a Hub and reading back, with unmodified clients in other processes."""

import json
from pathlib import Path

import pytest
from hub.conftest import PATIENCE
from hub.reading import HISTORY, IDS, PUSH, ids

from comvint_hf.hub.push import version_tag

LOAD = """
import json, sys
from datasets import get_dataset_config_names, load_dataset
name, revision = sys.argv[1], (sys.argv[2:] or [None])[0]
found = {}
for config in get_dataset_config_names(name, revision=revision):
    plain = load_dataset(name, config, revision=revision)
    found[config] = {split: plain[split]["id"][:] for split in plain}
    for split in plain:
        stream = load_dataset(name, config, split=split, revision=revision, streaming=True)
        streamed = [row["id"] for row in stream.select_columns(["id"])]
        assert streamed == found[config][split], (config, split)
first = load_dataset(name, revision=revision)["train"][0]
print(json.dumps({"ids": found, "size": first["images"][0].size, "messages": first["messages"]}))
"""


def commits(client, name: str) -> int:
    return len(json.loads(client(HISTORY, name))["main"])


def test_push_then_load_plain_streaming_and_by_revision(hub, client, toy_dataset) -> None:
    first, second = toy_dataset(scenes=12), toy_dataset(scenes=30)
    address = client(PUSH, str(first), "tester/whole").strip()
    assert address.startswith(f"{hub.url}/datasets/tester/whole/commit/")
    assert commits(client, "tester/whole") == 2
    here = json.loads(client(LOAD, str(first)))
    assert json.loads(client(LOAD, "tester/whole")) == here
    client(PUSH, str(second), "tester/whole")
    assert commits(client, "tester/whole") == 3
    assert json.loads(client(IDS, "tester/whole", "", "plain")) == ids(second)
    assert json.loads(client(IDS, "tester/whole", version_tag(first), "plain")) == ids(first)


def test_the_card_on_the_hub_says_how_to_load_it_there(client, toy_dataset) -> None:
    """The commands that it shows are run as they stand."""
    folder = toy_dataset(scenes=12, images="table")
    client(PUSH, str(folder), "tester/shown")
    code = """
import re, sys
from huggingface_hub import DatasetCard
card, place = sys.argv[1:]
(commands,) = re.findall("```python\\n(.*?)```", DatasetCard.load(card).text, re.DOTALL)
exec(commands.replace("FOLDER", place))
print(commands)
print(dataset["train"][0]["images"][0].size)
"""
    told = client(code, "tester/shown", "nowhere")
    assert told.count('"tester/shown"') >= 4 and "this folder" not in told
    assert told.strip().endswith("(96, 96)")
    here = client(code, str(folder / "README.md"), str(folder))
    assert 'load_dataset("FOLDER")    # the path of this folder' in here and here.strip().endswith("(96, 96)")


def test_a_card_is_called_after_its_repository_and_never_after_a_folder(client, toy_dataset) -> None:
    folder = toy_dataset(scenes=12)
    client(PUSH, str(folder), "tester/123")
    shown = "from huggingface_hub import DatasetCard; card = DatasetCard.load('tester/123'); print(repr(card.data.pretty_name), card.content)"
    told = client(shown)
    assert told.startswith("'123' ") and "\n# tester/123\n" in told
    assert folder.name not in told and folder.name not in (folder / "README.md").read_text()


def test_a_push_deletes_what_the_folder_no_longer_has_and_leaves_strangers_alone(hub, client, toy_dataset) -> None:
    large, small = toy_dataset(scenes=30), toy_dataset(scenes=12)
    client(PUSH, str(large), "tester/shrinks")
    client(
        "from huggingface_hub import HfApi; HfApi().upload_file(path_or_fileobj=b'x', path_in_repo='notes.txt', "
        "repo_id='tester/shrinks', repo_type='dataset')"
    )
    client(PUSH, str(small), "tester/shrinks")
    listing = "import json; from huggingface_hub import HfApi; print(json.dumps(HfApi().list_repo_files('tester/shrinks', repo_type='dataset')))"
    files = json.loads(client(listing))
    assert sorted(name for name in files if name.endswith(".parquet")) == sorted(
        json.loads((small / "build.json").read_text())["files"]
    )
    assert "notes.txt" in files


def test_pushing_again_uploads_nothing_and_commits_nothing(hub, client, toy_dataset) -> None:
    folder = toy_dataset(scenes=12)
    client(PUSH, str(folder), "tester/again")
    hub.forget()
    client(PUSH, str(folder), "tester/again")
    assert hub.log().get("lfs put", 0) == 0
    assert commits(client, "tester/again") == 2


def test_a_grown_set_sends_its_new_shard_alone(hub, client, toy_dataset) -> None:
    small, grown = (toy_dataset(scenes=scenes, images="table") for scenes in (30, 31))
    client(PUSH, str(small), "tester/grown")
    hub.forget()
    client(PUSH, str(grown), "tester/grown")
    new = [name for name in json.loads((grown / "build.json").read_text())["files"] if name.endswith("-00003.parquet")]
    assert hub.log()["lfs put"] == len(new) > 1
    assert hub.log()["lfs bytes"] == sum((grown / name).stat().st_size for name in new)
    assert json.loads(client(IDS, "tester/grown", "", "streaming")) == ids(grown)


def test_somebody_elses_commit_in_between_is_built_upon(hub, client, toy_dataset) -> None:
    code = """
import sys
from huggingface_hub import HfApi
from comvint_hf import push
upload, create = HfApi.preupload_lfs_files, HfApi.create_commit
def overtaken(self, *arguments, **options):
    HfApi.preupload_lfs_files = upload
    self.upload_file(path_or_fileobj=b"x", path_in_repo="theirs.txt", repo_id=sys.argv[2], repo_type="dataset")
    return upload(self, *arguments, **options)
HfApi.preupload_lfs_files = overtaken
push(sys.argv[1], sys.argv[2], wait=0.01)
print(sorted(HfApi().list_repo_files(sys.argv[2], repo_type="dataset")))
"""
    files = client(code, str(toy_dataset(scenes=12)), "tester/race")
    assert "theirs.txt" in files and "README.md" in files


def test_a_refused_token_is_said_calmly_and_not_tried_again(hub, client, toy_dataset) -> None:
    hub.fail(r"POST /api/repos/create", 403, times=100)
    said = client(PUSH, str(toy_dataset(scenes=12)), "tester/refused", check=False)
    assert "hf auth login" in said.splitlines()[-1]
    assert hub.log()["POST /api/repos/create"] == 1


def test_photos_that_may_not_be_rehosted_are_not_pushed(hub, client, toy_dataset) -> None:
    folder = toy_dataset(scenes=12, fresh=True)
    path = folder / "build.json"
    about = json.loads(path.read_text())
    about["parts"][0]["licence"]["share_images"] = False
    path.write_text(json.dumps(about))
    said = client(PUSH, str(folder), "tester/flickr", check=False)
    assert "may not be re-hosted" in said
    assert not hub.log()


def test_a_mix_keeps_photos_here_by_the_rows_own_source(toy_dataset, tmp_path) -> None:
    """Whatever the terms in build.json say: rows of Flickr30k with their photo are never pushed, its text is, and privately."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from comvint_hf.errors import InputError
    from comvint_hf.hub.push import check_image_licences

    folder = toy_dataset(images="table", fresh=True)
    check_image_licences(folder)
    path = next((folder / "images").glob("*.parquet"))
    table = pq.read_table(path)
    theirs = pa.array(["flickr30k/36979", *table["image_id"].to_pylist()[1:]])
    pq.write_table(table.set_column(0, table.schema.field("image_id"), theirs), path)
    with pytest.raises(InputError, match="holds images of flickr30k, which may not be re-hosted"):
        check_image_licences(folder)


@pytest.mark.parametrize(("asked", "private"), [("None", True), ("False", False)])
def test_text_about_photos_that_may_not_be_shared_is_private_unless_told(client, toy_dataset, asked, private) -> None:
    folder = toy_dataset(images=False, fresh=True)
    path = folder / "build.json"
    about = json.loads(path.read_text())
    about["parts"][0]["licence"]["share_images"] = False
    path.write_text(json.dumps(about))
    client(f"import sys; from comvint_hf import push; push(sys.argv[1], 'tester/text', private={asked})", str(folder))
    assert json.loads(client(HISTORY, "tester/text"))["private"] is private


def test_photos_of_a_repository_are_attached_to_rows(hub, client, toy_dataset) -> None:
    client(PUSH, str(toy_dataset(scenes=12, images="table")), "tester/table")
    code = """
from datasets import load_dataset
from comvint_hf import attach_images
plain = attach_images(load_dataset("tester/table"), "tester/table")
streamed = attach_images(load_dataset("tester/table", streaming=True), "tester/table")
for split in plain:
    for row, same in zip(plain[split], streamed[split], strict=True):
        assert row["images"][0].tobytes() == same["images"][0].tobytes()
        assert row["images"][0].size == (row["width"], row["height"])
print(plain["train"].features["images"])
"""
    assert client(code).startswith("List(Image(")


def test_a_stream_that_is_left_early_does_not_keep_its_process(hub, client, process, toy_dataset) -> None:
    """Plain and with photos joined, by `break`, by `take`, and with iterators that are still held at the end."""
    client(PUSH, str(toy_dataset(scenes=30, images="table")), "tester/left")
    code = """
from datasets import load_dataset
from comvint_hf import attach_images
rows = load_dataset("tester/left", split="train", streaming=True)
streams = [rows, attach_images(rows, "tester/left")]
held = [iter(stream) for stream in streams]
print([next(one)["id"] for one in held], [row["id"] for stream in streams for row in stream.take(2)])
for stream in streams:
    for row in stream:
        break
"""
    leaving = process(code)
    said, complaint = leaving.communicate(timeout=PATIENCE)
    assert leaving.returncode == 0 and said.count("shapes/") == 6, complaint


def test_a_builder_pushes_what_it_built(hub, client, tmp_path) -> None:
    code = """
import runpy, sys
sys.argv = [sys.argv[1], "--scenes", "shapes:6", "--out", sys.argv[2], "--push-to", "tester/built", "--private"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    script = Path(__file__).parents[2] / "builders" / "svit.py"
    told = client(code, str(script), str(tmp_path / "out"))
    assert f"Pushed: {hub.url}/datasets/tester/built/commit/" in told
    version = version_tag(tmp_path / "out")
    assert f'load_dataset("tester/built", revision="{version}")' in told
    assert json.loads(client(IDS, "tester/built", version, "plain")) == ids(tmp_path / "out")


def test_the_cards_pictures_are_pushed_and_stale_ones_deleted(hub, client, toy_dataset) -> None:
    folder = toy_dataset(scenes=60, fresh=True)
    drawn = {f"pictures/{path.name}" for path in (folder / "pictures").iterdir()}
    listing = "import json; from huggingface_hub import HfApi; print(json.dumps(HfApi().list_repo_files('tester/drawn', repo_type='dataset')))"
    client(PUSH, str(folder), "tester/drawn")
    assert drawn and drawn == {name for name in json.loads(client(listing)) if name.startswith("pictures/")}
    (folder / "pictures" / "lengths.png").unlink()
    client(PUSH, str(folder), "tester/drawn")
    assert drawn - {"pictures/lengths.png"} == {name for name in json.loads(client(listing)) if name.startswith("pictures/")}
