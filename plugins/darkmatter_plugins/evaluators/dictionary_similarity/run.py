"""How much of one SAE's dictionary another one has.

Directions are decoder rows, scaled to unit length; cosines are signed. For dictionaries a, of n directions,
and b, of m, in R^d:

    mmcs[a→b]         = 1/n Σ_{i in a} max_{j in b} cos(a_i, b_j)         in [-1, 1], 1: a is part of b
    mmcs_excess[a→b]  = mmcs[a→b] - E max of m cosines of random directions in R^d
    matched_cosine    = the largest mean cosine of a one-to-one matching of the narrower into the wider
    matched_share     = share of the pairs of that matching with a cosine above `threshold`

In the brackets, ``this`` is the SAE that the result is about and the other name another SAE: so
``mmcs[small→this]`` is how much of the small SAE's dictionary this one has, and ``mmcs[this→small]`` the
other way round. The authors use both under one name (over true features for toy models, over the larger
dictionary to find duplicates). ``others`` is the mean over the other SAEs, those that cannot be compared left
out and said in a note; means of matchings exist only where every one of them was matched, since wide
dictionaries are not (`max_matching`) and rows would be over different SAEs. ``embedding`` and ``unembedding``
are the model's tokens (`vocabulary`). All are unchanged by permuting latents and by positive factors, and a
wider b has a larger mmcs[a→b] by chance alone: that is what the excess takes off.

Latents whose decoder row is zero have no direction and count nowhere; how many they are, and how many are
dead, is in ``tables["dictionaries"]``. `latents` leaves dead latents out. These are functions of weights,
so they have no intervals (with ``alive``, the rows choose the latents). Source: Cunningham et al., with the
matching of their released code; the expectation is of the beta distribution's order statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from darkmatter import api
from darkmatter_plugins.cosines import nonzero
from darkmatter_plugins.evaluators.dictionary_similarity.compare import (
    Comparison,
    Dictionary,
    Limits,
    Matching,
    compare,
)
from darkmatter_plugins.evaluators.dictionary_similarity.descriptor import DictionarySimilarityConfig
from darkmatter_plugins.evaluators.dictionary_similarity.vocabulary import embeddings, unembeddings

THIS, OTHERS = "this", "others"
TOKENS = {"embedding": embeddings, "unembedding": unembeddings}
OF_WEIGHTS = "a function of weights"


def label(name: str) -> str:
    """What stands in the brackets for an SAE; it may be called like one of ours."""
    return f"sae:{name}" if name in {THIS, OTHERS, *TOKENS} else name


class DictionarySimilarity:
    """The evaluator `dictionary_similarity`."""

    def __init__(self, config: DictionarySimilarityConfig) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """None: weights are compared."""
        return ()

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        report = Report(ctx.output())
        seen = {each.name: each for each in (*ctx.family, *ctx.others) if each.name != ctx.sae_name}
        this = self._dictionary(ctx, ctx.subject)
        assert isinstance(this, Dictionary)  # an SAE without a decoder is skipped
        report.tell(this, THIS)
        for name, each in sorted(seen.items()):
            found = self._dictionary(ctx, each)
            if isinstance(found, str):
                report.add(label(name), found)
            else:
                report.tell(found, label(name))
                report.add(label(name), self._between(ctx, this, found))
        for name in dict.fromkeys(self.config.others or ()):
            if name not in seen and name != ctx.sae_name:
                report.add(label(name), "no SAE of this name has been encoded in this run")
        report.summarise()
        for name in TOKENS if self.config.vocabulary else ():
            report.add(name, self._with_tokens(ctx, this, name), counts=False)
        return report.out

    def _dictionary(self, ctx: api.EvalContext, each: api.EncodedSAE) -> Dictionary | str:
        """The directions of an SAE that count, or why there are none."""
        decoder = each.sae.W_dec
        if decoder is None:
            return "it has no decoder matrix"
        fires: Tensor = ctx.shared(("fires", each.name), lambda: _fires(each))
        directed = nonzero(decoder)
        counted = directed & fires.to(directed.device) if self.config.latents == "alive" else directed
        return Dictionary(
            each.name, decoder[counted], len(decoder), int((~directed).sum()), int((~fires).sum())
        )

    def _between(self, ctx: api.EvalContext, this: Dictionary, other: Dictionary) -> Comparison | str:
        """Made once for two SAEs, in the order of their names, so that both results have the same bits."""
        reason = _incomparable(this, other)
        if reason:
            return reason
        first, second = sorted((this, other), key=lambda each: each.name)
        key = ("compared", first.name, second.name, self.config)
        found = ctx.shared(key, lambda: compare(first.directions, second.directions, self._limits))
        return found if first is this else found.reversed()

    def _with_tokens(self, ctx: api.EvalContext, this: Dictionary, name: str) -> Comparison | str:
        rows: Tensor | str = ctx.shared(name, lambda: TOKENS[name](ctx))
        if isinstance(rows, str):
            return rows
        directions = rows[nonzero(rows)]
        tokens = Dictionary(name, directions, len(rows), len(rows) - len(directions), None)
        return _incomparable(this, tokens) or compare(this.directions, directions, self._limits)

    @property
    def _limits(self) -> Limits:
        return Limits(self.config.max_matching, self.config.max_cosines, self.config.threshold)


def _fires(each: api.EncodedSAE) -> Tensor:
    """Which latents [d_sae] fire on held-out rows."""
    (moments,) = each.collect([api.LatentMoments()], "test")
    fires: Tensor = moments.sums[0] > 0
    return fires


def _incomparable(this: Dictionary, other: Dictionary) -> str:
    """Why two dictionaries have no cosines; empty where they have."""
    for each in (this, other):
        if not len(each.directions):
            never = "" if each.dead is None else f" and {each.dead} never fire on held-out rows"
            return (
                f"of the {each.width} latents of {each.name!r} {each.zero} have a decoder row of zeros{never}"
            )
    sizes = this.directions.shape[1], other.directions.shape[1]
    return "" if sizes[0] == sizes[1] else f"directions in R^{sizes[0]} and in R^{sizes[1]} have no cosine"


class Report:
    """Metrics of each comparison, and their means."""

    def __init__(self, out: api.EvalOutput) -> None:
        self.out = out
        self.found: list[Comparison] = []
        self.reasons: dict[str, str] = {}
        out.tables["dictionaries"], out.tables["comparisons"] = [], []

    def tell(self, each: Dictionary, bracket: str) -> None:
        """What is known of a dictionary."""
        self.out.tables["dictionaries"].append(
            {
                "name": bracket,
                "width": each.width,
                "counted": len(each.directions),
                "zero": each.zero,
                "dead": each.dead,
            }
        )

    def add(self, bracket: str, found: Comparison | str, *, counts: bool = True) -> None:
        """Metrics of one comparison with this SAE, which is its first; ``counts``: in the means."""
        if isinstance(found, str):
            self.reasons[bracket] = found
        else:
            if counts:
                self.found.append(found)
            self.out.tables["comparisons"].append({"with": bracket, **_row(found)})
        for name, value in _metrics(bracket, found).items():
            self._give(name, value)

    def summarise(self) -> None:
        """Means over the other SAEs that could be compared."""
        each = [_metrics(OTHERS, found) for found in self.found]
        why = "; ".join(dict.fromkeys(self.reasons.values())) or "there is no other SAE to compare with"
        for name in _metrics(OTHERS, why):
            values = [metrics[name] for metrics in each]
            numbers = [value for value in values if not isinstance(value, str)]
            # Only a matching can be lacking between SAEs that are compared.
            lacking = [value for value in values if isinstance(value, str)]
            if lacking:
                count = f"{len(lacking)} of {len(each)} other SAEs are not matched, the first since"
                self._give(name, f"{count} {lacking[0]}; those that are have a matched_share of their own")
            else:
                self._give(name, sum(numbers) / len(numbers) if numbers else why)
        if self.found and self.reasons:
            self.out.notes.append(f"not in the means over the others: {', '.join(self.reasons)} ({why})")

    def _give(self, name: str, value: float | str) -> None:
        if isinstance(value, str):
            self.out.undefined(name, value)
        else:
            self.out.plain(name, value, why_no_interval=OF_WEIGHTS)


def _metrics(bracket: str, found: Comparison | str) -> dict[str, float | str]:
    """Every metric of a comparison by name; a sentence where it is undefined."""
    known = None if isinstance(found, str) else found
    matching = found if known is None else known.matching
    forth, back = f"{THIS}→{bracket}", f"{bracket}→{THIS}"
    return {
        f"mmcs[{back}]": str(found) if known is None else known.back,
        f"mmcs[{forth}]": str(found) if known is None else known.forth,
        f"mmcs_excess[{back}]": str(found) if known is None else known.back - known.back_random,
        f"mmcs_excess[{forth}]": str(found) if known is None else known.forth - known.forth_random,
        f"matched_share[{bracket}]": matching.share if isinstance(matching, Matching) else str(matching),
        f"matched_cosine[{bracket}]": matching.cosine if isinstance(matching, Matching) else str(matching),
    }


def _row(found: Comparison) -> dict[str, Any]:
    """A row of the table of comparisons."""
    row = asdict(found)
    matching = row.pop("matching")
    return {**row, **({"not_matched": matching} if isinstance(matching, str) else matching)}
