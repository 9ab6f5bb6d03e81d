"""Every built-in adapter keeps the rules that plugin authors are held to."""

import json
from pathlib import Path

import pytest

from darkmatter.plugins import host
from darkmatter.testing import check_adapter

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
PER_ADAPTER = 3
"""Samples whose files are damaged in the fast tests."""
REFUSED = ("threshold_unset",)
"""In the names of samples that no adapter reads."""


def samples_of(name):
    """The golden samples that this adapter reads."""
    found = sorted(SAMPLES.glob("*/*/golden.json"))
    described = [(path.parent, json.loads(path.read_text())) for path in found]
    return [
        folder
        for folder, golden in described
        if golden["adapter"] == name and not any(word in folder.name for word in REFUSED)
    ]


@pytest.mark.parametrize("name", sorted(host().adapters()))
def test_built_in_adapters_conform(name):
    """A built-in adapter reads its samples, refuses foreign folders, and says what is damaged in a file."""
    samples = samples_of(name)
    assert check_adapter(name, samples, damage=False) == ()
    assert check_adapter(name, samples[:: max(1, len(samples) // PER_ADAPTER)]) == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(host().adapters()))
def test_every_damage_of_every_sample_is_met(name):
    """No layout of a format lets a damaged tensor or field through, or leaves it unnamed."""
    assert check_adapter(name, samples_of(name)) == ()
