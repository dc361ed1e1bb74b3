"""The Space: talk with a model about a picture, and see where its answer points. Also runs at home."""

import os
import sys
from pathlib import Path

import click

# On the Hub the package lies beside this file as a wheel, which Python imports as it is: see deploy.py.
sys.path[:0] = map(str, Path(__file__).parent.glob("comvint_hf-*.whl"))

from comvint_hf.cli import calm, wrong_use
from comvint_hf.serving.chat import Chat
from comvint_hf.serving.demo.page import Example, interface, launch
from comvint_hf.serving.loading import load_chat, read_conventions
from comvint_hf.serving.remote import RemoteChat

EXAMPLES = Path(__file__).parent / "examples"
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
@click.option("--base", envvar="COMVINT_BASE", metavar="DIR|ORG/NAME", help="The adapter's base, if it has moved.")
@click.option(
    "--base-url", envvar="COMVINT_BASE_URL", metavar="URL", help="Ask an OpenAI-compatible endpoint for --model instead."
)
@click.option("--conventions", metavar="DIR|ORG/NAME", help="With --base-url: where the model's comvint.json lies.")
@click.option("--max-new-tokens", default=512, show_default=True, type=click.IntRange(1))
@click.option("--device", help="cuda, cpu, ...; cuda where there is one.")
@click.option("--dtype", help="float32, bfloat16 or float16.")
@click.option("--host", default=None, help="The address to listen on.  [default: this machine only; all of them on Spaces]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on.  [default: the first free one from 7860]")
@click.option("--share", is_flag=True, help="Open a public link through Gradio's servers.")
@calm
def main(
    model: str | None,
    base: str | None,
    base_url: str | None,
    conventions: str | None,
    max_new_tokens: int,
    device: str | None,
    dtype: str | None,
    host: str | None,
    port: int | None,
    share: bool,
) -> None:
    """Open the page for a model on this machine, or behind an endpoint.

    \b
      python space/app.py --model build/demo/model
      python space/app.py --base-url http://localhost:8000/v1 --model NAME --conventions DIR
    """
    if not model:
        raise click.UsageError("No model is named: give --model DIR or ORG/NAME, or set the Space's variable COMVINT_MODEL.")
    chat: Chat
    with wrong_use():
        if base_url:
            agreed = read_conventions(conventions, required=True) if conventions else None
            chat = RemoteChat(base_url, model, conventions=agreed, max_new_tokens=max_new_tokens)
        else:
            chat = load_chat(model, base=base, device=device, dtype=dtype, max_new_tokens=max_new_tokens)
    examples = [Example(EXAMPLES / name, question) for name, question in QUESTIONS.items() if (EXAMPLES / name).is_file()]
    on_spaces = "SPACE_ID" in os.environ
    launch(
        interface(chat, examples),
        server_name=host or ("0.0.0.0" if on_spaces else "127.0.0.1"),
        server_port=port,
        share=share,
        allowed_paths=[str(EXAMPLES)],
    )


if __name__ == "__main__":
    main()
