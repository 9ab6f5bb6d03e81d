"""Models that several tests load."""

import pytest

from darkmatter.cache.spec import ModelSpec
from darkmatter_plugins.sources.transformer_lens import TransformerLensProvider


@pytest.fixture(scope="module")
def load(models):
    """A function from architecture and options to a loaded model, loaded once; ``double``: in float64."""
    loaded = {}

    def get(architecture, *, double=False, **options):
        key = (architecture, double, *sorted(options.items()))
        if key not in loaded:
            spec = ModelSpec(name=str(models(architecture)), device="cpu", **options)
            loaded[key] = TransformerLensProvider().load(spec)
            if double:
                loaded[key].bridge.double()
        return loaded[key]

    return get
