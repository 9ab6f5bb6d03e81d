"""Every built-in adapter keeps the rules that plugin authors are held to."""

from pathlib import Path

import pytest

from darkmatter.plugins import host
from darkmatter.testing import check_adapter

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
FOLDERS = {"saelens": "sae_lens"}
PER_ADAPTER = 6


@pytest.mark.parametrize("name", sorted(host().adapters()))
def test_built_in_adapters_conform(name):
    """A built-in adapter reads its samples, refuses foreign folders, and names damaged files."""
    folder = SAMPLES / FOLDERS.get(name, name)
    if not folder.is_dir():
        pytest.skip(f"there are no samples of {name}")
    samples = sorted(path.parent for path in folder.glob("*/golden.json") if "temporal" not in path.parts[-2])
    every = max(1, len(samples) // PER_ADAPTER)
    assert check_adapter(name, samples[::every]) == ()
