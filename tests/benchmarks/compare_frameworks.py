"""Ask the same questions through other synthetic-data frameworks, on the same local endpoint: speed, kills, faults, poison.

    python tests/benchmarks/compare_frameworks.py --set-up FOLDER      make an environment for each under FOLDER (pip; 3 GB)
    python tests/benchmarks/compare_frameworks.py FOLDER [--count 5000] [comvint curator distilabel datatrove data_designer]

Each framework runs in an environment of its own with its documented API, at concurrency 64 and with its retries on. A reply
is good if it is a question and an answer; `repeated` counts replies that were paid for twice after a kill half-way and a
second run. The functions named after the frameworks import nothing of this project, since they run in those environments.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
CONCURRENCY = 64
HOURS = 1800
PACKAGES = {
    "comvint": [str(TESTS.parent) + "[build]"],
    "curator": ["bespokelabs-curator"],
    "distilabel": ["distilabel[openai]", "requests", "beautifulsoup4"],
    "datatrove": ["datatrove[io]", "aiofiles", "aiosqlite", "httpx", "openai"],
    "data_designer": ["data-designer"],
}
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
Reply = dict[str, Any]


def text(number: int) -> str:
    return f"Write question number {number} and its answer." + " More about it." * 100


def comvint(url: str, count: int, folder: Path) -> list[Reply | None]:
    import asyncio

    sys.path.insert(0, str(TESTS))
    from endpoint.asking import ask_all, opened, toy_prompt

    async def go() -> list[Any]:
        async with opened(url, folder / "replies.sqlite", concurrency=CONCURRENCY) as llm:
            llm.requester.health.first_wait = 0.25
            return await ask_all(llm, (toy_prompt(number, 300) for number in range(count)))

    return [None if isinstance(reply, Exception) else reply.model_dump() for reply in asyncio.run(go())]


def curator(url: str, count: int, folder: Path) -> list[Reply | None]:
    os.environ |= {"CURATOR_CACHE_DIR": str(folder), "TELEMETRY_ENABLED": "0", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    os.environ |= {"CURATOR_DISABLE_RICH_DISPLAY": "1", "OPENAI_API_KEY": "none"}
    import tiktoken
    from pydantic import BaseModel

    class Words:
        """Stands in for the tokenizer tables, which tiktoken would fetch from the network."""

        def encode(self, content: str, **_: Any) -> list[str]:
            return content.split()

    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: Words()
    from bespokelabs import curator as framework

    class QA(BaseModel):
        question: str
        answer: str

    class Asker(framework.LLM):
        def prompt(self, row: Reply) -> str:
            return row["text"]

        def parse(self, row: Reply, response: QA) -> Reply:
            return {"question": response.question, "answer": response.answer}

    limits = {"max_concurrent_requests": CONCURRENCY, "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10}
    asker = Asker("toy-model", backend="openai", response_format=QA, backend_params={"base_url": url, **limits})
    return list(asker([{"text": text(number)} for number in range(count)]).dataset)


def distilabel(url: str, count: int, folder: Path) -> list[Reply | None]:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps.tasks import TextGeneration

    settings = {"response_format": {"type": "json_object"}, "max_new_tokens": 512}
    with Pipeline(name="compare", cache_dir=folder) as pipeline:
        llm = OpenAILLM(model="toy-model", base_url=url, api_key="none", generation_kwargs=settings)
        TextGeneration(name="ask", llm=llm, input_batch_size=CONCURRENCY)
    made = pipeline.run(dataset=[{"instruction": text(number)} for number in range(count)], use_cache=True)
    return [_parsed(row["generation"]) for row in made["default"]["train"]]


def datatrove(url: str, count: int, folder: Path) -> list[Reply | None]:
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter

    wanted = {"type": "json_schema", "json_schema": {"name": "QA", "schema": SCHEMA, "strict": True}}

    async def rollout(document: Document, generate: Callable[[Reply], Any]) -> str:
        asked = [{"role": "user", "content": document.text}]
        return (await generate({"messages": asked, "response_format": wanted, "max_tokens": 512})).text

    config = InferenceConfig(
        server_type="endpoint",
        model_name_or_path="toy-model",
        endpoint_url=url.replace("127.0.0.1", "0.0.0.0"),  # for its own address it would leave the openai client out
        api_key="none",
        max_concurrent_generations=CONCURRENCY,
    )
    runner = InferenceRunner(
        rollout_fn=rollout,
        config=config,
        output_writer=JsonlWriter(str(folder / "out"), output_filename="${rank}_${chunk_index}.jsonl", compression=None),
        checkpoints_local_dir=str(folder / "checkpoints"),
        records_per_chunk=500,
    )
    documents = [Document(text=text(number), id=str(number)) for number in range(count)]
    LocalPipelineExecutor([documents, runner], tasks=1, logging_dir=str(folder / "logs")).run()
    lines = [json.loads(line) for file in sorted((folder / "out").glob("*.jsonl")) for line in file.read_text().splitlines()]
    return [_parsed(rollouts[0]) for line in lines if (rollouts := line["metadata"].get("rollout_results"))]


def data_designer(url: str, count: int, folder: Path) -> list[Reply | None]:
    import data_designer.config as dd
    import pandas
    from data_designer.interface import DataDesigner
    from pydantic import BaseModel

    class QA(BaseModel):
        question: str
        answer: str

    parallel = dd.ChatCompletionInferenceParams(max_parallel_requests=CONCURRENCY)
    model = dd.ModelConfig(
        alias="toy", model="toy-model", provider="local", inference_parameters=parallel, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pandas.DataFrame({"text": [text(number) for number in range(count)]})))
    builder.add_column(dd.LLMStructuredColumnConfig(name="qa", prompt="{{ text }}", output_format=QA, model_alias="toy"))
    provider = dd.ModelProvider(name="local", endpoint=url, api_key="none")
    designer = DataDesigner(artifact_path=folder, model_providers=[provider])
    made = designer.create(builder, num_records=count, resume=dd.ResumeMode.IF_POSSIBLE)
    return [_parsed(value) for value in made.load_dataset()["qa"]]


def _parsed(reply: Any) -> Reply | None:
    """The reply as a form, `None` where it is none."""
    reply = reply if isinstance(reply, str | dict) else getattr(reply, "text", reply)
    try:
        value = json.loads(reply) if isinstance(reply, str) else reply
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


FRAMEWORKS = {run.__name__: run for run in (comvint, curator, distilabel, datatrove, data_designer)}


def good(reply: Reply | None) -> bool:
    return bool(reply) and all(isinstance(reply.get(name), str) and reply[name] for name in ("question", "answer"))


@contextmanager
def server(*flags: str) -> Iterator[str]:
    """The local endpoint in a process of its own."""
    command = [sys.executable, TESTS / "endpoint" / "server.py", *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(20)


def log(url: str) -> dict[str, Any]:
    return json.loads(urllib.request.urlopen(f"{url}/log", timeout=30).read())


def start(python: Path, name: str, url: str, count: int, folder: Path) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    command = [python, __file__, "--client", name, url, str(count), str(folder)]
    output = (folder / "output.txt").open("w")
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder)


def finish(process: subprocess.Popen, folder: Path) -> dict[str, Any]:
    """Wait for a client; what it made, and the time and memory of it and its children. A client that hangs is ended."""
    began = time.monotonic()
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        if time.monotonic() - began > HOURS:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.02)
    used, made = ended[2], folder / "made.json"
    found = json.loads(made.read_text()) if made.exists() else {"good": 0, "wall": time.monotonic() - began}
    made.unlink(missing_ok=True)
    return {
        **found,
        "exit": os.waitstatus_to_exitcode(ended[1]),
        "cpu": used.ru_utime + used.ru_stime,
        "mib": used.ru_maxrss / 1024,
    }


def measure(python: Path, name: str, count: int, folder: Path) -> dict[str, str]:
    """The row of one framework."""
    with server("--latency", "0.05") as url:
        whole = finish(start(python, name, url, count, folder / "speed"), folder / "speed")
    with server("--latency", "0.05") as url:
        process = start(python, name, url, count, folder / "kill")
        while process.poll() is None and log(url)["paid"] < count // 2:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        again = finish(start(python, name, url, count, folder / "kill"), folder / "kill")
        repeated = log(url)["repeated"]
    with server("--latency", "0.05", "--faults", "0.2") as url:
        faulty = finish(start(python, name, url, 1000, folder / "faults"), folder / "faults")
    with server("--latency", "0.05", "--never", "number 500 ") as url:
        poison = finish(start(python, name, url, 1000, folder / "poison"), folder / "poison")
    return {
        "good": f"{whole['good']:,}",
        "requests/s": f"{count / whole['wall']:.0f}",
        "CPU ms each": f"{whole['cpu'] / count * 1000:.2f}",
        "peak MiB": f"{whole['mib']:.0f}",
        "repeated after a kill": f"{repeated} ({again['good']:,} good)",
        "20 % faults: good, s": f"{faulty['good']:,}, {faulty['wall']:.1f}",
        "one never: good": f"{poison['good']:,}",
    }


def run_client(name: str, url: str, count: int, folder: Path) -> None:
    began = time.monotonic()
    replies = FRAMEWORKS[name](url, count, folder)
    (folder / "made.json").write_text(json.dumps({"good": sum(map(good, replies)), "wall": time.monotonic() - began}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where the environments are")
    parser.add_argument("names", nargs="*", default=list(FRAMEWORKS))
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--set-up", type=Path, metavar="FOLDER")
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.client:
        name, url, count, folder = asked.client
        run_client(name, url, int(count), Path(folder))
        return
    if asked.set_up:
        for name, packages in PACKAGES.items():
            subprocess.run([sys.executable, "-m", "venv", asked.set_up / name], check=True)
            subprocess.run([asked.set_up / name / "bin" / "pip", "install", "-q", *packages], check=True)
        return
    for name in asked.names:
        with tempfile.TemporaryDirectory() as folder:
            row = measure((asked.folder / name / "bin" / "python").absolute(), name, asked.count, Path(folder))
        print(f"| {name} | " + " | ".join(f"{key} {value}" for key, value in row.items()) + " |", flush=True)


if __name__ == "__main__":
    main()
