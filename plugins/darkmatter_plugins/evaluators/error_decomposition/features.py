"""Whether a*, which predicts the norm of the sum of features, names each feature's size.

With z = Σ cᵢ wᵢ [n, d_out], the reconstruction without bias and skip connection (in the units of the
decoder, before an input normalisation is undone), and a*, a₀ = argmin Σ(|z|² - a·z - a₀)² over training
rows: for orthonormal features that are on or off, a*·wᵢ/|wᵢ| is the value that feature i has when it is
on. Decoder rows need not have unit norm: the value of a latent is cᵢ|wᵢ|, its direction wᵢ/|wᵢ|.

    actualᵢ = |wᵢ| · mean of cᵢ over held-out rows on which latent i fires
    predictedᵢ = a*·wᵢ / |wᵢ|

over latents that fire on held-out rows and have a decoder row. Source: Engels et al., appendix; their
script fits no intercept and assumes unit norms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, Gram, GramFactor, centred
from darkmatter_plugins.evaluators.decoding import times

WHY = "a summary over latents, which are not sampled"
WINDOW = 100
"""Latents that a running mean covers, as in the paper's figure."""
POINTS = 1000
"""Points that a curve has at most."""


@dataclass(frozen=True, eq=False)
class FeatureSums:
    """Training moments of z and of z with |z|²; ``decoder`` [d_sae, d_out] are the SAE's ``atoms``."""

    decoder: Tensor

    def start(self, info: api.PassInfo) -> FeatureSumsCollector:
        """A fresh collector."""
        return FeatureSumsCollector(self.decoder, Gram.zero(info.d_out), CrossMoments.zero(info.d_out, 1))


@dataclass
class FeatureSumsCollector:
    """Collects ``FeatureSums``."""

    decoder: Tensor
    gram: Gram
    cross: CrossMoments

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in training rows."""
        if rows != "train":
            return
        z = times(chunk.codes, self.decoder)
        about_mean = centred(z)
        self.gram.merge(Gram.of_centred(about_mean))
        self.cross.merge(CrossMoments.of(about_mean, z.square().sum(dim=1, keepdim=True)))

    def merge(self, other: FeatureSumsCollector) -> None:
        """Take in the next shard."""
        self.gram.merge(other.gram)
        self.cross.merge(other.cross)

    def finish(self) -> FeatureSumsCollector:
        """Itself."""
        return self


@dataclass(frozen=True)
class Features:
    """``actual`` [used] mean active values, and ``directions`` [used, d_out] of unit norm."""

    actual: Tensor
    directions: Tensor

    @classmethod
    def of(cls, decoder: Tensor, sums: Tensor) -> Features:
        """From the decoder and the rows of ``api.LatentMoments``: firings and Σ c."""
        norm = decoder.to("cpu", torch.float64).norm(dim=1)
        used = (sums[0] > 0) & (norm > 0)
        actual = sums[1][used] / sums[0][used] * norm[used]
        return cls(actual, decoder[used.to(decoder.device)].to("cpu", torch.float64) / norm[used, None])


def feature_metrics(
    out: api.EvalOutput, decoder: Tensor, sums: Tensor, moments: FeatureSumsCollector, fits: dict[str, bool]
) -> None:
    """Add correlation and slope of predicted over actual values, once per prefix of ``fits`` (bias).

    The curves are those of the first.
    """
    features = Features.of(decoder, sums)
    out.plain("feature_norm.latents", float(len(features.actual)), why_no_interval=WHY)
    for number, (prefix, bias) in enumerate(fits.items()):
        weight = GramFactor.of(moments.gram, bias=bias).solve(moments.cross).weight
        predicted = (features.directions @ weight)[:, 0]
        if number == 0:
            _curves(out, features.actual, predicted)
        _agreement(out, f"{prefix}feature_norm", features.actual, predicted)


def no_features(out: api.EvalOutput, reason: str, prefixes: list[str]) -> None:
    """Say why there is nothing to compare."""
    out.undefined("feature_norm.latents", reason)
    for prefix in prefixes:
        for what in ("correlation", "slope"):
            out.undefined(f"{prefix}feature_norm.{what}", reason)


def _agreement(out: api.EvalOutput, name: str, actual: Tensor, predicted: Tensor) -> None:
    """Pearson's r, and the slope of the least-squares line of predicted over actual."""
    if len(actual) < 3:
        for what in ("correlation", "slope"):
            out.undefined(f"{name}.{what}", "fewer than 3 latents fire on the held-out rows")
        return
    x, y = actual - actual.mean(), predicted - predicted.mean()
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if not xx > 1e-12 * float(actual.square().sum()):
        for what in ("correlation", "slope"):
            out.undefined(f"{name}.{what}", "all latents have the same mean value")
        return
    out.plain(f"{name}.slope", xy / xx, why_no_interval=WHY)
    if not yy > 1e-12 * float(predicted.square().sum()):
        out.undefined(f"{name}.correlation", "the predicted values are all the same")
        return
    out.plain(f"{name}.correlation", xy / (xx * yy) ** 0.5, why_no_interval=WHY)


def _curves(out: api.EvalOutput, actual: Tensor, predicted: Tensor) -> None:
    """Predicted over actual values in ascending order, and a running mean, thinned."""
    order = actual.argsort(stable=True)
    x, y = actual[order], predicted[order]
    n = len(x)
    sums = torch.cat([y.new_zeros(1), y.cumsum(0)])
    place = torch.arange(n)
    first, last = (place - WINDOW // 2).clamp(min=0), (place + WINDOW // 2).clamp(max=n)
    mean = (sums[last] - sums[first]) / (last - first)
    shown = torch.linspace(0, n - 1, min(n, POINTS)).round().long() if n else place
    labels = {"x_label": "mean value when active", "y_label": "a* · feature"}
    out.curves["feature_norm"] = {"x": x[shown].tolist(), "y": y[shown].tolist(), **labels}
    out.curves["feature_norm_running_mean"] = {"x": x[shown].tolist(), "y": mean[shown].tolist(), **labels}
