"""Whether an SAE holds features that are known to be there.

A known feature is a direction t in R^d, a latent has the direction of its decoder row v; cosines are signed.
Of w latents

    recovery         = mean over features of max_j cos(v_j, t)          in [-1, 1], 1: all are there
    recovery_excess  = recovery - E max of w cosines of random directions in R^d
    recovered        = share of features whose cosine exceeds `threshold`

A latent with negative codes (those of PCA and of random directions have them) stands for two directions, v
and -v, in the maximum as in the expectation. Latents whose row is zero have none.

With `truth` or `truth_sae` the features are rows of a matrix, as in the authors' toy models, and intervals
are over features. With `concepts`, tokens tell where a concept shows. In a group of C concepts of means μ,
the true direction of concept c is μ_c - 1/(C-1) Σ_{c'≠c} μ_c'. It is taken on training rows, where the
nearest latent is chosen; recovery is that latent's cosine with the direction of held-out rows. Few rows
make noisy directions, and low cosines: ``agreement`` is the cosine of both directions with each other, about
the square of what a perfect latent could have. Of random directions the one nearest to the training
direction has the expected cosine E max · agreement with the held-out one, which is what the excess takes
off. A group whose agreement has an interval that reaches 0 has no truth to be found: it stands by itself and
is in no mean over concepts (a note counts such groups); the mean is over the concepts of all other groups, so
that large groups weigh most, and every group's own excess stands beside it. And

    auroc            = mean over concepts of P(s⁺ > s⁻) + ½ P(s⁺ = s⁻)  in [0, 1], ½: nothing is known

where s is the code of one latent at held-out tokens of the concept (+) and of the group's others (-). The
latent is the one whose AUROC on training rows is largest, so that the held-out one is unbiased: ½ is its
expectation for a dictionary that knows nothing. ``auroc_direction`` puts t·x in place of the code: what is
there to be found. ``recovery``, ``recovery_excess`` and ``recovered`` have intervals over concepts; those of
a group, of which there may be two, and every AUROC, have them over held-out contexts. What chance and plain
linear algebra give stands in the rows of the controls (`random`, `pca`), which are measured alike.
``tables["concepts"]`` has every concept. Source: Cunningham et al., toy models; concepts are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np
import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import Influence
from darkmatter_plugins.cosines import cosines_at, nearest, nonzero, random_max_cosine
from darkmatter_plugins.evaluators.feature_recovery.auroc import of_latents
from darkmatter_plugins.evaluators.feature_recovery.collect import ConceptRows, SignedLatents
from darkmatter_plugins.evaluators.feature_recovery.descriptor import FeatureRecoveryConfig
from darkmatter_plugins.evaluators.feature_recovery.directions import (
    Concepts,
    concepts,
    rows_of,
    true_features,
)
from darkmatter_plugins.interpretability.latents import codes_of

COSINES, AUROCS = ("recovery", "recovery_excess", "recovered"), ("auroc", "auroc_direction")
NO_DIRECTION = "the SAE has no decoder direction other than zero"
NOISE = (
    "in every group the interval of the agreement of training and held-out directions reaches 0: they are "
    "noise; give more text"
)


class FeatureRecovery:
    """The evaluator `feature_recovery`."""

    def __init__(self, config: FeatureRecoveryConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Which latents are two directions in one."""
        return (SignedLatents(),)

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        if self.config.truth or self.config.truth_sae:
            self._features(out, ctx)
        else:
            known: Concepts = ctx.shared(self.config.model_dump_json(), lambda: concepts(ctx, self.config))
            self._concepts(out, ctx, known)
        return out

    def _features(self, out: api.EvalOutput, ctx: api.EvalContext) -> None:
        features = true_features(ctx, self.config)
        _undefined(out, AUROCS, "the known features are directions: no tokens show where they are")
        latents = Latents.of(ctx)
        if isinstance(features, str) or not len(latents):
            why = features if isinstance(features, str) else NO_DIRECTION
            _undefined(out, COSINES, why)
            return
        place, _ = nearest(features, latents.directions)
        cosine = cosines_at(features, latents.directions, place).cpu().numpy()
        self._cosines(out, cosine, latents.random, "features")
        out.tables["features"] = {"latent": latents.numbers[place].tolist(), "cosine": cosine.tolist()}

    def _cosines(
        self, out: api.EvalOutput, cosine: np.ndarray, random: np.ndarray | float, units: str
    ) -> None:
        """The means over features; ``random`` is what chance gives for each."""
        out.mean_over("recovery", cosine, units=units)
        out.mean_over("recovery_excess", cosine - random, units=units)
        out.mean_over("recovered", (cosine > self.config.threshold).astype(np.float64), units=units)

    def _concepts(self, out: api.EvalOutput, ctx: api.EvalContext, known: Concepts) -> None:
        if known.left_out:
            shown = ", ".join(api.printable(each) for each in known.left_out[:8])
            more = ", …" if len(known.left_out) > 8 else ""
            out.notes.append(
                f"left out: {len(known.left_out)} with fewer than {self.config.min_rows} rows on a side of "
                f"the split ({shown}{more})"
            )
        if not known.groups:
            _undefined(out, (*COSINES, *AUROCS), "no group has two concepts with enough rows")
            return
        out.on_rows(known.n_rows)
        latents = Latents.of(ctx)
        counts = _agreements(out, known)
        cosine = self._nearest(out, known, latents, counts)
        best = _best_latents(ctx, known, latents)
        for name, found in (("auroc", best.held_out), ("auroc_direction", _directions(known))):
            for group, each in zip(known.groups, found, strict=True):
                _mean(out, f"{name}[{group.name}]", each)
            if any(counts):
                _mean(out, name, [each for group in compress(found, counts) for each in group])
            else:
                out.undefined(name, NOISE)
        out.tables["concepts"] = _rows(known, cosine, best)

    def _nearest(
        self, out: api.EvalOutput, known: Concepts, latents: Latents, counts: Sequence[bool]
    ) -> list[tuple[Tensor, np.ndarray]]:
        """Per group the latent nearest to each concept and its cosine; gives the metrics of cosines.

        Groups that ``counts`` are in the means.
        """
        if not len(latents):
            groups = [f"{name}[{group.name}]" for name in COSINES[:2] for group in known.groups]
            _undefined(out, (*COSINES, *groups), NO_DIRECTION)
            return []
        found, chance = [], []
        for group in known.groups:
            place, _ = nearest(group.directions.to(latents.directions.device), latents.directions)
            cosine, moved = group.cosines(latents.directions[place].cpu())
            agreement, along = group.cosines(group.directions)
            found.append((latents.numbers[place.cpu()], cosine))
            chance.append(latents.random * agreement)
            excess = (cosine - chance[-1]).mean()
            mean = Influence(float(cosine.mean()), moved.mean(axis=1))
            beyond = Influence(float(excess), (moved - latents.random * along).mean(axis=1))
            out.statistic(f"recovery[{group.name}]", mean, mean)
            out.statistic(f"recovery_excess[{group.name}]", beyond, beyond)
        if any(counts):
            cosines, random = [each for _, each in compress(found, counts)], list(compress(chance, counts))
            self._cosines(out, np.concatenate(cosines), np.concatenate(random), "concepts")
        else:
            _undefined(out, COSINES, NOISE)
        return found


