"""Nothing that a dataset of somebody else says reaches the terminal as a command to it."""

from __future__ import annotations

import json
import re

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from comvint_hf.cli.commands import main
from comvint_hf.cli.exit_codes import handle_errors, usage_errors
from comvint_hf.errors import EndpointError, InputError

HOSTILE = (
    "a\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil\x1b\\b\x9b31m\x9dq\x9c\x08\r\x00\u202ez\x7f[link=http://evil]c[/link][bold]d"
)
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture
def hostile(toy_dataset):
    folder = toy_dataset(fresh=True)
    for path in folder.glob("*/**/*.parquet"):
        table = pq.read_table(path)
        for column in ("id", "format", "topic", "reason"):
            if column in table.column_names:
                index = table.column_names.index(column)
                table = table.set_column(index, table.schema.field(column), pa.array([HOSTILE] * len(table)))
        messages = [[{"role": HOSTILE, "content": HOSTILE}]] * len(table)
        index = table.column_names.index("messages")
        kind = table.schema.field("messages").type
        pq.write_table(table.set_column(index, table.schema.field("messages"), pa.array(messages, kind)), path)
    stats = json.loads((folder / "stats.json").read_text())
    renamed = json.loads(json.dumps(stats).replace('"conversation"', json.dumps(HOSTILE)).replace('"bool"', json.dumps(HOSTILE)))
    renamed |= {"rejected": {HOSTILE: 3}, "notes": {HOSTILE: 4}}
    (folder / "stats.json").write_text(json.dumps(renamed))
    return folder


@pytest.mark.parametrize("command", [["preview"], ["preview", "--config", "rejected"], ["stats"], ["stats", "--quality"]])
def test_a_hostile_dataset_is_shown_as_text(command, hostile) -> None:
    done = CliRunner().invoke(main, [command[0], str(hostile), *command[1:]], color=True)
    assert done.exit_code == 0, done.output + str(done.exception)
    assert not COMMANDS.search(done.output) and "[link=http://evil]c" in done.output


def test_a_page_holds_no_markup_of_rows(hostile, tmp_path) -> None:
    assert CliRunner().invoke(main, ["preview", str(hostile), "--out", str(tmp_path / "a.html")]).exit_code == 0
    assert "<script" not in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("error", [EndpointError, InputError])
def test_errors_show_neither_commands_nor_secrets(error) -> None:
    @click.command()
    @handle_errors
    def fail() -> None:
        raise error(f"{HOSTILE} http://me:password@host/v1")

    @click.command()
    @handle_errors
    def refuse() -> None:
        with usage_errors():
            raise InputError(f"{HOSTILE} http://me:password@host/v1")

    for command in (fail, refuse):
        done = CliRunner().invoke(command, color=True)
        assert done.exit_code in (1, 2) and not COMMANDS.search(done.output) and "me:password" not in done.output
