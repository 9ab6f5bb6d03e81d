"""Every latent put to the simulator, a few at a time; one that fails costs itself alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.autointerp.sampling import Drawn


@dataclass(frozen=True)
class Answer:
    """What the simulator made of one latent.

    ``own`` and ``unrelated`` [F, T] float64 are predictions on its own held-out fragments and on those of
    another latent, NaN where there is no number; None where it failed, with why, or was not asked.
    """

    explanation: str = ""
    own: Tensor | None = None
    unrelated: Tensor | None = None
    failure: str = ""
    unrelated_failure: str = ""


def simulate(maker: api.SimulatorMaker, samples: Sequence[Drawn], *, unrelated: bool) -> list[Answer]:
    """An answer per latent, in their order, whichever comes first."""

    def ask(mine: Drawn) -> Answer:
        other = samples[mine.other] if unrelated and len(samples) > 1 else None
        return _answer(maker, mine, other)

    with ThreadPoolExecutor(maker.concurrency, thread_name_prefix="simulate") as pool:
        return list(pool.map(ask, samples))


def _answer(maker: api.SimulatorMaker, mine: Drawn, other: Drawn | None) -> Answer:
    try:
        simulation = maker.fit(mine.train)
        own = _said(simulation, mine.test.fragments.tokens)
    except api.ItemError as error:
        return Answer(failure=str(error))
    answer = Answer(simulation.explanation, own)
    if other is None:
        return answer
    try:
        predicted = _said(simulation, other.test.fragments.tokens)
    except api.ItemError as error:
        return Answer(simulation.explanation, own, unrelated_failure=str(error))
    return Answer(simulation.explanation, own, predicted)


def _said(simulation: api.Simulation, tokens: Tensor) -> Tensor:
    """Predictions for tokens [F, T] in float64, NaN where they are no finite number.

    Raises:
        ItemError: there is not one number, or not one per token.
    """
    if not len(tokens):
        return torch.zeros(tokens.shape, dtype=torch.float64)
    predicted = simulation(tokens).detach().to("cpu", torch.float64)
    if predicted.shape != tokens.shape:
        message = f"the simulator gave {tuple(predicted.shape)} numbers for {tuple(tokens.shape)} tokens"
        raise api.ItemError(message)
    finite = predicted.isfinite()
    if not finite.any():
        message = "the simulator gave no number for any token"
        raise api.ItemError(message)
    return predicted.where(finite, torch.nan)
