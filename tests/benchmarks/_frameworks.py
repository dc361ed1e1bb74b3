"""How each framework asks the same questions with its documented API, 64 at once and with its retries on.

`compare_frameworks.py` runs this file in the environment of each framework, so only `comvint` imports anything of this project:

    python _frameworks.py NAME URL COUNT FOLDER [BUDGET]

Each function gives one reply a prompt as the framework hands it over, `None` for a prompt that it gave up. FOLDER gets
`made.json`: how many of the replies are a question and an answer, and how many are something else.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

CONCURRENCY = 64
MOST_TOKENS = 512
DOLLARS = 10.0
"""The made-up price of a million tokens, in and out, where a budget is kept."""
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "QA", "schema": SCHEMA, "strict": True}}
Given = dict[str, Any] | str | None


def text(number: int) -> str:
    return f"Write question number {number} and its answer." + " More about it." * 100


def bare(url: str, count: int, folder: Path, budget: float | None) -> list[Given]:
    from openai import AsyncOpenAI, OpenAIError

    async def go() -> list[Given]:
        numbers, replies = iter(range(count)), []
        async with AsyncOpenAI(base_url=url, api_key="none") as client:

            async def worker() -> None:
                for number in numbers:
                    asked = [{"role": "user", "content": text(number)}]
                    try:
                        reply = await client.chat.completions.create(
                            model="toy-model", messages=asked, response_format=JSON_SCHEMA, max_tokens=MOST_TOKENS
                        )
                        replies.append(reply.choices[0].message.content)
                    except OpenAIError:
                        replies.append(None)

            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
        return replies

    return asyncio.run(go())


def comvint(url: str, count: int, folder: Path, budget: float | None) -> list[Given]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from endpoint.asking import ask_all, toy_prompt

    from comvint_hf.generation.client.cache import Cache
    from comvint_hf.generation.client.cost import BudgetMeter
    from comvint_hf.generation.client.openai_llm import OpenAILLM

    prices, cache = folder / "prices.toml", Cache(folder / "replies.sqlite")
    prices.write_text(f'["toy-model"]\ninput = {DOLLARS}\noutput = {DOLLARS}\n')
    options = {"prices": prices, "meter": BudgetMeter(cache, budget), "max_tokens": MOST_TOKENS}
    llm = OpenAILLM("toy-model", base_url=url, cache=cache, concurrency=CONCURRENCY, **options)

    async def go() -> list[Any]:
        try:
            return await ask_all(llm, (toy_prompt(number, 300) for number in range(count)))
        finally:
            await llm.close()

    replies = asyncio.run(go())
    cache.close()
    return [None if isinstance(reply, Exception) else reply.model_dump() for reply in replies]


def curator(url: str, count: int, folder: Path, budget: float | None) -> list[Given]:
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
        def prompt(self, row: dict[str, Any]) -> str:
            return row["text"]

        def parse(self, row: dict[str, Any], response: QA) -> dict[str, Any]:
            return {"question": response.question, "answer": response.answer}

    limits = {"max_concurrent_requests": CONCURRENCY, "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10}
    asker = Asker("toy-model", backend="openai", response_format=QA, backend_params={"base_url": url, **limits})
    return list(asker([{"text": text(number)} for number in range(count)]).dataset)


def distilabel(url: str, count: int, folder: Path, budget: float | None) -> list[Given]:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps.tasks import TextGeneration

    settings = {"response_format": {"type": "json_object"}, "max_new_tokens": MOST_TOKENS}
    with Pipeline(name="compare", cache_dir=folder) as pipeline:
        llm = OpenAILLM(model="toy-model", base_url=url, api_key="none", generation_kwargs=settings)
        TextGeneration(name="ask", llm=llm, input_batch_size=CONCURRENCY)
    made = pipeline.run(dataset=[{"instruction": text(number)} for number in range(count)], use_cache=True)
    return [row["generation"] for row in made["default"]["train"]]


def datatrove(url: str, count: int, folder: Path, budget: float | None) -> list[Given]:
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter

    async def rollout(document: Document, generate: Callable[[dict[str, Any]], Any]) -> str:
        asked = [{"role": "user", "content": document.text}]
        return (await generate({"messages": asked, "response_format": JSON_SCHEMA, "max_tokens": MOST_TOKENS})).text

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
    return [rollouts[0] if (rollouts := line["metadata"].get("rollout_results")) else None for line in lines]


def data_designer(url: str, count: int, folder: Path, budget: float | None) -> list[Given]:
    os.environ |= {"NEMO_TELEMETRY_ENABLED": "false"}
    import data_designer.config as dd
    import pandas
    from data_designer.interface import DataDesigner
    from pydantic import BaseModel

    class QA(BaseModel):
        question: str
        answer: str

    parallel = dd.ChatCompletionInferenceParams(max_parallel_requests=CONCURRENCY, max_tokens=MOST_TOKENS)
    model = dd.ModelConfig(
        alias="toy", model="toy-model", provider="local", inference_parameters=parallel, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pandas.DataFrame({"text": [text(number) for number in range(count)]})))
    builder.add_column(dd.LLMStructuredColumnConfig(name="qa", prompt="{{ text }}", output_format=QA, model_alias="toy"))
    provider = dd.ModelProvider(name="local", endpoint=url, api_key="none")
    designer = DataDesigner(artifact_path=folder, model_providers=[provider])
    made = designer.create(builder, num_records=count, resume=dd.ResumeMode.IF_POSSIBLE)
    return list(made.load_dataset()["qa"])


FRAMEWORKS = {run.__name__: run for run in (bare, comvint, curator, data_designer, datatrove, distilabel)}
PACKAGES = {
    "bare": "openai",
    "comvint": "comvint-hf",
    "curator": "bespokelabs-curator",
    "data_designer": "data-designer",
    "datatrove": "datatrove",
    "distilabel": "distilabel",
}


def good(given: Given) -> bool:
    """Whether a reply is a question and an answer."""
    try:
        reply = json.loads(given) if isinstance(given, str) else given
    except json.JSONDecodeError:
        return False
    return isinstance(reply, dict) and all(isinstance(reply.get(name), str) and reply[name] for name in ("question", "answer"))


def main() -> None:
    name, url, count, folder, *budget = sys.argv[1:]
    given = FRAMEWORKS[name](url, int(count), Path(folder), float(budget[0]) if budget else None)
    kept = [reply for reply in given if reply is not None]
    right = sum(map(good, kept))
    made = {"good": right, "bad": len(kept) - right, "version": version(PACKAGES[name])}
    Path(folder, "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
