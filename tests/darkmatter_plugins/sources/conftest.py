"""The tiny models, loaded by TransformerLens."""

import pytest

from darkmatter.cache.spec import ModelSpec
from darkmatter_plugins.sources.transformer_lens import TransformerLensProvider


@pytest.fixture(scope="module")
def load(models):
    """A function from architecture and options to a loaded model, each loaded once."""
    loaded = {}

    def get(architecture, **options):
        key = (architecture, *sorted(options.items()))
        if key not in loaded:
            spec = ModelSpec(name=str(models(architecture)), device="cpu", **options)
            loaded[key] = TransformerLensProvider().load(spec)
        return loaded[key]

    return get
