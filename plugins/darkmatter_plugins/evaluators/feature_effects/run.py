"""What single latents fire on, what they do to the prediction, and what makes them fire.

Latents are drawn by the seed among those that fire on ``min_firings`` rows of either side, or named. For
latent f with code c_f, over held-out rows:

    token_purity       = Σ_{rows of token*} |c_f| / Σ |c_f|, token* that of largest Σ |c_f| in training
    token_purity_firings: share of its firings on the token on which it fires most often in training
    token_entropy      = -Σ_t p(t) log2 p(t), p(t) the share of its firings on token t, in bits
    context_effect     = max_j |c_f(without token j) - c_f| / |c_f| at its top positions, one of the
                         ``context_tokens`` earlier tokens removed; *_previous: j the token just before
    logit effect       = f W_U about its mean over the vocabulary, per unit of activation
    next_token_kl      = mean KL(p || p') where it fires, p' with x - c_f f wherever it fires
    next_token_loss    = mean of log p(next) - log p'(next) there
    logit_agreement    = Pearson(f W_U, mean log p - log p') over the vocabulary
    edge u -> f        = mean over contexts of the L2 over held-out positions of c_f(x_u - c_u f_u) - c_f(x)
    causal_edge        = max_u edge / (mean over contexts of the L2 of c_f itself)
    edge_correlation   = Pearson over the upstream latents taken out of |Σ gradient · c_u f_u| and the edge

Means are over latents, which are what intervals resample. Parts that have no model, no upstream SAE or no
way to the logits are undefined with that reason. f is what one unit of c_f adds to the reconstruction in
the units of the activation. Source: Cunningham et al., case studies. Theirs counts tokens of the rows
that chose the token, and ablates every upstream latent.

``tables``: ``latents`` one row per latent with its numbers; ``bins``, ``fragments`` (``top``, and one drawn
from each bin), ``context``, ``logits``, ``next_token``, ``edges`` with a column ``latent``; ``tokens`` the
text of every token id in them; ``sample`` what was looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from darkmatter import api
from darkmatter_plugins.evaluators.batches import at_once
from darkmatter_plugins.evaluators.feature_effects import edges as causal
from darkmatter_plugins.evaluators.feature_effects import predictions
from darkmatter_plugins.evaluators.feature_effects.context import Place, leave_one_out, shares
from darkmatter_plugins.evaluators.feature_effects.descriptor import FeatureEffectsConfig
from darkmatter_plugins.evaluators.feature_effects.fragments import (
    Pairs,
    Text,
    Wanted,
    read_texts,
)
from darkmatter_plugins.evaluators.feature_effects.sampling import (
    Firings,
    LatentRows,
    LatentRowsCollector,
)
from darkmatter_plugins.evaluators.feature_effects.tokens import bin_table, purity
from darkmatter_plugins.interpretability.latents import sampled_latents

LINKED = ("bins", "fragments", "context", "logits", "next_token", "edges")
"""Tables with a column ``latent``."""


@dataclass
class Found:
    """Numbers by latent, tables, and why a part is missing."""

    rows: dict[int, dict[str, Any]]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in LINKED})
    missing: dict[str, str] = field(default_factory=dict)

    def measure(self, part: str, latent: int, values: dict[str, float | None]) -> None:
        """Keep numbers of one latent; one that is not finite has no value."""
        self.rows[latent].update(
            {
                name: value if value is not None and math.isfinite(value) else None
                for name, value in values.items()
            }
        )
        self.missing.pop(part, None)


@dataclass(frozen=True)
class Material:
    """What is run through the model.

    Attributes:
        latents: the latents looked at.
        texts: contexts by number.
        drawn: for each latent contexts in which it fires.
        vocabulary: tokens whose logits count; None: all.
    """

    latents: list[int]
    texts: dict[int, Text]
    drawn: dict[int, list[int]]
    vocabulary: torch.Tensor | None

    def pairs(self, ctx: api.EvalContext) -> Iterator[Pairs]:
        """The latents with their contexts, as many as are run together."""
        positions = len(next(iter(self.texts.values())).tokens) if self.texts else 1
        return Pairs.of(self.texts, self.drawn, at_once(ctx.model, positions))


class FeatureEffects:
    """The evaluator `feature_effects`."""

    def __init__(self, config: FeatureEffectsConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Which latents fire."""
        return (Firings(),)

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        counts = ctx.collected(Firings())
        latents = self._latents(ctx, counts)
        found = Found({latent: _counted(ctx, counts, latent) for latent in latents})
        out = ctx.output()
        if latents:
            self._look(ctx, latents, found)
        for name, why in METRICS.items():
            values = [row[name] for row in found.rows.values() if row.get(name) is not None]
            reason = self._none(found, why) if latents else self._no_latent()
            if values:
                out.mean_over(name, np.array(values, dtype=np.float64), units="latents")
            else:
                out.undefined(name, reason)
        out.tables["latents"] = list(found.rows.values())
        out.tables.update(found.tables)
        out.tables["tokens"] = _texts(ctx, found.tables, found.rows.values())
        out.tables["sample"] = self._sample(ctx, counts, found)
        return out

    def _latents(self, ctx: api.EvalContext, counts: torch.Tensor) -> list[int]:
        if self.config.indices is None:
            often = (counts >= self.config.min_firings).all(dim=0)
            drawn: list[int] = sampled_latents(often, self.config.latents, ctx.seed).tolist()
            return drawn
        wrong = [index for index in self.config.indices if not 0 <= index < ctx.info.d_sae]
        if wrong:
            message = (
                f"there is no latent {', '.join(map(str, wrong))}: this SAE has {ctx.info.d_sae} latents, "
                f"0 to {ctx.info.d_sae - 1}"
            )
            raise api.ItemError(message)
        return sorted(set(self.config.indices))

    def _no_latent(self) -> str:
        least = self.config.min_firings
        return f"no latent fires on {least} training rows and {least} held-out rows"

    def _none(self, found: Found, part: str) -> str:
        return found.missing.get(part, NONE[part])

    def _look(self, ctx: api.EvalContext, latents: list[int], found: Found) -> None:
        """Everything about these latents."""
        config = self.config
        positions = next(iter(ctx.contexts(1))).rows.shape[1]
        top = max(config.top_fragments, config.context_positions)
        spec = LatentRows(tuple(latents), config.max_firings, top, positions, ctx.seed)
        (train,) = ctx.collect([spec], "train")
        (test,) = ctx.collect([spec], "test")
        for place, latent in enumerate(latents):
            self._tokens(found, latent, place, train, test)
        wanted = self._wanted(found, latents, test)
        drawn = {latent: self._contexts(test, place, positions) for place, latent in enumerate(latents)}
        contexts = {number for numbers in drawn.values() for number in numbers}
        texts, found.tables["fragments"] = read_texts(ctx, contexts, wanted, positions, config.fragment)
        vocabulary = train.tokens if config.vocabulary == "seen" else None
        if vocabulary is not None:
            vocabulary = torch.unique(torch.cat([vocabulary, test.tokens]))
        material = Material(latents, texts, drawn, vocabulary)
        parts: dict[tuple[str, ...], Callable[[api.EvalContext, Found, Material], None]] = {
            ("context",): self._context,
            ("logit", "prediction"): self._prediction,
            ("edge",): self._edges,
        }
        for names, part in parts.items():
            try:
                part(ctx, found, material)
            except api.ItemError as error:
                found.missing |= dict.fromkeys(names, str(error))

    # -- what it fires on -----------------------------------------------------------------------

    def _tokens(
        self,
        found: Found,
        latent: int,
        place: int,
        train: LatentRowsCollector,
        test: LatentRowsCollector,
    ) -> None:
        """Purity, entropy, sizes and bins of one latent."""
        row = found.rows[latent]
        if row["firings"]:
            row["mean"] = float(test.sums[1, place] / test.sums[0, place])
            row["min"], row["max"] = float(test.low[place]), float(test.high[place])
        pure = purity(train.drawn.of(place), test.drawn.of(place))
        if pure is not None:
            row["token"] = pure.token
            values = {"token_purity": pure.mass, "token_purity_firings": pure.firings}
            found.measure("token", latent, {**values, "token_entropy": pure.entropy})
        bins = bin_table(test, place, self.config.bins, self.config.bin_tokens)
        found.tables["bins"] += [{"latent": latent, **each} for each in bins]

    def _wanted(self, found: Found, latents: list[int], test: LatentRowsCollector) -> list[Wanted]:
        """Firings to show: the top ones, and the one that each bin drew."""
        wanted = []
        for place, latent in enumerate(latents):
            rows = test.top.of(place).row[: self.config.top_fragments].tolist()
            wanted += [Wanted(latent, row, "top") for row in rows]
        for each in found.tables["bins"]:
            example = each.pop("example")
            if example is not None and self.config.top_fragments:
                wanted.append(Wanted(each["latent"], example, f"bin {each['bin']}"))
        return wanted

    def _contexts(self, test: LatentRowsCollector, place: int, positions: int) -> list[int]:
        """Contexts in which a latent fires, drawn by its firings."""
        numbers = (test.drawn.of(place).row // positions).tolist()
        return list(dict.fromkeys(numbers))[: self.config.effect_contexts]

    def _context(self, ctx: api.EvalContext, found: Found, material: Material) -> None:
        """Leave one out at the positions of the top fragments."""
        if not self.config.context_positions:
            found.missing["context"] = "context_positions is 0"
            return
        ctx.model  # noqa: B018 - raises where there is none
        shown: dict[int, int] = {}
        places = []
        for each in found.tables["fragments"]:
            if each["kind"] == "top" and shown.setdefault(each["latent"], 0) < self.config.context_positions:
                shown[each["latent"]] += 1
                places.append(Place(each["latent"], each["context"], each["position"]))
        effects = list(leave_one_out(ctx, places, material.texts, self.config.context_tokens))
        found.tables["context"] = effects
        for latent in material.latents:
            here = [shares(each) for each in effects if each["latent"] == latent]
            previous = [b for _, b in here if b is not None]
            values = {"context_effect": _mean([a for a, _ in here])}
            found.measure("context", latent, {**values, "context_effect_previous": _mean(previous)})

    # -- what it does ---------------------------------------------------------------------------

    def _prediction(self, ctx: api.EvalContext, found: Found, material: Material) -> None:
        """The direct logit effect, and the measured one."""
        if not ctx.sae.reconstructs:
            raise api.ItemError(ctx.sae.no_reconstruction)
        vocabulary = material.vocabulary
        if vocabulary is None:
            vocabulary = torch.arange(ctx.model.n_vocab)
        direct: torch.Tensor | None = None
        try:
            direct = predictions.logit_effects(ctx, material.latents, vocabulary)
        except api.ItemError as error:
            found.missing["logit"] = str(error)
        shown = self.config.effect_tokens
        every: dict[int, predictions.NextToken] = {}
        for pairs in material.pairs(ctx):
            every |= predictions.without_latents(ctx, pairs)
        for place, latent in enumerate(material.latents):
            effect = None if direct is None else direct[place]
            if effect is not None:
                ends = predictions.strongest(effect, vocabulary, shown)
                found.tables["logits"].append({"latent": latent, **ends})
                share = predictions.concentration(effect, shown)
                found.measure("logit", latent, {"logit_concentration": share})
            measured = every.get(latent)
            if measured is None:
                continue
            change = measured.log_ratio[vocabulary] / measured.rows
            kl, loss = measured.kl / measured.rows, measured.loss / measured.rows
            ends = predictions.strongest(change, vocabulary, shown)
            row = {"latent": latent, "rows": measured.rows, "kl": kl, "loss": loss, **ends}
            found.tables["next_token"].append(row)
            found.measure("prediction", latent, {"next_token_kl": kl, "next_token_loss": loss})
            if effect is not None and len(effect) > 1:
                agreement = torch.corrcoef(torch.stack([effect, change]))[0, 1].clamp(-1, 1)
                found.measure("logit", latent, {"logit_agreement": float(agreement)})

    # -- what makes it fire ---------------------------------------------------------------------

    def _edges(self, ctx: api.EvalContext, found: Found, material: Material) -> None:
        """Edges from the latents of an upstream SAE."""
        ctx.model  # noqa: B018 - raises where there is none
        if not (self.config.edges + self.config.random_edges and self.config.effect_contexts):
            found.missing["edge"] = "edges and random_edges are 0, or effect_contexts is"
            return
        upstream = causal.upstream_of(ctx, self.config.upstream)
        if isinstance(upstream, str):
            found.missing["edge"] = upstream
            return
        every: dict[int, causal.Edges] = {}
        for pairs in material.pairs(ctx):
            count, random_count = self.config.edges, self.config.random_edges
            every |= causal.edges_into(ctx, upstream, pairs, count=count, random_count=random_count)
        for latent, edges in every.items():
            if not (edges.size and edges.table):
                continue
            found.tables["edges"] += [
                {"latent": latent, "upstream": upstream.name, **each, "relative": each["edge"] / edges.size}
                for each in edges.table
            ]
            largest = edges.table[0]["edge"] / edges.size
            values = {"causal_edge": largest, "edge_correlation": edges.correlation()}
            found.measure("edge", latent, values)

    def _sample(self, ctx: api.EvalContext, counts: torch.Tensor, found: Found) -> dict[str, Any]:
        """What was looked at."""
        fires = (counts > 0).any(dim=0)
        least = self.config.min_firings
        return {
            "latents": len(found.rows),
            "chosen": "named" if self.config.indices is not None else "drawn",
            "latents_that_fire": int(fires.sum()),
            "latents_that_fire_often_enough": int((counts >= least).all(dim=0).sum()),
            "d_sae": ctx.info.d_sae,
            "held_out_rows": ctx.n_test,
            "missing": dict(sorted(found.missing.items())),
        }


METRICS: dict[str, str] = {
    "token_purity": "token",
    "token_purity_firings": "token",
    "token_entropy": "token",
    "context_effect": "context",
    "context_effect_previous": "context",
    "logit_concentration": "logit",
    "next_token_kl": "prediction",
    "next_token_loss": "prediction",
    "logit_agreement": "logit",
    "causal_edge": "edge",
    "edge_correlation": "edge",
}
"""Metrics and the part of the evaluation that they come from."""

NONE = {
    "token": "none of these latents fires on both sides of the split",
    "context": "there is no earlier token where these latents fire",
    "logit": "these latents move no logit, or the model could not be asked",
    "prediction": "these latents fire on no row that predicts a token",
    "edge": "no latent upstream fires with these, or their estimates do not vary",
}


def _counted(ctx: api.EvalContext, counts: torch.Tensor, latent: int) -> dict[str, Any]:
    """The first numbers of a latent: how often it fires."""
    train, test = counts[:, latent].tolist()
    rate = test / ctx.n_test if ctx.n_test else 0.0
    row = {"latent": latent, "firings": test, "firings_train": train, "rate": rate}
    if not test:
        alive = counts[1].nonzero().flatten()
        row["nearest_that_fire"] = alive[(alive - latent).abs().sort(stable=True).indices[:3]].tolist()
    return row


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _texts(
    ctx: api.EvalContext, tables: dict[str, list[dict[str, Any]]], rows: Iterable[dict[str, Any]]
) -> dict[str, str]:
    """The text of every token that a table names, by its id; empty without a tokenizer."""
    if ctx.tokenizer is None:
        return {}
    ids: set[int] = {row["token"] for row in rows if "token" in row}
    _gather(tables, ids.add)
    ordered = sorted(ids)
    return dict(zip(map(str, ordered), ctx.tokenizer.decode(ordered), strict=True))


def _gather(value: Any, add: Callable[[int], None]) -> None:
    """Every token id in nested tables: what stands under ``token``, and lists under ``tokens``."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "token":
                add(part)
            elif name == "tokens" and part and isinstance(part[0], int):
                for each in part:
                    add(each)
            else:
                _gather(part, add)
    elif isinstance(value, list):
        for part in value:
            _gather(part, add)
