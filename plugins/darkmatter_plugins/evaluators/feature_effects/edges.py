"""What makes a latent fire: edges from the latents of an SAE at an earlier hook point.

All latents of the upstream SAE are ranked by gradient times activation, the first-order change of the
latent's summed activation when one of them is taken out; the foremost, and some others, are then taken
out. Activations outside its reconstruction stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter import api, sources
from darkmatter_plugins.evaluators.decoding import unit_contributions
from darkmatter_plugins.evaluators.feature_effects.fragments import Pairs, column
from darkmatter_plugins.evaluators.feature_effects.removal import taken_out

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
    ctx: api.EvalContext, upstream: api.EncodedSAE, pairs: Pairs, *, count: int, random_count: int
) -> dict[int, Edges]:
    """Take upstream latents out of each latent's contexts, one at a time, and see what becomes of it.

    Every latent's first cause goes in one run of the model, then every second one.
    """
    resumed = ctx.model.resume_at(pairs.tokens, upstream.hook)
    there = resumed.activations
    codes = upstream.sae.encode(there.flatten(0, 1)).to("cpu")
    own = _activations(ctx, resumed, None, pairs)
    estimates = _estimates(ctx, upstream.sae, codes, resumed, pairs, own)
    latents = torch.unique(pairs.latent).tolist()
    causes = {each: _chosen(estimates[each], count, random_count, ctx.seed + each) for each in latents}
    tables: dict[int, list[dict[str, Any]]] = {each: [] for each in latents}
    for turn in range(max(map(len, causes.values()))):
        now = {each: chosen[turn] for each, chosen in causes.items() if turn < len(chosen)}
        gone = torch.tensor([now[each][1] if each in now else -1 for each in pairs.latent.tolist()])
        by_row = gone.repeat_interleave(there.shape[1])
        patched, _ = taken_out(upstream.sae, codes, by_row, there)
        change = (_activations(ctx, resumed, patched, pairs) - own).square().sum(dim=1).sqrt()
        for each, (kind, cause) in now.items():
            edge, estimate = float(change[pairs.latent == each].mean()), estimates[each][cause]
            tables[each].append({"cause": cause, "kind": kind, "estimate": estimate, "edge": edge})
    size = own.square().sum(dim=1).sqrt()
    return {
        each: Edges(
            float(size[pairs.latent == each].mean()),
            sorted(tables[each], key=lambda row: (-row["edge"], row["cause"])),
        )
        for each in latents
    }


def _activations(
    ctx: api.EvalContext, resumed: sources.Resumed, replacement: Tensor | None, pairs: Pairs
) -> Tensor:
    """[N, P] float64 activations of each context's latent, 0 off the held-out rows."""
    x = resumed.at(ctx.hook, replacement)
    found = column(ctx.sae.encode(x.flatten(0, 1)), pairs.by_row).double().cpu().view(pairs.rows.shape)
    return torch.where(pairs.rows, found, 0.0)


def _estimates(
    ctx: api.EvalContext,
    upstream: api.SAE,
    codes: api.Codes,
    resumed: sources.Resumed,
    pairs: Pairs,
    own: Tensor,
) -> dict[int, dict[int, float]]:
    """By latent and by upstream latent that fires: mean over contexts of |Σ gradient · contribution|."""
    fires = own.flatten() != 0

    def summed(x: Tensor) -> Tensor:
        return preactivations(ctx.sae, x.flatten(0, 1), pairs.by_row, fires).sum()

    gradient = resumed.gradient(summed, hook=ctx.hook).flatten(0, 1).detach()
    row_ids = codes.row_ids()
    products = [torch.zeros(0, dtype=torch.float64)]
    for at in torch.split(torch.arange(codes.nnz), max(1, ENTRIES // upstream.d_out)):
        rows, causes = row_ids[at], codes.indices[at]
        scale = None if codes.row_scale is None else codes.row_scale[rows]
        added = unit_contributions(upstream, causes, codes.values[at], scale)
        products.append((added.to(gradient) * gradient[rows.to(gradient.device)]).sum(dim=1).double().cpu())
    place = row_ids // own.shape[1] * upstream.d_sae + codes.indices  # context and upstream latent
    there, inverse = torch.unique(place[codes.values != 0], return_inverse=True)
    sums = torch.zeros(len(there), dtype=torch.float64)
    sums.index_add_(0, inverse, torch.cat(products)[codes.values != 0])
    found: dict[int, dict[int, float]] = {each: {} for each in torch.unique(pairs.latent).tolist()}
    contexts = {each: int((pairs.latent == each).sum()) for each in found}
    for key, value in zip(there.tolist(), sums.abs().tolist(), strict=True):
        latent, cause = int(pairs.latent[key // upstream.d_sae]), key % upstream.d_sae
        found[latent][cause] = found[latent].get(cause, 0.0) + value / contexts[latent]
    return found


def preactivations(sae: api.SAE, x: Tensor, latent: Tensor, where: Tensor) -> Tensor:
    """What the activation function gets for each row's own latent [n], but for constants; differentiable.

    x is [n, d_in]; the rows ``where`` [n] alone are given. Where a latent fires its activation has the
    same gradient, for ReLU, TopK, JumpReLU and their kin. Raises ItemError for functions, whose gradient is
    not known.
    """
    if not isinstance(sae, api.CanonicalSAE):
        message = "the gradient of an SAE that is given as functions is not known"
        raise api.ItemError(message)
    rows = sae.normalisation.apply(x[where.to(x.device)]).x
    chosen = latent[where].to(sae.W_enc.device)
    found: Tensor = (rows * sae.W_enc[:, chosen].T.to(rows)).sum(dim=1)
    return found if sae.code_scale is None else found * sae.code_scale[chosen].to(rows)


def _chosen(
    estimates: Mapping[int, float], count: int, random_count: int, seed: int
) -> list[tuple[str, int]]:
    """Upstream latents to take out: those of largest estimate, and random ones among the others that fire."""
    order = sorted(estimates, key=lambda cause: (-estimates[cause], cause))
    others = sorted(order[count:])
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:random_count]
    return [
        *(("estimate", cause) for cause in order[:count]),
        *(("random", others[i]) for i in sorted(drawn.tolist())),
    ]
