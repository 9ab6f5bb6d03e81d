"""The embedded world's minimal pairs, for tokenizers that write a word as one token, as its own does."""

from __future__ import annotations

from darkmatter import api, sources
from darkmatter_plugins import world
from darkmatter_plugins.datasets import PairsConfig
from darkmatter_plugins.datasets.writing import after, prompts


def indirect_object(config: PairsConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.MinimalPairs:
    """After "When Jack and Anna went to the market, Jack gave the ball to" Anna; corrupted: Anna gave."""
    return _pairs("indirect_object", config.pairs, tokenizer, seed)


def pronoun(config: PairsConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.MinimalPairs:
    """After "Emma was a kind servant who lived in the dungeon. Then," she; corrupted: Peter was."""
    return _pairs("pronoun", config.pairs, tokenizer, seed)


def _pairs(kind: str, count: int, tokenizer: sources.TextTokenizer, seed: int) -> api.MinimalPairs:
    dataset = f"world_{kind}"
    found = world.minimal_pairs(count, seed=seed, kind=kind)
    texts = [pair.clean for pair in found]
    clean = prompts(tokenizer, texts, dataset)
    corrupted = prompts(tokenizer, [pair.corrupted for pair in found], dataset)
    answers = after(tokenizer, texts, [pair.answer for pair in found], dataset)
    wrong = after(tokenizer, texts, [pair.wrong for pair in found], dataset)
    one_token = all(len(each) == 1 for each in (*answers, *wrong))
    if not one_token or any(len(a) != len(b) for a, b in zip(clean, corrupted, strict=True)):
        message = (
            f"{dataset}: this tokenizer writes a name in several tokens; the embedded world's has one each"
        )
        raise api.ItemError(message)
    return api.MinimalPairs(clean, corrupted, [each[0] for each in answers], [each[0] for each in wrong])
