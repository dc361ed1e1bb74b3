"""What a model or a visitor writes is shown as text: the browser fetches nothing for it, and runs nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from comvint_hf.serving.chat import ScriptedChat

MARKUP = (
    "![x](URL/markdown)",
    "![x][1]\n\n[1]: URL/reference",
    "[![x](URL/inner)](URL/outer)",
    '<img src="URL/html">',
    "<img src=x onerror=\"fetch('URL/error')\">",
    "<script>fetch('URL/script')</script>",
    "<iframe src=URL/frame></iframe><video src=URL/video autoplay></video>",
    "<link rel=stylesheet href=URL/style><style>@import 'URL/import'; * { background: url(URL/background) }</style>",
    "<svg><image href=URL/svg /></svg>",
    "$$\\includegraphics{URL/tex}$$ \\(\\href{URL/href}{x}\\)",
    "```html\n<img src=URL/fence>\n```",
    "```mermaid\ngraph TD; A[<img src=URL/mermaid>]\n```",
    "    ![x](URL/indented)\n1. ![x](URL/list)\n> ![x](URL/quote)\n| a |\n|---|\n| ![x](URL/table) |",
    "<st>a ![x](URL/phrase) cup<ed>[0.1, 0.1, 0.4, 0.4]",
    "<st><img src=URL/tag><ed>[0.1, 0.1, 0.4, 0.4] ${fetch('URL/template')} {{constructor.constructor('fetch(1)')()}}",
    "&lt;img src=URL/entity&gt; &#33;[x](URL/coded) <URL/auto> URL/bare www.example.org",
)


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    hits: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", hits
    server.shutdown()
    server.server_close()


def test_nothing_in_a_text_is_fetched_or_run(browser, serve, listener, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    url, hits = listener
    texts = [text.replace("URL", url) for text in MARKUP]
    picture = tmp_path / "white.png"
    Image.new("RGB", (40, 40), "white").save(picture)
    answers = iter(texts)
    tab = browser.new_context().new_page()
    requests: list[str] = []
    tab.on("request", lambda sent: requests.append(sent.url))
    tab.on("dialog", lambda dialog: requests.append(url + "/dialog"))
    tab.goto(serve(ScriptedChat(lambda _: f"{next(answers)} (end)")))
    tab.locator("#image input[type=file]").set_input_files(str(picture))
    tab.get_by_text("Tap two corners").wait_for()
    for number, text in enumerate(texts, 1):
        tab.locator("#question input, #question textarea").fill(" ".join(text.split()))
        tab.locator("#ask").click()
        expect(tab.locator("#chat")).to_contain_text("(end)" if number == 1 else "", timeout=20_000)
        expect(tab.locator("#chat [data-testid=bot]")).to_have_count(number, timeout=20_000)
        expect(tab.locator("#chat [data-testid=bot]").last).to_contain_text("(end)", timeout=20_000)
        expect(tab.locator("#ask")).to_be_visible(timeout=20_000)
    phrase = tab.locator("#phrase input, #phrase textarea")
    phrase.fill(" ".join(texts[0].split()))
    phrase.press("Enter")
    tab.wait_for_timeout(1_000)
    assert hits == [] and not [sent for sent in requests if sent.startswith(url)]
    chat = tab.locator("#chat .message, #chat [data-testid=bot], #chat [data-testid=user]")
    assert chat.locator("a, img, script, iframe, video, svg image, code, table, .katex, link, style").count() == 0
    expect(tab.locator("#chat")).to_contain_text(f"![x]({url}/markdown)")
    expect(tab.locator("#chat")).to_contain_text(f"<script>fetch('{url}/script')</script>")
    tab.context.close()
