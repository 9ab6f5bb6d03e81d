"""The page of formats says what the adapters and the golden samples say, and leaves no format out."""

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from darkmatter import api
from darkmatter_plugins.adapters import ADAPTERS

ROOT = Path(__file__).parents[2]
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
NAMES = sorted(BY_NAME)


@pytest.fixture(scope="module")
def formats():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_formats", ROOT / "docs" / "make_formats.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_formats_page_is_up_to_date(formats):
    """docs/formats.md is what docs/make_formats.py writes; run it after changing an adapter or a sample."""
    page = formats.page(ADAPTERS, formats.SAMPLES)
    assert (ROOT / "docs" / "formats.md").read_text(encoding="utf-8") == page


@pytest.mark.parametrize("name", NAMES)
def test_every_adapter_says_what_it_reads(name):
    """An adapter has layouts, with files, architectures and where they are known from."""
    layouts = BY_NAME[name].layouts
    assert layouts
    assert all(layout.files and layout.architectures and layout.known_from for layout in layouts)
    assert all(trap.endswith(".") for layout in layouts for trap in layout.traps)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_shows_one_layout(formats, name):
    """Each sample that an adapter reads belongs to exactly one of its layouts, and each layout has one."""
    samples = formats.verified(BY_NAME[name], formats.SAMPLES)
    shown = [formats.shown_by(layout, samples) for layout in BY_NAME[name].layouts]
    assert samples
    assert all(shown)
    assert sorted(sample.name for group in shown for sample in group) == sorted(s.name for s in samples)


def test_the_table_is_readable(formats):
    """No cell of the table is longer than a reader takes in, and none breaks it."""
    table = [line for line in formats.page(ADAPTERS, formats.SAMPLES).splitlines() if line.startswith("| ")]
    cells = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in table]
    assert {len(row) for row in cells} == {4}
    assert [cell for row in cells for cell in row if len(cell) > 400] == []


LAYOUTS = (
    api.Layout(
        "old",
        files=("cfg.json", "sae_weights.safetensors"),
        architectures=("standard", "a|b"),
        known_from="SAELens's handling of files before 6.0",
        traps=("k may stand in activation_fn_kwargs.",),
        samples=("sae_lens/legacy_*",),
    ),
    api.Layout(
        "6",
        files=("cfg.json", "sae_weights.safetensors"),
        architectures=("standard",),
        known_from="SAELens 6",
        samples=("sae_lens/standard", "sae_lens_6_54/standard"),
    ),
)


@pytest.fixture
def page(formats):
    """The page of one adapter with two layouts."""
    return formats.page([replace(BY_NAME["saelens"], layouts=LAYOUTS)], formats.SAMPLES)


def test_verified_how_comes_from_the_samples(page):
    """What the library wrote, what is written by hand, and what no published file has confirmed."""
    assert (
        "| 2 samples written and evaluated by sae-lens 6.51.1 and 6.54.12<br>"
        "not verified on a published file |"
    ) in page
    assert (
        "| 10 samples written by hand, evaluated by sae-lens 6.51.1<br>layout from SAELens's handling of "
        "files before 6.0, not verified on a published file |"
    ) in page
    assert r"standard, a\|b" in page


def test_a_published_file_is_said(formats):
    """A layout of which a published file was read says so, and no longer that none was."""
    published = replace(LAYOUTS[0], published=True)
    page = formats.page([replace(BY_NAME["saelens"], layouts=(published,))], formats.SAMPLES)
    assert "evaluated by sae-lens 6.51.1<br>a published file was read |" in page
    assert "not verified on a published file" not in page


def test_a_section_says_what_is_assumed_and_what_others_get_wrong(page):
    """The sentences that reading the samples brings up, the traps, and what a user gives."""
    section = page.partition("## saelens\n")[2]
    assert "- apply_b_dec_to_input not recorded; taken as true, SAELens's default.\n" in section
    assert "- k may stand in activation_fn_kwargs.\n" in section
    assert "- **6**, known from SAELens 6. Give `FOLDER`.\n" in section


def test_overrides_that_help_are_those_that_settle_something(formats):
    """A field that an assumption is about, or that an adapter follows itself, stands on the page once."""
    adapter = api.SAEAdapter(
        "a", "", "a:load", filenames=(), detect=lambda _view: api.Refusal(""), follows=frozenset({"k"})
    )
    sentence = api.Assumption("hook point not recorded.", about="hook")
    said = [(sentence, "scale missing; took 2."), (sentence, "scale missing; took 3.")]
    samples = [formats.Verified("a/b", {}, sentences) for sentences in said]
    assert formats.overrides(adapter, samples) == ["hook", "k"]
    assert formats.assumptions(samples) == ["hook point not recorded.", "scale missing; took 2."]
