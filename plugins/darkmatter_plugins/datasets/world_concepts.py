"""What words of the embedded world mean, from its lexicon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from darkmatter import api, sources
from darkmatter_plugins.datasets.options import WorldConceptsConfig
from darkmatter_plugins.datasets.words import concepts_of
from darkmatter_plugins.world import lexicon

Concepts = dict[str, Sequence[str]]

_NOUNS = ("animals", "things", "jobs", "foods")


def make(config: WorldConceptsConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.Concepts:  # noqa: ARG001 - nothing is drawn
    """Concepts of the groups asked for; other tokenizers than the world's lack tokens for some words."""
    return concepts_of("world_concepts", {group: GROUPS[group]() for group in config.groups}, tokenizer)


def _each(words: Iterable[str]) -> Concepts:
    """Every word a concept."""
    return {word: (word,) for word in dict.fromkeys(words)}


def _nouns(topic: str, kinds: Sequence[str] = _NOUNS) -> list[str]:
    """Nouns of a topic in the singular."""
    return [word.split(":")[0] for kind in kinds for word in lexicon.TOPICS[topic][kind]]


def _number() -> Concepts:
    nouns = [noun for topic in tuple(lexicon.TOPICS) for noun in _nouns(topic)]
    return {"singular": nouns, "plural": [lexicon.plural(noun) for noun in nouns]}


def _kind() -> Concepts:
    kinds = {kind: [n for topic in tuple(lexicon.TOPICS) for n in _nouns(topic, (kind,))] for kind in _NOUNS}
    places = [place for topic in lexicon.TOPICS.values() for place in topic["places"]]
    return {"person": (*lexicon.FEMALE, *lexicon.MALE), "place": places, **kinds}


def _topic() -> Concepts:
    return {topic: (*lexicon.TOPICS[topic]["places"], *_nouns(topic)) for topic in tuple(lexicon.TOPICS)}


GROUPS: dict[str, Callable[[], Concepts]] = {
    "name": lambda: _each((*lexicon.FEMALE, *lexicon.MALE)),
    "gender": lambda: {"female": lexicon.FEMALE, "male": lexicon.MALE},
    "pronoun": lambda: {
        "female": ("she", "her", "herself", "She", "Her"),
        "male": ("he", "him", "his", "himself", "He", "His"),
    },
    "number": _number,
    "kind": _kind,
    "place": lambda: _each(place for topic in lexicon.TOPICS.values() for place in topic["places"]),
    "topic": _topic,
    "colour": lambda: _each(lexicon.COLOURS),
    "feeling": lambda: {"glad": lexicon.GLAD, "sad": lexicon.SAD},
}
"""What makes the concepts of each group."""
