"""Interpretability of trained latents: simulated from tokens, scored on held-out fragments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import LinearMap
from darkmatter_plugins.evaluators.error_saes.descriptor import PARTS, ErrorSAEsConfig
from darkmatter_plugins.evaluators.error_saes.targets import parts
from darkmatter_plugins.interpretability.fragments import FragmentSampler
from darkmatter_plugins.interpretability.latents import codes_of
from darkmatter_plugins.interpretability.scoring import score
from darkmatter_plugins.simulators.ngram import NGram

SIMULATORS: dict[str, api.SimulatorMaker] = {"score": NGram(2), "score_token": NGram(1)}


@dataclass(frozen=True)
class LatentScores:
    """Scores of one SAE's sampled latents by simulator [latents], NaN where the simulation is constant."""

    latents: list[int]
    scores: dict[str, np.ndarray]


def latent_scores(
    ctx: api.EvalContext,
    config: ErrorSAEsConfig,
    linear: LinearMap,
    chosen: Mapping[str, tuple[api.CanonicalSAE, Tensor]],
) -> dict[str, LatentScores] | str:
    """Scores by part of the error, of an SAE and its sampled latents each; or why there are none."""
    sides: tuple[api.Rows, api.Rows] = ("train", "test")
    samplers: dict[str, FragmentSampler] = {}
    for rows in sides:
        sampler = _sampler(ctx, config, rows, sum(len(latents) for _, latents in chosen.values()))
        for chunk in ctx.chunks(rows):
            if chunk.tokens is None:
                return "the activations come without tokens"
            activations = _activations(parts(chunk, linear), chosen)
            sampler.offer(chunk.position.cpu(), chunk.tokens.cpu().to(torch.int64), activations.cpu())
        if sampler.seen == 0:
            return f"no context has {config.fragment} neighbouring rows on both sides of the split"
        samplers[rows] = sampler
    found, column = {}, 0
    for part, (_, latents) in chosen.items():
        columns = range(column, column + len(latents))
        found[part] = LatentScores(
            latents.tolist(),
            {name: _scores(samplers, simulator, columns) for name, simulator in SIMULATORS.items()},
        )
        column += len(latents)
    return found


def _sampler(ctx: api.EvalContext, config: ErrorSAEsConfig, rows: api.Rows, n: int) -> FragmentSampler:
    count = config.train_fragments if rows == "train" else config.test_fragments
    return FragmentSampler(
        n, size=config.fragment, top=count, random_count=count, seed=ctx.seed, draw=config.draw
    )


def _activations(found: Tensor, chosen: Mapping[str, tuple[api.CanonicalSAE, Tensor]]) -> Tensor:
    """Activations [n, all sampled latents] of rows [n, 3, d], without a dense code in between."""
    return torch.cat(
        [
            codes_of(sae.encode(found[:, list(PARTS).index(part)].float()), latents)
            for part, (sae, latents) in chosen.items()
        ],
        dim=1,
    )


def _scores(
    samplers: Mapping[str, FragmentSampler], simulator: api.SimulatorMaker, columns: range
) -> np.ndarray:
    values = [
        score(simulator.fit(samplers["train"].of(c).fragments), samplers["test"].of(c).fragments)
        for c in columns
    ]
    return np.array(values, dtype=np.float64)
