"""Latents explained and simulated by a language model behind an endpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from darkmatter import api, sources
from darkmatter_plugins.simulators.endpoint import prompts
from darkmatter_plugins.simulators.endpoint.answers import UnreadableAnswer, explanation_in, numbers_in
from darkmatter_plugins.simulators.endpoint.client import Endpoint
from darkmatter_plugins.simulators.endpoint.descriptor import EndpointConfig
from darkmatter_plugins.simulators.endpoint.spending import estimated_tokens
from darkmatter_plugins.simulators.levels import HIGHEST, Piece, needed, texts_of, top_pieces

if TYPE_CHECKING:
    from torch import Tensor

PASSAGES = 10
"""Fragments that one request of the method ``detection`` holds."""

_TYPICAL = " token"

_log = logging.getLogger("darkmatter.simulators.endpoint")


def make(config: EndpointConfig, tokenizer: sources.TextTokenizer | None) -> EndpointSimulators:
    """What the descriptor names."""
    return EndpointSimulators(config, needed(tokenizer))


class EndpointSimulators:
    """One request explains a latent; others predict, each for one fragment or for ``PASSAGES`` of them.

    Numbers are on the endpoint's scale: levels 0 to 10 for ``listing``; for ``detection`` 0 or 1, the same
    at every token of a fragment.
    """

    def __init__(self, config: EndpointConfig, tokenizer: sources.TextTokenizer) -> None:
        self.concurrency = config.concurrency
        self.config, self.tokenizer = config, tokenizer
        self.endpoint = Endpoint(config)

    def expect(self, latents: int, fragments: int, length: int) -> api.Usage:
        """At most what it takes to simulate latents on so many fragments of ``length`` tokens each; logged.

        Raises:
            ItemError: it is above ``max_requests`` or ``max_cost``; nothing has been sent.
        """
        words = [_TYPICAL] * length
        pieces = [Piece(words, [HIGHEST] * length)] * self.config.shown
        asked = [prompts.explanation(pieces)]
        explained = "x" * 200
        if self.config.method == "listing":
            asked += [prompts.listing(explained, words)] * fragments
        else:
            asked += [prompts.detection(explained, [words] * PASSAGES)] * -(-fragments // PASSAGES)
        requests = latents * len(asked)
        tokens = (latents * sum(map(estimated_tokens, asked)), requests * self.config.max_output_tokens)
        cost = self.endpoint.spending.cost(*tokens)
        # A warning, because lower levels are not shown where nobody asked for them.
        _log.warning(
            "%s: at most %d requests, about %d tokens sent, at most %d answered, cost %s",
            self.config.model,
            requests,
            *tokens,
            "unknown (no prices given)" if cost is None else f"at most {cost:.4g}",
        )
        self.endpoint.spending.check(requests, tokens)
        return api.Usage(requests, 0, *tokens, cost)

    def fit(self, fragments: api.Fragments) -> EndpointSimulation:
        """Explain the latent by its top fragments."""
        pieces = top_pieces(fragments, self.tokenizer, self.config.shown)
        answer = self.endpoint.ask(self.config.explainer or self.config.model, prompts.explanation(pieces))
        return EndpointSimulation(self.endpoint.redacted(explanation_in(answer)), self)

    def usage(self) -> api.Usage:
        """What it cost so far."""
        return self.endpoint.spending.usage()


@dataclass(frozen=True)
class EndpointSimulation:
    """One latent, put into words."""

    explanation: str
    maker: EndpointSimulators

    def __call__(self, tokens: Tensor) -> Tensor:
        """Predictions [F, T], NaN for fragments whose answer has the wrong shape.

        Raises:
            ItemError: no answer has the right shape, or the endpoint fails.
        """
        import torch

        texts = texts_of(self.maker.tokenizer, tokens)
        listing = self.maker.config.method == "listing"
        size = 1 if listing else PASSAGES
        predicted = torch.full(tokens.shape, torch.nan, dtype=torch.float64)
        unreadable: list[UnreadableAnswer] = []
        starts = range(0, len(texts), size)
        for start in starts:
            some = texts[start : start + size]
            try:
                numbers = self._listed(some[0]) if listing else self._detected(some)
            except UnreadableAnswer as error:
                unreadable.append(error)
            else:
                rows = torch.tensor(numbers, dtype=torch.float64)
                predicted[start : start + size] = rows[None] if listing else rows[:, None]
        if unreadable and len(unreadable) == len(starts):
            raise unreadable[0]
        return predicted

    def _listed(self, text: list[str]) -> list[float]:
        answer = self._ask(prompts.listing(self.explanation, text))
        return numbers_in(answer, len(text), HIGHEST)

    def _detected(self, texts: list[list[str]]) -> list[float]:
        answer = self._ask(prompts.detection(self.explanation, texts))
        return numbers_in(answer, len(texts), 1)

    def _ask(self, messages: prompts.Messages) -> str:
        return self.maker.endpoint.ask(self.maker.config.model, messages)
