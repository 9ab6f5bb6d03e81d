"""Indirect objects: two names appear, one of them gives, so the other one receives.

The names stand in both orders (receiver first, ABBA, or giver first, BABA), half of the pairs each. The
counterfactual has a third name in the receiver's place, so it calls for that one; the giver stays. Both
prompts have as many tokens, because the third name has as many as the receiver's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from darkmatter import api, sources
from darkmatter_plugins.datasets import PairsConfig
from darkmatter_plugins.datasets.writing import after, prompts, spells

TEMPLATES = (
    "When {first} and {second} went to the {place}, {giver} gave the {thing} to",
    "One day, {first} and {second} were at the {place}. {giver} wanted to give the {thing} to",
    "After {first} and {second} came to the {place}, {giver} showed a {thing} to",
    "Then {first} and {second} sat in the {place}, and {giver} brought a {thing} to",
)
NAMES = (
    *(
        "Mary",
        "John",
        "Tom",
        "Anna",
        "Lily",
        "Tim",
        "Ben",
        "Sara",
        "Jack",
        "Lucy",
        "Max",
        "Emma",
        "Sam",
        "Mia",
    ),
    *("Amy", "Bob", "Sue", "Dan", "Kate", "Paul", "Jane", "Mark", "Rose", "James", "Peter", "Laura", "David"),
    *("Alice", "Henry", "Sarah", "Luke", "Molly", "Fred", "Sally", "Leo", "Ruth", "Adam", "Clara", "Simon"),
)
PLACES = ("park", "school", "garden", "house", "market", "kitchen")
THINGS = ("ball", "book", "hat", "box", "cup", "cake")

ENOUGH = 8
"""Names of one token from which on those of several are left out."""


@dataclass(frozen=True)
class Name:
    """A name as it follows another word."""

    text: str
    tokens: tuple[int, ...]

    def fits(self, *others: Name) -> bool:
        """Whether its first token, by which it is told from others, is its own."""
        return all(self.tokens[0] != other.tokens[0] for other in others)


def make(config: PairsConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.MinimalPairs:
    """Answers are the first tokens of the receivers' names, which differ from the giver's."""
    rng = random.Random(f"ioi/{seed}")  # noqa: S311 - prompts, not secrets
    names = known_names(tokenizer)
    triples = [
        (receiver, other, giver)
        for receiver in names
        for other in names
        if len(other.tokens) == len(receiver.tokens) and other.fits(receiver)
        for giver in names
        if giver.fits(receiver, other)
    ]
    if not triples:
        message = (
            "ioi: this tokenizer needs three names with first tokens of their own, two of them of one "
            f"length; of {len(NAMES)} names it has {', '.join(name.text for name in names) or 'none'}"
        )
        raise api.ItemError(message)
    places, things = (known(tokenizer, texts) for texts in (PLACES, THINGS))
    fill = dict.fromkeys(("first", "second", "giver"), names[0].text)
    templates = known(tokenizer, TEMPLATES, **fill, place=places[0], thing=things[0])
    clean: list[str] = []
    corrupted: list[str] = []
    answers, wrong = [], []
    for number in range(config.pairs):
        receiver, other, giver = rng.choice(triples)
        words = {"giver": giver.text, "place": rng.choice(places), "thing": rng.choice(things)}
        order = ("first", "second") if number % 2 == 0 else ("second", "first")
        template = rng.choice(templates)
        for texts, name in ((clean, receiver), (corrupted, other)):
            texts.append(template.format(**words, **dict(zip(order, (name.text, giver.text), strict=True))))
        answers.append(receiver.tokens[0])
        wrong.append(other.tokens[0])
    pairs = api.MinimalPairs(
        prompts(tokenizer, clean, "ioi"), prompts(tokenizer, corrupted, "ioi"), answers, wrong
    )
    _require_equal_lengths(pairs)
    return pairs


def known_names(tokenizer: sources.TextTokenizer) -> list[Name]:
    """Names that the tokenizer can write: those of one token if there are enough, else all.

    A name that begins with a token for the space alone is left out: that token says no name.
    """
    tokens = after(tokenizer, ["and"] * len(NAMES), NAMES, "ioi")
    found = [
        Name(text, tuple(ids))
        for text, ids in zip(NAMES, tokens, strict=True)
        if spells(tokenizer, ids, text) and not spells(tokenizer, ids[:1], "")
    ]
    short = [name for name in found if len(name.tokens) == 1]
    return short if len(short) >= ENOUGH else found


def known(tokenizer: sources.TextTokenizer, texts: Sequence[str], **words: str) -> list[str]:
    """Texts whose words the tokenizer knows; all where it knows none, so that a prompt is refused."""
    filled = [text.format(**words) for text in texts]
    written = zip(texts, filled, tokenizer.encode(filled), strict=True)
    return [text for text, full, tokens in written if spells(tokenizer, tokens, full)] or list(texts)


def _require_equal_lengths(pairs: api.MinimalPairs) -> None:
    """Raise where a tokenizer joins names with what stands around them."""
    if any(len(one) != len(other) for one, other in zip(pairs.clean, pairs.corrupted, strict=True)):
        message = (
            "ioi: this tokenizer joins names with their neighbours: the prompts of a pair differ in length"
        )
        raise api.ItemError(message)
