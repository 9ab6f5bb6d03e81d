"""From lists of words to concepts in a tokenizer's ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from darkmatter import api, sources

Groups = Mapping[str, Mapping[str, Sequence[str]]]

NO_WORD = "zqxjkvwb"
"""A tokenizer with one token for this has it for every word that it does not know."""


def concepts_of(
    name: str, groups: Groups, tokenizer: sources.TextTokenizer, *, leave_out: bool = False
) -> api.Concepts:
    """The single tokens that write each word, with a space before it or without.

    A token of several concepts of a group shows none of them and is left out. With ``leave_out``, words
    without a single token are left out, too.

    Raises:
        ItemError: a word, or all words of a concept, have no token of their own.
    """
    words = list(dict.fromkeys(word for group in groups.values() for each in group.values() for word in each))
    tokens = _single_tokens(words, tokenizer)
    long = [word for word in words if not tokens[word]]
    if long and not leave_out:
        message = f"{name}: this tokenizer has no single token for {_some(long)}"
        raise api.ItemError(message)
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for group, concepts in groups.items():
        ids = {key: {token for word in each for token in tokens[word]} for key, each in concepts.items()}
        uses = Counter(token for each in ids.values() for token in each)
        found[group] = {key: tuple(sorted(t for t in each if uses[t] == 1)) for key, each in ids.items()}
        empty = [key for key, each in found[group].items() if not each]
        if empty:
            message = f"{name}: no token is left for {_some(empty)} of the group {group!r}"
            raise api.ItemError(message)
    return api.Concepts(found)


def _single_tokens(words: Sequence[str], tokenizer: sources.TextTokenizer) -> dict[str, set[int]]:
    """The tokens that are a word by themselves; a token of several words is none of theirs."""
    spaced, plain = tokenizer.encode([f" {word}" for word in words]), tokenizer.encode(list(words))
    found = {
        word: {forms[0] for forms in (one, other) if len(forms) == 1}
        for word, one, other in zip(words, spaced, plain, strict=True)
    }
    uses = Counter(token for each in found.values() for token in each)
    unknown = {token for ids in tokenizer.encode([NO_WORD, f" {NO_WORD}"]) if len(ids) == 1 for token in ids}
    return {
        word: {token for token in each if uses[token] == 1 and token not in unknown}
        for word, each in found.items()
    }


def _some(words: Sequence[str]) -> str:
    shown = ", ".join(api.printable(word) for word in words[:5])
    return shown if len(words) <= 5 else f"{shown} and {len(words) - 5} more"
