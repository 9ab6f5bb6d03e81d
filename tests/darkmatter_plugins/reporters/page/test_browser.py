"""The page in headless Chromium: what a reader sees, clicks and types.

Skipped where Chromium or playwright is not installed (Debian: ``apt install chromium``).
"""

from __future__ import annotations

import shutil

import pytest

from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.testing.results import sample_result
from darkmatter_plugins.reporters.page.render import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("plotly", reason="the extra [report] is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH"),
]


class Seen:
    """A page, every request that it made, and every complaint of the browser."""

    def __init__(self, page):
        self.page, self.requests, self.complaints = page, [], []
        page.route("**/*", self._note)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, route):
        self.requests.append(route.request.url)
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            route.abort()

    def open(self, path):
        self.page.goto(path.as_uri())
        playwright.expect(self.page.locator(".plot:not([data-drawn])")).to_have_count(0, timeout=60_000)
        return self.page


CUT_WITHIN_A_WORD = """heads => heads.flatMap(head => {
  const found = [], range = document.createRange();
  for (const node of [...head.childNodes].filter(node => node.nodeType === Node.TEXT_NODE)) {
    let top = null;
    for (let at = 0; at < node.length; at++) {
      range.setStart(node, at); range.setEnd(node, at + 1);
      const box = range.getBoundingClientRect();
      if (top !== null && box.top > top + 4 && /[A-Za-z]/.test(node.data[at - 1])) found.push(node.data);
      top = box.top;
    }
  }
  return found;
})"""
"""The texts of row heads of which a line ends with a letter, though the text goes on."""


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def seen(chromium):
    """A fresh page of 1,400 pixels that records what it asks for."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light")
    yield Seen(context.new_page())
    context.close()


@pytest.fixture
def path(table, tmp_path):
    """The page as a file."""
    (tmp_path / "page.html").write_text(render(table), encoding="utf-8")
    return tmp_path / "page.html"


def names(page, *, visible=True):
    """The SAEs of the table of reconstruction, in order."""
    rows = page.locator("[data-evaluator=reconstruction] .sortable").locator(
        "tbody tr" + (":visible" if visible else "")
    )
    return rows.evaluate_all("rows => rows.map(row => row.dataset.name)")


def test_no_name_is_cut_within_a_word_on_a_phone(chromium, tmp_path):
    """At 400 pixels every line of a name ends where a part of it ends, and the page is no wider."""
    called = ("identity_relu", "pca_topk", "family:blocks.2.hook_resid_post", "pca-k16@blocks.2.hook_mlp_out")
    found = ResultSet([sample_result(name, is_control=True) for name in called])
    path = tmp_path / "page.html"
    path.write_text(render(build_table(found)), encoding="utf-8")
    context = chromium.new_context(viewport={"width": 400, "height": 900})
    page = Seen(context.new_page()).open(path)
    cut = page.locator(".sortable tbody th").evaluate_all(CUT_WITHIN_A_WORD)
    width = page.evaluate("document.documentElement.scrollWidth")
    context.close()

    assert (cut, width) == ([], 400)


def test_it_opens_without_a_request_or_a_complaint(seen, path):
    """Nothing but the file itself is asked for, and the console stays empty."""
    seen.open(path)

    assert seen.requests == [path.as_uri()]
    assert seen.complaints == []


def test_every_figure_is_drawn_with_its_points(seen, path):
    """The library runs under the page's policy; SAEs, controls and bars are there."""
    page = seen.open(path)
    titles = page.locator("figure h4").all_inner_texts()

    assert titles == ["FVU over L0", "nonlinear FVU over L0", "Anatomy of the error"]
    first = page.locator(".plot").first
    assert first.locator("path.point").count() == 4
    page.locator("#controls").uncheck()
    playwright.expect(first.locator("path.point")).to_have_count(3)


