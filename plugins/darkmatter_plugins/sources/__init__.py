"""Where activations come from: language models and files."""

from darkmatter import api

SOURCES = (
    api.ActivationSource(
        "transformer_lens",
        "a language model in Hugging Face layout, run by TransformerLens, cached",
        "darkmatter_plugins.sources.transformer_lens:open_source",
        plan="darkmatter_plugins.sources.transformer_lens:plan_source",
    ),
    api.ActivationSource(
        "raw",
        "a safetensors file with activations x, and tokens, loss, labels, mask, y where known",
        "darkmatter_plugins.sources.raw:open_source",
    ),
)