def _agreements(out: api.EvalOutput, known: Concepts) -> list[bool]:
    """Gives every group's agreement; whether its interval lies above 0, so that there is a truth to find."""
    counts = []
    for group in known.groups:
        _mean(out, f"agreement[{group.name}]", group.agreement)
        agreement = out.metrics[-1]
        low = agreement.value if agreement.ci_low is None else agreement.ci_low
        counts.append(low is not None and low > 0)
    noise = [group for group, each in zip(known.groups, counts, strict=True) if not each]
    if noise:
        names = ", ".join(f"{api.printable(group.name)}: {len(group.concepts)}" for group in noise)
        out.notes.append(
            f"not in the means over concepts: {len(noise)} of {len(counts)} groups (concepts of {names}), "
            "whose training and held-out directions agree no better than noise; more text makes them clearer"
        )
    return counts


class Latents:
    """Directions of an SAE's latents: decoder rows other than zero, and the negations of signed ones."""

    def __init__(self, decoder: Tensor, signed: Tensor) -> None:
        directed = nonzero(decoder).cpu()
        both = (directed & signed).nonzero().flatten()
        plain = directed.nonzero().flatten()
        self.signed = signed
        self.numbers = torch.cat([plain, both])
        at = self.numbers.to(decoder.device)
        self.directions = decoder[at].float()
        self.directions[len(plain) :] *= -1
        self._counts = len(plain) - len(both), len(both)

    @classmethod
    def of(cls, ctx: api.EvalContext) -> Latents:
        """Those of the SAE that is measured."""
        decoder = ctx.sae.W_dec
        assert decoder is not None  # an SAE without a decoder is skipped
        return cls(decoder, ctx.collected(SignedLatents()))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def random(self) -> float:
        """The largest cosine expected of as many random directions with any one."""
        single, pairs = self._counts
        return random_max_cosine(single, self.directions.shape[1], pairs)


