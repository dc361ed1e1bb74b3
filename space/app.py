"""The Space: chat with a model about an image, and see the boxes of its answers. Also runs locally."""

import os
import sys
from pathlib import Path
from typing import Any

# On the Hub the package is a wheel next to this file, which Python can import from (see deploy.py).
sys.path[:0] = map(str, Path(__file__).parent.glob("comvint_hf-*.whl"))

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

import click

from comvint_hf.cli import handle_errors, remote_chat_options, usage_errors
from comvint_hf.cli.serve import serve_option
from comvint_hf.serving.chat import Chat
from comvint_hf.serving.demo.limits import read_limits
from comvint_hf.serving.demo.page import Example, build_page, launch
from comvint_hf.serving.loading import load_chat, read_conventions
from comvint_hf.serving.remote import RemoteChat

EXAMPLES = Path(__file__).parent / "examples"
# Worded as in our datasets, which models of this package were tuned on.
QUESTIONS = {
    "describe.png": "Describe this picture in detail.",
    "where.png": "Where is the blue triangle?",
    "count.png": "How many circles are there?",
    "exist.png": "Is there a red triangle in the picture?",
}


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--model", envvar="COMVINT_MODEL", metavar="DIR|ORG/NAME", help="An adapter, a merged or a full model; or COMVINT_MODEL."
)
@click.option("--base", envvar="COMVINT_BASE", metavar="DIR|ORG/NAME", help="The adapter's base model, if it has moved.")
@click.option(
    "--base-url", envvar="COMVINT_BASE_URL", metavar="URL", help="Ask an OpenAI-compatible endpoint for --model instead."
)
@click.option("--conventions", metavar="DIR|ORG/NAME", help="With --base-url: the model whose comvint.json applies.")
@click.option("--max-new-tokens", default=512, show_default=True, type=click.IntRange(1), help="The longest answer.")
@remote_chat_options
@click.option("--device", help="cuda, cpu, ...  [default: cuda if there is one]")
@click.option("--dtype", help="float32, bfloat16 or float16.  [default: bfloat16 on cuda]")
@click.option("--host", default=None, help="The address to listen on.  [default: this machine only; every address on a Space]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on.  [default: the first free port from 7860]")
@click.option(
    "--limit", "settings", multiple=True, metavar="NAME=NUMBER", help="Change a limit of visitors, like turns=5; see docs."
)
@click.option("--share", is_flag=True, help="Create a public link through Gradio's servers.")
@handle_errors
@serve_option
def main(
    model: str | None,
    base: str | None,
    base_url: str | None,
    conventions: str | None,
    max_new_tokens: int,
    temperature: float,
    timeout: float | None,
    extra_body: dict[str, Any],
    headers: dict[str, str],
    device: str | None,
    dtype: str | None,
    host: str | None,
    port: int | None,
    settings: tuple[str, ...],
    share: bool,
) -> None:
    """Serve the page for a local model, or for one behind an endpoint.

    \b
      python space/app.py --model build/demo/model
      python space/app.py --base-url http://localhost:8000/v1 --model NAME --conventions DIR
      python space/app.py --serve "vllm serve {model} --port {port}" --model NAME --conventions DIR
    """
    if not model:
        raise click.UsageError("No model is named: give --model DIR or ORG/NAME, or set the Space's variable COMVINT_MODEL.")
    chat: Chat
    with usage_errors():
        limits = read_limits(settings)
        if base_url:
            found = read_conventions(conventions, required=True) if conventions else None
            chat = RemoteChat(
                base_url,
                model,
                conventions=found,
                max_new_tokens=max_new_tokens,
                timeout=min(timeout or limits.answer_seconds, limits.answer_seconds),
                temperature=temperature,
                extra_body=extra_body,
                headers=headers,
            )
        else:
            chat = load_chat(model, base=base, device=device, dtype=dtype, max_new_tokens=max_new_tokens)
    examples = [Example(EXAMPLES / name, question) for name, question in QUESTIONS.items() if (EXAMPLES / name).is_file()]
    on_spaces = "SPACE_ID" in os.environ
    if on_spaces:
        # A Space is reached through proxies of its private network only, which say whom they ask for.
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16")
    launch(
        build_page(chat, examples, limits),
        server_name=host or ("0.0.0.0" if on_spaces else "127.0.0.1"),
        server_port=port,
        share=share,
        allowed_paths=[str(example.image) for example in examples],
    )


if __name__ == "__main__":
    main()
