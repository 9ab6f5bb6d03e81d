"""Every built-in adapter keeps the rules that plugin authors are held to."""

import json
from pathlib import Path

import pytest

from darkmatter.plugins import host
from darkmatter.testing import check_adapter

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
PER_ADAPTER = 6


def samples_of(name):
    """The golden samples that this adapter reads."""
    found = sorted(SAMPLES.glob("*/*/golden.json"))
    described = [(path.parent, json.loads(path.read_text())) for path in found]
    return [folder for folder, golden in described if golden["adapter"] == name]


@pytest.mark.parametrize("name", sorted(host().adapters()))
def test_built_in_adapters_conform(name):
    """A built-in adapter reads its samples, refuses foreign folders, and names damaged files."""
    samples = samples_of(name)
    every = max(1, len(samples) // PER_ADAPTER)
    assert check_adapter(name, samples[::every]) == ()
