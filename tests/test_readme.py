"""The README: short, with images that a test run makes and links that lead somewhere."""

import io
import os
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 200_000
STYLE = """
body { font: 15px/1.5 "DejaVu Sans", sans-serif; color: #1f2937; max-width: 980px; margin: 24px auto; }
h1, h2 { margin: 0.8em 0 0.4em; } h2 { font-size: 1.25em; } img { max-width: 100%; }
pre { background: #f3f4f6; padding: 10px; font-size: 13px; } code { background: #f3f4f6; }
table { border-collapse: collapse; font-size: 12px; margin: 10px 0; } th, td { border: 1px solid #e5e7eb; padding: 4px 8px; text-align: left; }
"""


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 180
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    assert len(links) > 20
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", ["space.png", "card.png"])
def test_an_image_of_the_readme_is_small(name) -> None:
    path = IMAGES / name
    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as image:
        assert image.width >= 800


@pytest.mark.timeout(1800)
def test_a_card_looks_as_the_readme_shows_it(browser, tmp_path) -> None:
    """Render the card of a ComVint dataset into build/screenshots/card.png; COMVINT_UPDATE_SCREENSHOTS=1 also updates docs/images."""
    from comvint_hf import AnnotationLLM, LLMs, build, comvint, load_scenes

    folder = tmp_path / "comvint"
    build(load_scenes("shapes:60"), comvint(rounds=2), LLMs.one(AnnotationLLM()), folder, progress=False)
    tab = browser.new_page(viewport={"width": 1040, "height": 1000})
    (folder / "card.html").write_text(card_html((folder / "README.md").read_text()), encoding="utf-8")
    tab.goto((folder / "card.html").as_uri())
    plots = tab.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 100)")
    assert len(plots) >= 4 and all(plots)
    height = tab.evaluate("document.images[1].getBoundingClientRect().bottom + 24")
    clip = {"x": 0, "y": 0, "width": 1040, "height": height}
    shot = Image.open(io.BytesIO(tab.screenshot(full_page=True, clip=clip))).convert("RGB")
    tab.close()
    out = ROOT / "build" / "screenshots" / "card.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    # A palette keeps a page of text and plots readable at a third of the size.
    shot.quantize(128, dither=Image.Dither.NONE).save(out, optimize=True)
    assert out.stat().st_size <= MOST_BYTES
    if os.environ.get("COMVINT_UPDATE_SCREENSHOTS"):
        (IMAGES / "card.png").write_bytes(out.read_bytes())


def card_html(card: str) -> str:
    from markdown_it import MarkdownIt

    text = card.split("---\n", 2)[2]
    return f'<meta charset="utf-8"><style>{STYLE}</style>{MarkdownIt("commonmark").enable("table").render(text)}'
