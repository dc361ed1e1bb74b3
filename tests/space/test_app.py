"""space/app.py as a Space runs it, and what is uploaded with it."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from endpoint.served import is_running

SPACE = Path(__file__).parents[2] / "space"


def start(environment: dict[str, str], *arguments: str, folder: Path | None = None) -> subprocess.Popen[str]:
    common = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(SPACE / "app.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("COMVINT")} | common | environment,
    )


def test_it_serves_the_model_that_the_environment_names(tmp_path: Path) -> None:
    from comvint_hf.training.tiny_model import make_tiny_model

    model = make_tiny_model(tmp_path / "my-tiny-model", ["Is there a red circle? Yes, there is."] * 8, words=300)
    process = start({"COMVINT_MODEL": str(model)}, "--device", "cpu")
    try:
        address = None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                address = found[0]
                break
        assert address, "the page was not served"
        with urllib.request.urlopen(address, timeout=100) as answer:
            page = answer.read().decode()
        assert "my-tiny-model" in page
        for question in ("Where is the blue triangle?", "Is there a red triangle in the picture?"):
            assert question in page
    finally:
        process.terminate()
        process.communicate(timeout=100)


def test_it_starts_and_ends_the_endpoint_of_its_model(tmp_path: Path) -> None:
    served = Path(__file__).parents[1] / "endpoint" / "served.py"
    command = f"{sys.executable} {served} --port {{port}} --child {tmp_path / 'child'}"
    process = start({}, "--model", "toy-model", "--serve", command, folder=tmp_path)
    try:
        assert any("http://127.0.0.1:" in line for line in process.stdout), "the page was not served"
        assert "listening on" in (tmp_path / "server.log").read_text()
    finally:
        process.terminate()
        process.communicate(timeout=100)
    child = int((tmp_path / "child").read_text())
    for _ in range(1000):
        if not is_running(child):
            return
        time.sleep(0.02)
    pytest.fail("the endpoint outlived the page")


def test_without_a_model_it_names_the_flag() -> None:
    process = start({})
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 2
    assert "COMVINT_MODEL" in output and "Traceback" not in output


def test_wrong_flags_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for arguments, message in (
        (("--model", str(tmp_path / "none")), "There is no folder"),
        (("--model", "x", "--base-url", "localhost:8000"), "expected one like http://localhost:8000/v1"),
        (("--model", "x", "--limit", "turns=-1"), "expected a name, = and a number above 0"),
        (("--model", "x", "--base-url", "http://localhost:8000/v1", "--conventions", str(tmp_path)), "has no comvint.json"),
    ):
        output, _ = (process := start({}, *arguments)).communicate(timeout=250)
        assert process.returncode == 2 and message in output and "Traceback" not in output


def test_a_used_address_is_refused() -> None:
    import socket

    from comvint_hf.errors import InputError
    from comvint_hf.serving.chat import ScriptedChat
    from comvint_hf.serving.demo.page import build_page, launch

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="choose another --port"):
            launch(
                build_page(ScriptedChat(lambda _: ""), ()),
                server_port=taken.getsockname()[1],
                server_name="127.0.0.1",
                quiet=True,
            )


def test_the_upload_is_complete() -> None:
    front = (SPACE / "README.md").read_text().split("---")[1]
    facts = dict(line.split(": ", 1) for line in front.strip().splitlines())
    assert facts["sdk"] == "gradio" and (SPACE / facts["app_file"]).is_file()
    assert len(facts["short_description"]) <= 60
    wanted = (SPACE / "requirements.txt").read_text()
    assert f"gradio=={facts['sdk_version']}" in wanted
    assert {path.name for path in (SPACE / "examples").iterdir()} == {"describe.png", "where.png", "count.png", "exist.png"}
