"""A headless Chromium and a served page."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE = 60_000
"""Milliseconds for a page to become as expected: a browser and a server may share one busy core."""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DESK = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium from the system; tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=PATIENCE)
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=FLAGS.split())
        yield opened
        opened.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Open a page for a chat on a free port and give its address."""
    from comvint_hf.serving.demo.page import interface, launch

    pages = []

    def opened(chat, examples=(), folder: Path | None = None) -> str:
        page = interface(chat, examples)
        _, address, _ = launch(page, prevent_thread_lock=True, quiet=True, allowed_paths=[str(folder)] if folder else None)
        pages.append(page)
        return address

    yield opened
    for page in pages:
        page.close(verbose=False)


@pytest.fixture(params=["phone", "desk"])
def visitor(request: pytest.FixtureRequest, browser) -> Iterator:
    """A tab on a phone and one on a desk; whatever the page asks of other machines fails the test."""
    context = browser.new_context(**(PHONE if request.param == "phone" else DESK))
    context.set_default_timeout(PATIENCE)
    tab = context.new_page()
    strangers: list[str] = []
    tab.on(
        "request",
        lambda sent: strangers.append(sent.url) if sent.url.startswith("http") and "127.0.0.1" not in sent.url else None,
    )
    yield tab
    context.close()
    assert strangers == []
