"""What makes a latent fire: edges from the latents of an SAE at an earlier hook point.

All latents of the upstream SAE are ranked by gradient times activation, the first-order change of the
latent's summed activation when one of them is taken out; the foremost, and some others, are then taken
out. Activations outside its reconstruction stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter import api, sources
from darkmatter_plugins.evaluators.feature_effects.fragments import Text, column, stacked
from darkmatter_plugins.evaluators.feature_effects.removal import contribution, unit_contributions

ENTRIES = 1 << 22
"""Numbers in one batch of contributions (16 MB of float32)."""

_IN_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_WITHIN = (
    ("hook_resid_pre", "hook_in"),
    ("ln1.hook_normalized", "ln1.hook_out"),
    ("attn.hook_q", "attn.hook_k", "attn.hook_v"),
    ("attn.hook_z",),
    ("hook_attn_out", "attn.hook_out"),
    ("hook_resid_mid",),
    ("ln2.hook_normalized", "ln2.hook_out"),
    ("mlp.hook_pre",),
    ("mlp.hook_post",),
    ("hook_mlp_out", "mlp.hook_out"),
    ("hook_resid_post", "hook_out"),
)
_PLACES = {name: place for place, names in enumerate(_WITHIN) for name in names}


def depth(hook: str) -> tuple[int, int] | None:
    """Where a hook point stands in the model; None for one that is not known."""
    if hook == "hook_embed":
        return (-1, 0)
    found = _IN_BLOCK.fullmatch(hook)
    place = _PLACES.get(found[2]) if found else None
    return None if found is None or place is None else (int(found[1]), place)


def upstream_of(ctx: api.EvalContext, named: str | None) -> api.EncodedSAE | str:
    """The SAE whose latents are the causes, or why there is none."""
    own = depth(ctx.hook)
    if own is None:
        return f"it is not known what comes before {ctx.hook!r}"
    found = []
    for each in ctx.others:
        place, at_home = depth(each.hook), each.sae.hook_out in {None, each.hook}
        if place is not None and place < own and at_home and each.sae.reconstructs:
            found.append((place, each))
    if named is not None and named not in [each.name for _, each in found]:
        return f"{named!r} is no SAE of this run that reconstructs its input at an earlier hook point"
    if not found:
        return "no SAE of this run reconstructs its input at an earlier hook point"
    nearest = max(place for place, _ in found)
    return next(each for place, each in found if place == nearest)


@dataclass(frozen=True)
class Edges:
    """Edges into one latent.

    Attributes:
        size: mean over contexts of the L2 over positions of the latent's activation.
        table: one row per upstream latent taken out, largest edge first.
    """

    size: float
    table: list[dict[str, Any]]

    def correlation(self) -> float:
        """Pearson's, of the estimates with the edges; NaN where either does not vary."""
        pairs = torch.tensor([[row["estimate"], row["edge"]] for row in self.table], dtype=torch.float64)
        if len(pairs) < 3 or bool((pairs.amax(0) - pairs.amin(0) <= 1e-12 * pairs.abs().amax(0)).any()):
            return float("nan")
        return float(torch.corrcoef(pairs.T)[0, 1].clamp(-1, 1))


def edges_into(
    ctx: api.EvalContext,
    upstream: api.EncodedSAE,
    latent: int,
    texts: Mapping[int, Text],
    numbers: Sequence[int],
    *,
    count: int,
    random_count: int,
) -> Edges:
    """Take upstream latents out of these contexts and see what becomes of the latent."""
    tokens, rows = stacked(texts, numbers)
    resumed = ctx.model.resume_at(tokens, upstream.hook)
    there = resumed.activations
    codes = upstream.sae.encode(there.flatten(0, 1))
    own = _activation(ctx, resumed, latent, None, rows)
    estimate = _estimates(ctx, upstream.sae, codes, resumed, latent, own != 0)
    table = []
    for kind, cause in _chosen(estimate, codes, count, random_count, ctx.seed + latent):
        fires, added = contribution(upstream.sae, codes, cause)
        patched = there.flatten(0, 1).clone()
        patched[fires.to(patched.device)] -= added.to(patched)
        change = _activation(ctx, resumed, latent, patched.view_as(there), rows) - own
        edge = float(change.square().sum(dim=1).sqrt().mean())
        table.append({"cause": cause, "kind": kind, "estimate": float(estimate[cause]), "edge": edge})
    size = float(own.square().sum(dim=1).sqrt().mean())
    return Edges(size, sorted(table, key=lambda row: (-row["edge"], row["cause"])))


def _activation(
    ctx: api.EvalContext, resumed: sources.Resumed, latent: int, replacement: Tensor | None, rows: Tensor
) -> Tensor:
    """[B, P] float64 activations of the latent, 0 off the held-out rows."""
    x = resumed.at(ctx.hook, replacement)
    found = column(ctx.sae.encode(x.flatten(0, 1)), latent).double().cpu().view(rows.shape)
    return torch.where(rows, found, 0.0)


def _estimates(
    ctx: api.EvalContext,
    upstream: api.SAE,
    codes: api.Codes,
    resumed: sources.Resumed,
    latent: int,
    fires: Tensor,
) -> Tensor:
    """[d_sae] mean over contexts of |Σ over positions of gradient · contribution|, float64."""
    batch, positions = fires.shape

    def summed(x: Tensor) -> Tensor:
        return preactivation(ctx.sae, x.flatten(0, 1), latent)[fires.flatten().to(x.device)].sum()

    gradient = resumed.gradient(summed, hook=ctx.hook).flatten(0, 1).detach()
    total = torch.zeros(batch * upstream.d_sae, dtype=torch.float64)
    row_ids = codes.row_ids()
    for index in torch.arange(codes.nnz).split(max(1, ENTRIES // upstream.d_out)):
        at = index.to(codes.device)
        rows, causes = row_ids[at], codes.indices[at]
        scale = None if codes.row_scale is None else codes.row_scale[rows]
        added = unit_contributions(upstream, causes, codes.values[at], scale)
        products = (added.to(gradient) * gradient[rows.to(gradient.device)]).sum(dim=1).double().cpu()
        total.index_add_(0, rows.cpu() // positions * upstream.d_sae + causes.cpu(), products)
    return total.view(batch, -1).abs().mean(dim=0)


def preactivation(sae: api.SAE, x: Tensor, latent: int) -> Tensor:
    """What a latent's activation function gets at rows x [n, d_in], but for constants; differentiable.

    Where the latent fires its activation has the same gradient, for ReLU, TopK, JumpReLU and their
    kin. Raises ItemError for functions, whose gradient is not known.
    """
    if not isinstance(sae, api.CanonicalSAE):
        message = "the gradient of an SAE that is given as functions is not known"
        raise api.ItemError(message)
    rows = sae.normalisation.apply(x).x
    found: Tensor = rows @ sae.W_enc[:, latent].to(rows)
    return found if sae.code_scale is None else found * sae.code_scale[latent].to(rows)


def _chosen(
    estimate: Tensor, codes: api.Codes, count: int, random_count: int, seed: int
) -> list[tuple[str, int]]:
    """Upstream latents to take out: those of largest estimate, and random ones among the others that fire."""
    active = codes.indices[codes.values != 0].unique().cpu()
    order = active[estimate[active].sort(descending=True, stable=True).indices]
    others = order[count:].sort().values
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:random_count]
    chosen = [("estimate", order[:count]), ("random", others[drawn].sort().values)]
    return [(kind, cause) for kind, causes in chosen for cause in causes.tolist()]
