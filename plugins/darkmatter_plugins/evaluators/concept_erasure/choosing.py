"""Which latents stand for the concept, chosen on the training rows alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.concept_erasure.descriptor import ConceptErasureConfig
from darkmatter_plugins.evaluators.concept_erasure.edits import ClassMoments, projection
from darkmatter_plugins.evaluators.concept_erasure.examples import LabelledRows
from darkmatter_plugins.evaluators.concept_erasure.probing import accuracy


@dataclass(frozen=True)
class Chosen:
    """A latent, best first: its cosine with Δ, how often it fires, and the probe's accuracy without it."""

    latent: int
    cosine: float
    rate: float
    accuracy: float | None = None

    def record(self) -> dict[str, Any]:
        """For the tables."""
        return asdict(self)


def choose(
    sae: api.SAE, train: LabelledRows, moments: ClassMoments, config: ConceptErasureConfig
) -> list[Chosen]:
    """The latents that `latents` takes out, best first; the first of them is that of `latent`.

    The sign of a cosine does not count: a latent of either class points along ±Δ. (The authors sort signed
    cosines and then take the last.)
    """
    ranked = _by_cosine(sae, train, moments, config.min_rate)
    if config.choose == "cosine":
        return ranked[: config.latents]
    tried = [
        Chosen(
            each.latent, each.cosine, each.rate, _accuracy_without(sae, each.latent, train, moments, config)
        )
        for each in ranked[: config.candidates]
    ]
    # Sorting is stable: of equal drops the larger cosine comes first.
    return sorted(tried, key=lambda each: each.accuracy or 0.0)[: config.latents]


def decoder_rows(sae: api.SAE, latents: list[int]) -> Tensor:
    """[k, d] float64."""
    assert sae.W_dec is not None
    return sae.W_dec[latents].detach().cpu().double()


def _by_cosine(sae: api.SAE, train: LabelledRows, moments: ClassMoments, min_rate: float) -> list[Chosen]:
    """Latents that are active often enough, by |cosine|; of equals the lowest index first."""
    assert train.codes is not None
    assert sae.W_dec is not None
    rates = torch.bincount(train.codes.indices, minlength=sae.d_sae).double() / len(train.y)
    decoder = sae.W_dec.detach().cpu().double()
    sizes = decoder.norm(dim=1)
    usable = (rates > 0) & (rates >= min_rate) & (sizes > 0)
    cosines = torch.zeros_like(rates)
    cosines[usable] = (decoder[usable] @ moments.difference) / (sizes[usable] * moments.difference.norm())
    order = torch.sort(cosines.abs() * usable - 1.0 * ~usable, descending=True, stable=True).indices
    return [
        Chosen(index, float(cosines[index]), float(rates[index]))
        for index in order[: int(usable.sum())].tolist()
    ]


def _accuracy_without(
    sae: api.SAE, latent: int, train: LabelledRows, moments: ClassMoments, config: ConceptErasureConfig
) -> float:
    edit = projection(decoder_rows(sae, [latent]), moments.mean)
    return accuracy(edit(train.y, None), train.label, config.ridge)
