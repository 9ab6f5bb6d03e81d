"""What requests cost: estimated before each, counted after, and held below the limits."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from darkmatter import api
from darkmatter_plugins.simulators.endpoint.descriptor import EndpointConfig

_BYTES_PER_TOKEN = 3
_TOKENS_PER_MESSAGE = 8
MILLION = 1_000_000


@dataclass(frozen=True)
class Answer:
    """What a server answered, and how many tokens it counted."""

    text: str
    finish: str
    input_tokens: int
    output_tokens: int


def estimated_tokens(messages: Iterable[Mapping[str, str]]) -> int:
    """Tokens of a request, rather too many than too few: no tokenizer is here that counts like the server."""
    sizes = [len(message["content"].encode("utf-8", "replace")) for message in messages]
    return sum(-(-size // _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE for size in sizes)


@dataclass
class Spending:
    """Requests, tokens and cost of one maker of simulations; threads may share it."""

    config: EndpointConfig
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked: int = 0
    _cached: int = 0
    _answers: int = 0
    _paid: tuple[int, int] = (0, 0)
    _used: tuple[int, int] = (0, 0)
    _reserved: tuple[int, int] = (0, 0)

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """The price of so many tokens; None where no prices were given."""
        if self.config.price_input is None or self.config.price_output is None:
            return None
        return (input_tokens * self.config.price_input + output_tokens * self.config.price_output) / MILLION

    def check(self, requests: int, tokens: tuple[int, int]) -> None:
        """Raise ItemError where so many requests and tokens are over a limit."""
        limit, cost = self.config.max_requests, self.cost(*tokens)
        if limit is not None and requests > limit:
            message = f"{requests} requests are more than max_requests allows ({limit})"
            raise api.ItemError(message)
        if cost is not None and self.config.max_cost is not None and cost > self.config.max_cost:
            message = f"a cost of up to {cost:.6g} is more than max_cost allows ({self.config.max_cost:.6g})"
            raise api.ItemError(message)

    def reserve(self, tokens: tuple[int, int]) -> None:
        """Set aside what a request may cost at most; raises ItemError where the limits leave no room."""
        with self._lock:
            self.check(self._asked + 1, _sum(self._paid, self._reserved, tokens))
            self._asked += 1
            self._reserved = _sum(self._reserved, tokens)

    def settle(self, reserved: tuple[int, int], answer: Answer | None) -> None:
        """Count what the request did cost; nothing where there was no answer."""
        with self._lock:
            self._reserved = (self._reserved[0] - reserved[0], self._reserved[1] - reserved[1])
            if answer is not None:
                self._paid = _sum(self._paid, (answer.input_tokens, answer.output_tokens))

    def use(self, answer: Answer, *, cached: bool) -> None:
        """Count an answer that is made use of, wherever it came from."""
        with self._lock:
            self._answers += 1
            self._cached += cached
            self._used = _sum(self._used, (answer.input_tokens, answer.output_tokens))

    def usage(self) -> api.Usage:
        """What was asked and paid now.

        ``details`` counts every answer used, from the cache or not: it is the same in each repetition, and
        so the part for results.
        """
        with self._lock:
            return api.Usage(
                requests=self._asked,
                cached=self._cached,
                input_tokens=self._paid[0],
                output_tokens=self._paid[1],
                cost=self.cost(*self._paid),
                details={
                    "answers": self._answers,
                    "input_tokens": self._used[0],
                    "output_tokens": self._used[1],
                    "cost": self.cost(*self._used),
                },
            )


def _sum(*tokens: tuple[int, int]) -> tuple[int, int]:
    return sum(each[0] for each in tokens), sum(each[1] for each in tokens)
