"""What is put at the hook point: the SAE's reconstruction with parts of its error added back."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from darkmatter_plugins.evaluators.ce_attribution.rows import ErrorParts


def replacements(
    parts: ErrorParts, generator: torch.Generator, controls: str
) -> Iterator[tuple[str, Tensor]]:
    """Names of ``SETTINGS`` and rows [n, d] float64, one after another."""
    S, linear, nonlinear = parts.sae, parts.linear, parts.nonlinear
    yield "sae", S
    yield "sae_linear", S + linear
    yield "sae_nonlinear", S + nonlinear
    if controls == "none":
        return
    # Both parts of the error use one permutation and one set of directions, so that they are paired.
    order = torch.randperm(len(S), generator=generator).to(S.device)
    drawn = torch.randn(S.shape, generator=generator, dtype=torch.float64).to(S.device)
    direction = drawn / drawn.norm(dim=1, keepdim=True)
    yield "sae_shuffled", S + nonlinear[order]
    yield "sae_random", S + direction * nonlinear.norm(dim=1, keepdim=True)
    if controls == "both":
        yield "sae_shuffled_linear", S + linear[order]
        yield "sae_random_linear", S + direction * linear.norm(dim=1, keepdim=True)
