"""A dataset: opposites."""

from collections.abc import Sequence

from darkmatter import api, sources
from darkmatter_example.descriptors import OppositesConfig

OPPOSITES = (("hot", "cold"), ("big", "small"), ("old", "new"), ("early", "late"))


def make(config: OppositesConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.MinimalPairs:
    """After "not hot but" comes cold, after "not cold but" hot; the seed is not used."""
    words = OPPOSITES[: config.pairs]
    clean = tokenizer.encode([f" not {one} but" for one, _ in words])
    corrupted = tokenizer.encode([f" not {other} but" for _, other in words])
    answers, wrong = (_single(tokenizer, side) for side in (1, 0))
    return api.MinimalPairs(clean, corrupted, answers[: config.pairs], wrong[: config.pairs])


def _single(tokenizer: sources.TextTokenizer, side: int) -> Sequence[int]:
    found = tokenizer.encode([f" {pair[side]}" for pair in OPPOSITES])
    if any(len(ids) != 1 for ids in found):
        message = "opposites: this tokenizer writes one of the words in several tokens"
        raise api.ItemError(message)
    return [ids[0] for ids in found]