class BestLatents:
    """Per group the latent [C] that tells each concept best on training rows, and its held-out AUROC."""

    def __init__(self) -> None:
        self.latents: list[Tensor] = []
        self.held_out: list[list[Influence]] = []


def _best_latents(ctx: api.EvalContext, known: Concepts, latents: Latents) -> BestLatents:
    """Chosen among all latents, and the negations of signed ones; of equals the first."""
    spec = ConceptRows(known.table, known.budget, keep="codes")
    train, test = (ctx.collect([spec], rows)[0] for rows in ("train", "test"))
    best = BestLatents()
    shown, codes = torch.cat(train.shown, dim=1), api.Codes.cat(train.codes)
    held_out = api.Codes.cat(test.codes)
    for group in known.groups:
        at, local = rows_of(shown[group.row], group.concepts)
        auroc = of_latents(codes.take(at), local, len(group.concepts))
        negated = torch.where(latents.signed[:, None], 1 - auroc, -1.0)
        at_best = torch.from_numpy(torch.maximum(auroc, negated).numpy().argmax(axis=0))
        columns = torch.arange(len(at_best))
        sign = torch.where(negated[at_best, columns] > auroc[at_best, columns], -1.0, 1.0)
        wanted, back = torch.unique(at_best, return_inverse=True)
        scores = codes_of(held_out.take(group.at), wanted)[:, back].double() * sign.double()
        best.latents.append(at_best)
        best.held_out.append(group.aurocs(scores.numpy()))
    return best


def _directions(known: Concepts) -> list[list[Influence]]:
    return [group.along_directions for group in known.groups]


def _mean(out: api.EvalOutput, name: str, each: Sequence[Influence]) -> None:
    """The mean over concepts, resampled over contexts."""
    value = sum(one.value for one in each) / len(each)
    mean = Influence(value, np.mean([one.contributions for one in each], axis=0))
    out.statistic(name, mean, mean)


def _rows(
    known: Concepts, cosine: Sequence[tuple[Tensor, np.ndarray]], best: BestLatents
) -> list[dict[str, str | int | float | None]]:
    """The table of concepts."""
    rows: list[dict[str, str | int | float | None]] = []
    for index, group in enumerate(known.groups):
        for place, concept in enumerate(group.concepts.tolist()):
            near = cosine[index] if cosine else None
            rows.append(
                {
                    "group": group.name,
                    "concept": known.table.names[concept],
                    "rows_train": int(known.counts[0, concept]),
                    "rows_test": int(known.counts[1, concept]),
                    "nearest": None if near is None else int(near[0][place]),
                    "cosine": None if near is None else float(near[1][place]),
                    "agreement": group.agreement[place].value,
                    "best": int(best.latents[index][place]),
                    "auroc": best.held_out[index][place].value,
                    "auroc_direction": group.along_directions[place].value,
                }
            )
    return rows


def _undefined(out: api.EvalOutput, names: Sequence[str], reason: str) -> None:
    for name in names:
        out.undefined(name, reason)
