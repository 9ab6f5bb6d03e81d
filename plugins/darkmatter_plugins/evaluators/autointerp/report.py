"""From the scores of latents to metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darkmatter import api
from darkmatter_plugins.evaluators.autointerp.descriptor import PARTS
from darkmatter_plugins.evaluators.autointerp.scores import (
    DETECTION,
    INDISTINCT,
    TOP_PARTS,
    LatentScores,
)

COUNT = "a count of the sampled latents"
HELP = "give more contexts, or lower `fragment` or `test_fragments`"


def report(out: api.EvalOutput, latents: Sequence[LatentScores], why: str = "") -> None:
    """Fill ``out``; where there are no latents ``why`` says so."""
    scored = [each for each in latents if not each.failed]
    failures = [each.reason for each in latents if each.failed]
    if failures and not scored:
        why = f"the simulator failed on every latent, first with: {failures[0]}"
    distinct = [each for each in scored if each.distinct]
    for part in PARTS:
        members = distinct if part in TOP_PARTS else scored
        values = _column(members, part)
        known = values[~np.isnan(values)]
        lacking = "no latent has a defined correlation there" if members else f"{INDISTINCT}: {HELP}"
        nothing = why or lacking
        _mean(out, f"score.{part}", known, nothing)
        _mean(out, f"authors.score.{part}", np.nan_to_num(values), nothing)
        out.plain(f"n_nan.{part}", len(values) - len(known), why_no_interval=COUNT)
    for name in DETECTION:
        values = _column(scored, name)
        nothing = why or "every latent fires on all of the scored fragments, or on none"
        _mean(out, f"detection.{name}", values[~np.isnan(values)], nothing)
    out.plain("n_indistinct", len(scored) - len(distinct), why_no_interval=COUNT)
    out.plain("n_one_class", int(np.isnan(_column(scored, "base_rate")).sum()), why_no_interval=COUNT)
    values = _column(scored, "unrelated")
    _mean(out, "score.unrelated", values[~np.isnan(values)], why or "no simulation met another latent")
    out.plain("n_latents", len(latents), why_no_interval=COUNT)
    out.plain("n_failed", len(failures), why_no_interval=COUNT)
    asked = sum(each.asked for each in scored)
    if asked:
        share = 1 - sum(each.said for each in scored) / asked
        out.plain("unsaid", share, why_no_interval="a property of the simulator")
    else:
        out.undefined("unsaid", why or "there is no held-out token")
    out.tables["latents"] = [each.row() for each in latents]
    if failures:
        out.unfinished = (
            f"the simulator failed on {len(failures)} of {len(latents)} latents, first with: {failures[0]}"
        )


def _column(latents: Sequence[LatentScores], name: str) -> np.ndarray:
    return np.array([each.values[name] for each in latents], dtype=np.float64)


def _mean(out: api.EvalOutput, name: str, values: np.ndarray, nothing: str) -> None:
    if len(values):
        out.mean_over(name, values, units="latents")
    else:
        out.undefined(name, nothing)
