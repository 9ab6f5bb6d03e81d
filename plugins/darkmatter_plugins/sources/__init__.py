"""Where activations come from: language models."""

from __future__ import annotations

from darkmatter import api

SOURCES = (
    api.ActivationSource(
        name="transformer_lens",
        summary="Hugging Face language models through TransformerLens's TransformerBridge.",
        implementation="darkmatter_plugins.sources.transformer_lens:open_source",
    ),
)