def test_a_table_is_sorted_by_click_and_by_enter(seen, path):
    """Numbers sort as numbers, names naturally, again turns around, no value stays last."""
    page = seen.open(path)
    table = page.locator("[data-evaluator=reconstruction] .sortable")
    fvu = table.get_by_role("button", name="fvu")
    fvu.click()
    up = names(page)
    fvu.focus()
    page.keyboard.press("Enter")
    down = names(page)

    assert up == ["wide10", "wide9", "small", "pca"]
    assert down == up[::-1]
    assert table.locator("th[aria-sort=descending]").count() == 1
    table.get_by_role("button", name="SAE").click()
    assert names(page) == ["pca", "small", "wide9", "wide10"]


def test_rows_are_filtered_by_name_and_controls_are_hidden(seen, path):
    """The tables and the parts of SAEs show what was asked for, and how many are shown is said."""
    page = seen.open(path)
    page.locator("#controls").uncheck()
    assert sorted(names(page)) == ["small", "wide10", "wide9"]
    page.locator("#filter").fill("WIDE")

    assert sorted(names(page)) == ["wide10", "wide9"]
    assert page.locator("#shown").inner_text() == "2 of 4 names shown"
    assert page.locator("details.sae:visible").count() == 2
    page.locator("#filter").fill("")
    page.locator("#evaluator").select_option("error_decomposition")
    assert page.locator(".evaluator:visible h4").all_inner_texts() == ["error_decomposition"]


def test_hostile_names_are_text(seen, hostile, tmp_path):
    """No name runs, loads or styles anything, in tables, figures, parts or messages."""
    (tmp_path / "page.html").write_text(render(hostile), encoding="utf-8")
    page = seen.open(tmp_path / "page.html")
    for summary in page.locator("summary").all():
        summary.evaluate("each => each.parentElement.open = true")
    page.locator(".plot path.point").first.hover(force=True)

    assert page.evaluate("window.hacked") is None
    assert seen.requests == [(tmp_path / "page.html").as_uri()]
    assert seen.complaints == []
    assert "<script>window.hacked=1</script>" in names(page)
    assert page.locator("main img, main b:text-is('no'), .plot a").count() == 0
    assert page.locator(".plot text", has_text="<script>").count() > 0


def test_it_is_used_by_keyboard(seen, path):
    """The first stop skips to the results, focus is seen, and a part opens with Enter."""
    page = seen.open(path)
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("each => each === document.activeElement && each.getBoundingClientRect().top >= 0")
    assert skip.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    part = page.locator("details.sae").first
    part.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert part.get_attribute("open") is not None
    region = page.locator(".scroll").first
    region.focus()
    assert region.evaluate("each => each === document.activeElement"), "it scrolls by keyboard"


def ground(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_it_is_dark_where_the_system_is_or_the_reader_says(seen, path):
    """The system's choice holds until the button is used; figures follow."""
    page = seen.open(path)
    light = ground(page)
    page.emulate_media(color_scheme="dark")
    dark = ground(page)
    figure = page.locator(".plot .main-svg").first

    assert light != dark
    playwright.expect(figure).to_have_css("background-color", dark)
    page.locator("#theme").click()
    assert ground(page) == light
    assert page.locator("#theme").get_attribute("aria-pressed") == "false"
    playwright.expect(figure).to_have_css("background-color", light)


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_never_scrolls_sideways(seen, hostile, tmp_path, width):
    """Wide tables scroll in boxes of their own, on a telephone too, with every part open."""
    (tmp_path / "page.html").write_text(render(hostile), encoding="utf-8")
    seen.page.set_viewport_size({"width": width, "height": 800})
    page = seen.open(tmp_path / "page.html")
    page.locator("details").evaluate_all("parts => parts.forEach(part => (part.open = true))")

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_link_to_a_closed_part_opens_it(seen, path):
    """What a result was measured on is one click away."""
    page = seen.open(path)
    page.evaluate("location.hash = '#provenance-1'")

    playwright.expect(page.locator("#provenance-1")).to_have_attribute("open", "")


def test_paper_shows_every_sae_in_light_colours(seen, path):
    """Printing opens what is closed, and closes it again."""
    page = seen.open(path)
    page.emulate_media(color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.sae:not([open])").count() == 0
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")

    assert page.locator("details.sae[open]").count() == 0
    assert page.evaluate("document.documentElement.dataset.theme") is None
