"""Cards in headless Chromium on a narrow screen.

Skipped where Chromium or playwright is not installed (Debian: ``apt install chromium``).
"""

from __future__ import annotations

import shutil

import pytest

from darkmatter.cards import html
from darkmatter.cards.parts import Card, CardSection, Columns

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH"),
]

HEADINGS = ("upstream latent", "edge", "change", "estimate", "chosen by")


def card(upstream: str) -> Card:
    """A card with edges from an SAE of this name."""
    rows = [(f"{upstream} 874", "43.5%", "17.2", "29.25", "estimate")]
    return Card("s", 7, "an SAE", [CardSection("What makes it fire", Columns(HEADINGS, rows))])


def test_a_narrow_screen_shows_the_edges_or_that_there_is_more(tmp_path):
    """At 420 pixels the table fits, or its end is shaded and it scrolls by itself; the page never does."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 420, "height": 900})
        for upstream, fits in (("layer1-topk-w1024-k16", True), ("n" * 40, False)):
            path = tmp_path / f"{fits}.html"
            path.write_text(html.render([card(upstream)]), encoding="utf-8")
            page.goto(path.as_uri())
            box = "document.querySelector('.scroll')"
            assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth") is fits
            assert "gradient" in page.evaluate(f"getComputedStyle({box}).backgroundImage")
            assert page.evaluate("document.documentElement.scrollWidth") <= 420
        browser.close()
