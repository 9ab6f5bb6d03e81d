"""A catalogue: names for SAEs that somebody published."""

from darkmatter import api

PUBLISHED = {
    "small": ("hf:someone/toy-saes/small", 1.0),
    "scaled": ("hf:someone/toy-saes/scaled@v1", 2.5),
}
"""Where each is, and the factor that its training multiplied activations by, which no file holds."""


def resolve(target: str) -> api.CatalogueEntry:
    """The entry of one name."""
    if target not in PUBLISHED:
        message = f"toys:{target}: there is no such toy. {api.did_you_mean(target, PUBLISHED)}"
        raise api.ItemError(message)
    reference, factor = PUBLISHED[target]
    return api.CatalogueEntry(
        reference,
        overrides=api.Overrides(norm_factor=None if factor == 1 else factor),
        adapter="toysae",
        extra={"version": "2026-01"},
    )
