"""Minimal pairs: equal lengths, one word changed, answers that the tokenizer can tell apart."""

from __future__ import annotations

import pytest

from darkmatter import api
from darkmatter.testing import WordTokenizer
from darkmatter_plugins.datasets import PairsConfig, ioi, world_pairs


class Letters:
    """A tokenizer of letters: names are of several tokens, and a space is one of its own."""

    bos = eos = None
    special = frozenset()

    def encode(self, texts):
        return [[ord(letter) for letter in text] for text in texts]

    def decode(self, tokens):
        return [chr(token) for token in tokens]


class Joined(Letters):
    """The same, but a space belongs to the letter that follows."""

    def encode(self, texts):
        found = []
        for text in texts:
            pieces = text.split(" ")
            ids = [ord(letter) for letter in pieces[0]]
            for piece in pieces[1:]:
                ids += [1000 + ord(piece[0]), *map(ord, piece[1:])] if piece else [32]
            found.append(ids)
        return found

    def decode(self, tokens):
        return [f" {chr(token - 1000)}" if token > 1000 else chr(token) for token in tokens]


class Unknowing(WordTokenizer):
    """Knows no word that begins with a capital."""

    def _id(self, word):
        return super()._id("<unk>" if word.strip()[0].isupper() else word)


def words(tokenizer, tokens):
    return "".join(tokenizer.decode(tokens)).split()


def test_ioi_changes_the_receiver_alone():
    """The receiver's one place holds a third name; the giver stands twice in both prompts."""
    tokenizer = WordTokenizer()
    pairs = ioi.make(PairsConfig(pairs=40), tokenizer, 3)
    for clean, corrupted, answer, wrong in zip(
        pairs.clean, pairs.corrupted, pairs.answers, pairs.wrong, strict=True
    ):
        changed = [(a, b) for a, b in zip(clean, corrupted, strict=True) if a != b]
        assert changed == [(answer, wrong)]
        names = [word for word in words(tokenizer, clean) if word.strip(".,") in ioi.NAMES]
        assert (len(names), len(set(names))) == (3, 2)


def test_ioi_has_both_orders_in_halves():
    """The receiver is named first in half of the prompts (ABBA), and second in the others (BABA)."""
    tokenizer = WordTokenizer()
    pairs = ioi.make(PairsConfig(pairs=40), tokenizer, 3)
    first = [
        next(word for word in words(tokenizer, clean) if word in ioi.NAMES) == words(tokenizer, [answer])[0]
        for clean, answer in zip(pairs.clean, pairs.answers, strict=True)
    ]
    assert sum(first) == 20


def test_ioi_with_names_of_several_tokens():
    """The third name is as long as the receiver's, and answers are first tokens that differ."""
    pairs = ioi.make(PairsConfig(pairs=40), Joined(), 0)
    assert all(len(a) == len(b) for a, b in zip(pairs.clean, pairs.corrupted, strict=True))
    assert all(a != b for a, b in zip(pairs.answers, pairs.wrong, strict=True))
    assert {len(prompt) for prompt in pairs.clean} != {len(pairs.clean[0])}


def test_names_that_begin_with_a_token_for_the_space_are_left_out():
    """A tokenizer whose names all begin with the same space has no first tokens to tell them apart."""
    with pytest.raises(api.ItemError, match="three names"):
        ioi.make(PairsConfig(), Letters(), 0)


def test_a_tokenizer_that_does_not_know_the_words_is_refused():
    """Unknown words would make pairs of one token for all names."""
    for make in (ioi.make, world_pairs.indirect_object, world_pairs.pronoun):
        with pytest.raises(api.ItemError):
            make(PairsConfig(), Unknowing(), 0)


def test_the_world_needs_names_of_one_token():
    """Other tokenizers are refused with what is missing."""
    with pytest.raises(api.ItemError, match="several tokens"):
        world_pairs.pronoun(PairsConfig(), Joined(), 0)


def test_world_pairs_are_those_of_the_world():
    """The prompts, with the world's right and wrong answers, in the tokenizer's words."""
    from darkmatter_plugins import world

    tokenizer = WordTokenizer()
    pairs = world_pairs.pronoun(PairsConfig(pairs=5), tokenizer, 9)
    for index, pair in enumerate(world.minimal_pairs(5, seed=9, kind="pronoun")):
        assert words(tokenizer, pairs.clean[index]) == pair.clean.split()
        assert words(tokenizer, pairs.corrupted[index]) == pair.corrupted.split()
        assert words(tokenizer, [pairs.answers[index], pairs.wrong[index]]) == [pair.answer, pair.wrong]
