"""Datasets of concepts: the words of the embedded world, and lists of the user's."""

from __future__ import annotations

import json

import pytest

from darkmatter import api
from darkmatter.testing import WordTokenizer, check_dataset
from darkmatter_plugins.datasets import word_lists, world_concepts
from darkmatter_plugins.datasets.options import WordListsConfig, WorldConceptsConfig
from darkmatter_plugins.world import lexicon
from darkmatter_plugins.world.tokenizer import word_ids


class WorldTokenizer:
    """The world's words, of which it has an id for each; what it does not know is <unk>."""

    bos = None

    def __init__(self, known=None):
        self.ids = {word: n for word, n in word_ids().items() if known is None or word in known}

    def encode(self, texts):
        return [[self.ids.get(word, 1) for word in text.split()] for text in texts]


class LetterTokenizer:
    """Every letter is a token."""

    def encode(self, texts):
        return [[ord(letter) for letter in text.strip()] for text in texts]


def test_the_worlds_concepts_are_those_of_its_lexicon():
    """Names are a hundred concepts, gender two of fifty names; ambiguous words stand for nothing."""
    ids = word_ids()
    groups = world_concepts.make(WorldConceptsConfig(), WorldTokenizer(), 0).groups

    assert groups["name"]["Mary"] == (ids["Mary"],)
    assert len(groups["name"]) == 100
    assert set(groups["gender"]["female"]) == {ids[name] for name in lexicon.FEMALE}
    assert ids["cow"] in groups["number"]["singular"]
    assert ids["cows"] in groups["number"]["plural"]
    assert ids["deer"] not in {*groups["number"]["singular"], *groups["number"]["plural"]}
    assert ids["school"] in groups["topic"]["school"]


@pytest.mark.parametrize(
    "tokenizer",
    [LetterTokenizer(), WorldTokenizer({"Mary", "John"}), WorldTokenizer({*word_ids()} - {"Mary"})],
)
def test_other_tokenizers_are_refused_by_name_of_the_words(tokenizer):
    """Words in several tokens, and words that are all unknown, show no concept; one unknown word neither."""
    with pytest.raises(api.ItemError, match="world_concepts: this tokenizer has no single token for"):
        world_concepts.make(WorldConceptsConfig(groups=("gender",)), tokenizer, 0)


@pytest.fixture
def lists(tmp_path):
    """Writes a file of lists and gives its options."""

    def write(content, **options):
        path = tmp_path / "lists.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return WordListsConfig(path=str(path), **options)

    return write


def test_lists_of_words_become_tokens_with_and_without_a_space(lists):
    """Both ways to write a word are its tokens; a word of two concepts is neither's."""
    tokenizer = WordTokenizer()
    ((good,), (spaced,)) = tokenizer.encode(["good", " good"])
    config = lists({"mood": {"glad": ["good", "odd"], "sad": ["bad", "odd"]}})
    groups = word_lists.make(config, tokenizer, 0).groups

    assert groups["mood"]["glad"] == (good, spaced)
    assert len(groups["mood"]["sad"]) == 2


def test_long_words_are_refused_or_left_out(lists):
    """A word of several tokens is an error unless it may be left out; a concept keeps at least one word."""
    content = {"letters": {"vowel": ["a", "long"], "other": ["b"]}}

    with pytest.raises(api.ItemError, match="no single token for long"):
        word_lists.make(lists(content), LetterTokenizer(), 0)
    groups = word_lists.make(lists(content, long_words="leave_out"), LetterTokenizer(), 0).groups
    assert groups["letters"] == {"vowel": (ord("a"),), "other": (ord("b"),)}
    bad = lists({"letters": {"vowel": ["a"], "other": ["long"]}}, long_words="leave_out")
    with pytest.raises(api.ItemError, match="no token is left for other"):
        word_lists.make(bad, LetterTokenizer(), 0)


WORDS = {"b": ["c"]}


@pytest.mark.parametrize(
    "content", [{}, {"g": ["a"]}, {"g": WORDS}, {"g": {"a": [], **WORDS}}, {"g": {"a": [1], **WORDS}}]
)
def test_files_of_another_form_are_refused(lists, content):
    """The error says what is expected."""
    with pytest.raises(api.DarkmatterError, match=r"lists\.json"):
        word_lists.make(lists(content), WordTokenizer(), 0)


def test_the_files_content_is_part_of_the_options(lists, tmp_path):
    """Another content is another hash, and so another key; a hash that does not fit is refused."""
    one = lists({"g": {"a": ["b"], "c": ["d"]}})
    other = lists({"g": {"a": ["b"], "c": ["e"]}})

    assert one.hash != other.hash
    assert WordListsConfig(path=other.path, hash=other.hash) == other
    with pytest.raises(ValueError, match="has the hash"):
        WordListsConfig(path=other.path, hash=one.hash)
    with pytest.raises(ValueError, match="cannot be read"):
        WordListsConfig(path=str(tmp_path / "absent.json"))


def test_both_datasets_conform(lists):
    """They keep the rules of darkmatter.testing."""
    check_dataset("world_concepts")
    config = lists({"g": {"a": ["b"], "c": ["d"]}})
    check_dataset("word_lists", config.model_dump())
