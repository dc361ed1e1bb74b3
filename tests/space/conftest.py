"""A served page, and tabs of a headless Chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 60_000
"""Milliseconds for a page to become as expected: a browser and a server may share one busy core."""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Open a page for a chat on a free port and give its address."""
    from comvint_hf.serving.demo.page import build_page, launch

    pages = []

    def opened(chat, examples=(), folder: Path | None = None) -> str:
        page = build_page(chat, examples)
        _, address, _ = launch(page, prevent_thread_lock=True, quiet=True, allowed_paths=[str(folder)] if folder else None)
        pages.append(page)
        return address

    yield opened
    for page in pages:
        page.close(verbose=False)


@pytest.fixture(params=["phone", "desktop"])
def tab(request: pytest.FixtureRequest, browser) -> Iterator:
    """A tab on a phone, then on a desktop. A request to another machine fails the test."""
    from playwright.sync_api import expect

    context = browser.new_context(**(PHONE if request.param == "phone" else DESKTOP))
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    tab = context.new_page()
    foreign_requests: list[str] = []
    tab.on(
        "request",
        lambda sent: foreign_requests.append(sent.url) if sent.url.startswith("http") and "127.0.0.1" not in sent.url else None,
    )
    yield tab
    context.close()
    assert foreign_requests == []
