"""The files of tested versions agree."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name):
    """Package and version of every line of a constraints file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_both_sets_of_versions_differ_in_transformer_lens_only():
    """constraints-tl3.txt is constraints.txt with the last transformer_lens 3.x."""
    ours, old = pins("constraints.txt"), pins("constraints-tl3.txt")
    assert old.pop("transformer-lens").startswith("3.")
    assert ours.pop("transformer-lens").startswith("4.")
    assert ours == old
