"""A tokenizer for tests: every word is one token."""

from __future__ import annotations

from collections.abc import Sequence


class WordTokenizer:
    """Words of text by white space, numbered as they come; a stand-in for a real ``TextTokenizer``.

    A word begins with its space, as in most vocabularies: "a b" is the tokens "a" and " b".
    """

    bos: int | None = 0
    eos: int | None = None
    special = frozenset({0})

    def __init__(self) -> None:
        self._ids: dict[str, int] = {"<bos>": 0}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        return [[self._id(piece) for piece in _pieces(text)] for text in texts]

    def decode(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token by itself."""
        words = list(self._ids)
        return [words[token] for token in tokens]

    def _id(self, word: str) -> int:
        return self._ids.setdefault(word, len(self._ids))


def _pieces(text: str) -> list[str]:
    words = text.split()
    spaced = [f" {word}" for word in words]
    return spaced if text.startswith(" ") or not words else [words[0], *spaced[1:]]
