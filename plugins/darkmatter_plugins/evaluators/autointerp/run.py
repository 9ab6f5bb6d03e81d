"""Explain, simulate, score: can a latent's activations be told from the text?

Per latent with activations a (its codes as they are, signs included):
    fragments   T neighbouring tokens of one context; the latent fires on one where some a > 0
    fit         the simulator sees top fragments (highest max a) and random ones of the training side
    score.P     Pearson correlation of predicted and true a [F, T] over all tokens of the held-out fragments
                P (top, random, or both with each fragment once), mean over latents
    detection   the highest prediction of each held-out fragment (top and random) against whether it fires
    unrelated   score.both of the simulation on the fragments and activations of another latent

Random fragments are drawn from all, so a simulator that expects too much is punished; with ``draw: active``
they are those on which the latent fires, as in the authors' code. Where the random draw takes all fragments
that there are, the top ones are among them and both together are the random ones: ``score.top`` and
``score.both`` are undefined for such a latent (``n_indistinct``). Dense signed codes (PCA, identity) fire on
about every fragment: their detection is undefined and counted in ``n_one_class``, their correlation is not.
Latents are drawn by the seed among those that fire on at least ``min_firings`` training rows.

What has no correlation (a constant prediction or truth) is counted in ``n_nan.*`` and is in no mean;
``authors.score.*`` counts it as 0. A latent on which the simulator fails, or for which it gives no number,
is counted in ``n_failed``, in no mean at all. Intervals resample latents: they speak of other latents of
this dictionary on the same text. Source: Cunningham et al., section on automated interpretability.

Table ``latents``: a row per latent (latent, firings, scores by name, unrelated_latent, explanation, reason);
``fragments``: for each side of the split how many there are and were asked for, and a latent's top and random
ones (the mean and the fewest over latents; a top one that was drawn at random too counts in both);
``usage``: what simulating took, answers from a cache included, where the simulator counts it.
"""

from __future__ import annotations

from collections.abc import Sequence

from darkmatter import api
from darkmatter_plugins.evaluators.autointerp.amounts import amounts
from darkmatter_plugins.evaluators.autointerp.descriptor import AutointerpConfig
from darkmatter_plugins.evaluators.autointerp.report import report
from darkmatter_plugins.evaluators.autointerp.sampling import Drawn, TrainFirings, drawn, scored_latents
from darkmatter_plugins.evaluators.autointerp.scores import LatentScores, scores
from darkmatter_plugins.evaluators.autointerp.simulate import simulate


class Autointerp:
    """The evaluator `autointerp`."""

    def __init__(self, config: AutointerpConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """How often latents fire on training rows."""
        return (TrainFirings(),)

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics and the table of latents."""
        out, config = ctx.output(), self.config
        firings = ctx.collected(TrainFirings())
        chosen = scored_latents(firings, config, ctx.seed)
        if not len(chosen):
            report(out, [], why=f"no latent fires on {config.min_firings} training rows")
            return out
        draws = drawn(ctx, config, chosen, firings)
        samples = draws.samples
        if not samples:
            why = f"no context has {config.fragment} neighbouring rows on both sides of the split"
            report(out, [], why=why)
            return out
        maker = ctx.simulator(config.simulator)
        tested = max(len(each.test.fragments.tokens) for each in samples)
        maker.expect(len(samples), tested * (2 if config.unrelated else 1), config.fragment)
        report(out, self._scored(maker, samples))
        out.tables["fragments"], notes = amounts(draws, config)
        out.notes += notes
        # Only what is the same when answers come from a cache.
        if details := maker.usage().details:
            out.tables["usage"] = details
        return out

    def _scored(self, maker: api.SimulatorMaker, samples: Sequence[Drawn]) -> list[LatentScores]:
        answers = simulate(maker, samples, unrelated=self.config.unrelated)
        with api.one_thread_each():
            return [scores(mine, samples, answer) for mine, answer in zip(samples, answers, strict=True)]
