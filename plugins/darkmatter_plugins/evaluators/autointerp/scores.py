"""What one latent's predictions are worth against its activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from darkmatter_plugins.evaluators.autointerp.descriptor import PARTS
from darkmatter_plugins.evaluators.autointerp.sampling import Drawn
from darkmatter_plugins.evaluators.autointerp.simulate import Answer
from darkmatter_plugins.interpretability.fragments import Sample
from darkmatter_plugins.interpretability.scoring import auroc, average_precision, correlation

DETECTION = ("auroc", "auprc", "base_rate")
TOP_PARTS = ("top", "both")
"""Parts that are something else than the random fragments only where there are more than those."""
INDISTINCT = "the random fragments are all that there are, the top ones among them"
NAMES = (*PARTS, *DETECTION, "unrelated")


@dataclass(frozen=True)
class LatentScores:
    """One latent's ``values`` by ``NAMES``, NaN where undefined; ``failed`` where there is no prediction.

    ``said`` and ``asked`` count held-out tokens with a predicted number, and all of them. Where top and
    random fragments are not ``distinct`` sets, what speaks of ``TOP_PARTS`` has no value.
    """

    latent: int
    firings: int
    failed: bool
    reason: str
    explanation: str = ""
    unrelated_latent: int | None = None
    values: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, math.nan))
    said: int = 0
    asked: int = 0
    distinct: bool = True

    def row(self) -> dict[str, object]:
        """Its row of the table; None for what is undefined."""
        known = {name: None if math.isnan(value) else value for name, value in self.values.items()}
        return {
            "latent": self.latent,
            "firings": self.firings,
            **known,
            "unrelated_latent": self.unrelated_latent,
            "explanation": self.explanation,
            "reason": self.reason,
        }


def scores(mine: Drawn, samples: Sequence[Drawn], answer: Answer) -> LatentScores:
    """All scores of one latent."""
    if answer.own is None:
        return LatentScores(mine.latent, mine.firings, failed=True, reason=answer.failure)
    truth = mine.test.fragments.activations
    values, reasons = {}, []
    distinct = not mine.test.exhausted
    for part, rows in _parts(mine.test).items():
        if part in TOP_PARTS and not distinct:
            values[part] = math.nan
            reasons.append(f"{part}: {INDISTINCT}")
            continue
        values[part] = correlation(answer.own[rows], truth[rows])
        if math.isnan(values[part]):
            reasons.append(f"{part}: {_why(answer.own[rows], truth[rows])}")
    values |= _detection(answer.own, truth)
    other = samples[mine.other]
    values["unrelated"] = math.nan
    if answer.unrelated is not None:
        values["unrelated"] = correlation(answer.unrelated, other.test.fragments.activations)
    if answer.unrelated_failure:
        reasons.append(f"unrelated: {answer.unrelated_failure}")
    return LatentScores(
        mine.latent,
        mine.firings,
        failed=False,
        reason="; ".join(reasons),
        explanation=answer.explanation,
        unrelated_latent=None if answer.unrelated is None else other.latent,
        values=values,
        said=int(answer.own.isfinite().sum()),
        asked=answer.own.numel(),
        distinct=distinct,
    )


def _parts(sample: Sample) -> dict[str, Tensor]:
    """Which fragments [F] count to each of ``PARTS``."""
    place = torch.arange(len(sample.random))
    return {
        "top": place < sample.fragments.n_top,
        "random": sample.random,
        "both": torch.ones_like(sample.random),
    }


def _why(predicted: Tensor, truth: Tensor) -> str:
    """Why there is no correlation."""
    said = ~predicted.isnan()
    if not said.any():
        return "there is no fragment with a prediction"
    if bool((truth[said] == truth[said][0]).all()):
        return "the latent's activation is the same everywhere"
    return "the prediction is the same everywhere"


def _detection(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    """AUROC, AUPRC and the share of fragments that fire; all NaN where all fire or none does."""
    highest = predicted.nan_to_num(nan=-math.inf).amax(dim=1).numpy()
    said = np.isfinite(highest)
    fires = (truth > 0).any(dim=1).numpy()[said]
    one_class = len(fires) == 0 or bool(fires.all() or not fires.any())
    return {
        "auroc": auroc(highest[said], fires),
        "auprc": average_precision(highest[said], fires),
        "base_rate": math.nan if one_class else float(fires.mean()),
    }
