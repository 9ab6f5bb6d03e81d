"""Text to tokens and back: what a dataset must know of a tokenizer before it trusts its ids."""

from __future__ import annotations

from collections.abc import Sequence

from darkmatter import api, sources


def spells(tokenizer: sources.TextTokenizer, tokens: Sequence[int], text: str) -> bool:
    """Whether these tokens stand for this text, spaces aside; unknown words do not."""
    return _letters("".join(tokenizer.decode(tokens))) == _letters(text)


def prompts(tokenizer: sources.TextTokenizer, texts: Sequence[str], dataset: str) -> list[list[int]]:
    """Token ids of each text.

    Raises:
        ItemError: the tokenizer does not know a word of one of them.
    """
    found = tokenizer.encode(texts)
    for text, tokens in zip(texts, found, strict=True):
        if not spells(tokenizer, tokens, text):
            message = f"{dataset}: this tokenizer cannot write {text!r}; it does not know some word"
            raise api.ItemError(message)
    return found


def after(
    tokenizer: sources.TextTokenizer, texts: Sequence[str], words: Sequence[str], dataset: str
) -> list[list[int]]:
    """Token ids of each word where it follows its text, which may differ from those of the word alone.

    Raises:
        ItemError: the tokens of the text change when the word follows.
    """
    begun = tokenizer.encode(texts)
    whole = tokenizer.encode([f"{text} {word}" for text, word in zip(texts, words, strict=True)])
    for text, start, tokens in zip(texts, begun, whole, strict=True):
        if tokens[: len(start)] != start or len(tokens) == len(start):
            message = f"{dataset}: this tokenizer writes {text!r} in other tokens once a word follows"
            raise api.ItemError(message)
    return [tokens[len(start) :] for start, tokens in zip(begun, whole, strict=True)]


def _letters(text: str) -> str:
    """Without spaces and the marks that tokenizers put for them."""
    return "".join(text.replace("\u2581", " ").split())
