"""Activations without what single latents add to them."""

from __future__ import annotations

from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.decoding import contribution


def taken_out(sae: api.SAE, codes: api.Codes, latent: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Activations [B, P, d] without what each row's own latent [B P] adds, and the rows it fires on."""
    rows, added = contribution(sae, codes, latent)
    patched = activations.flatten(0, 1).clone()
    patched[rows.to(patched.device)] -= added.to(patched)
    return patched.view_as(activations), rows.cpu()
