"""Seeded generator of short stories whose latent variables are known.

    >>> story = next(stories(seed=1))
    >>> story.text, story.words, story.latents["gender"], story.nats

Everything is drawn from `random.Random(seed)`, so a seed fixes the text on every machine and Python
version that keeps `random.random` (all of them do).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from . import openings, sentences
from .lexicon import vocabulary
from .scenes import SCENES
from .teller import Pool, Teller, join

TRAIN_SEED, HELD_OUT_SEED = 20_240, 77
LATENTS = {
    "sentence_type": "kind of the sentence the word stands in",
    "place": "where the story is at that sentence",
    "topic": "what the story is about; shifts the choice of nouns for the whole story",
    "referent": "id of the person or thing the word refers to, else empty; pronouns are resolved",
    "gender": "f or m where the word refers to one person and depends on the gender, else empty",
    "number": "sg or pl on nouns, pronouns, numbers and the verbs that agree, else empty",
    "role": "grammatical role of a referring word, `verb` or `number`, else empty",
    "count": "the value of a number word, else -1",
    "depth": "how many relative clauses the word stands inside",
    "quoted": "whether the word is inside direct speech",
    "last_gender": "gender of the last gendered word up to and with this one, else empty",
}
_WORD_LATENTS = ("referent", "gender", "number", "role", "count", "depth", "quoted", "last_gender")


@dataclass(frozen=True)
class Story:
    """A story: its words, and of every word the latents and the cost in nats of the choices behind it."""

    words: tuple[str, ...]
    latents: dict[str, list[str | int | bool]]
    nats: tuple[float, ...]
    entities: dict[str, dict[str, str]]

    @property
    def text(self) -> str:
        """The story as a person would write it."""
        return join(self.words)


@dataclass(frozen=True)
class MinimalPair:
    """Two prompts of equal length that differ in one name, with opposite right answers."""

    clean: str
    corrupted: str
    answer: str  # the right next word after `clean`
    wrong: str  # the right next word after `corrupted`
    differs_at: int  # index of the first word that differs
    kind: str


def _next_rule(t: Teller) -> int:
    """Draw what happens next among the sentence types that the state of the story allows."""
    open_rules = [i for i, (_, _, _, allowed) in enumerate(SCENES) if allowed(t)]
    weights = [SCENES[i][1] for i in open_rules]
    total = sum(weights)
    point = t.rng.random() * total
    chosen = 0
    while chosen < len(weights) - 1 and point >= weights[chosen]:
        point -= weights[chosen]
        chosen += 1
    t.pending += math.log(total / weights[chosen])
    return open_rules[chosen]


def tell(rng: random.Random) -> Story:
    """One story: an opening, five to ten things that happen, and often an ending."""
    t = Teller(rng)
    openings.cast_of(t)
    if t.flip(0.45):
        openings.open_person(t)
    elif t.flip(0.6):
        openings.open_pair(t)
    else:
        sentences.indirect_object(t)
    happened = 0
    while happened < 5 or (happened < 10 and t.flip(0.85)):
        SCENES[_next_rule(t)][2](t)
        happened += 1
    if t.flip(0.6):
        openings.ending(t)
    if t.pending:  # the choices after the last word say that the story ends there
        t.words[-1].nats += t.pending
    return _story(t)


def _story(t: Teller) -> Story:
    latents: dict[str, list[str | int | bool]] = {
        name: [getattr(w, name) for w in t.words] for name in _WORD_LATENTS
    }
    latents["sentence_type"] = [t.sentences[w.sentence].kind for w in t.words]
    latents["place"] = [t.sentences[w.sentence].place for w in t.words]
    latents["topic"] = [t.topic] * len(t.words)
    people = {p.id: {"name": p.noun, "gender": p.gender} for p in t.cast}
    things = {x.id: {"name": x.noun, "colour": x.colour} for x in t.things}
    return Story(tuple(w.text for w in t.words), latents, tuple(w.nats for w in t.words), people | things)


def stories(seed: int = HELD_OUT_SEED) -> Iterator[Story]:
    """An endless, reproducible stream of stories."""
    rng = random.Random(seed)  # noqa: S311 - stories, not secrets
    while True:
        yield tell(rng)


def entropy_bound(n_stories: int = 2000, seed: int = HELD_OUT_SEED) -> float:
    """Upper bound on the generator's entropy in nats a token, the story separator counted as a token.

    It is the mean of minus the log-probability of all choices (names, nouns, sentence types, pronoun or
    name, ...) divided by the tokens written. Text is a function of the choices, so its entropy is at
    most theirs. A model that sees only a window of a story, or meets it in the middle, cannot be
    expected to reach it.
    """
    nats = tokens = 0.0
    stream = stories(seed)
    for _ in range(n_stories):
        story = next(stream)
        nats += math.fsum(story.nats)
        tokens += len(story.words) + 1
    return nats / tokens


def minimal_pairs(n: int, seed: int = 0, kind: str = "indirect_object") -> list[MinimalPair]:
    """Pairs of prompts for editing and erasure: `indirect_object` (who receives?) or `pronoun` (she or he?).

    `indirect_object`: "When Mary and John went to the shop, John gave the ball to" (answer Mary); in
    the corrupted prompt the giver is the other name. `pronoun`: "Mary was a kind baker who lived in the
    village. Suddenly," (answer she); in the corrupted prompt the name is one of the other gender.
    """
    if kind not in ("indirect_object", "pronoun"):
        message = f"kind must be 'indirect_object' or 'pronoun', not {kind!r}"
        raise ValueError(message)
    rng = random.Random(f"{kind}/{seed}")  # noqa: S311 - stories, not secrets
    return [(_give_pair if kind == "indirect_object" else _pronoun_pair)(rng) for _ in range(n)]


def _pick(rng: random.Random, pool: Pool, exclude: tuple[str, ...] = ()) -> str:
    return pool.draw(rng, exclude)[0]


def _give_pair(rng: random.Random) -> MinimalPair:
    a = _pick(rng, sentences.NAMES[rng.choice("fm")])
    b = _pick(rng, sentences.NAMES[rng.choice("fm")], (a,))
    topic = sentences.BY_TOPIC[rng.choice(list(sentences.BY_TOPIC))]
    place, thing = _pick(rng, topic["places"]), _pick(rng, topic["things"])
    verb = _pick(rng, sentences.GIVES)
    first, second = (a, b) if rng.random() < 0.5 else (b, a)

    def prompt(giver: str) -> str:
        return f"When {first} and {second} went to the {place}, {giver} {verb} the {thing} to"

    return MinimalPair(prompt(b), prompt(a), a, b, 9, "indirect_object")


def _pronoun_pair(rng: random.Random) -> MinimalPair:
    female, male = _pick(rng, sentences.NAMES["f"]), _pick(rng, sentences.NAMES["m"])
    topic = sentences.BY_TOPIC[rng.choice(list(sentences.BY_TOPIC))]
    adjective, job, place = (
        _pick(rng, sentences.PERSON_ADJ),
        _pick(rng, topic["jobs"]),
        _pick(rng, topic["places"]),
    )
    link = _pick(rng, sentences.LINKS)
    determiner = "an" if adjective[0] in "aeiou" else "a"

    def prompt(name: str) -> str:
        opening = f"{name} was {determiner} {adjective} {job} who lived in the {place}."
        return f"{opening} {link[0].upper()}{link[1:]},"

    if rng.random() < 0.5:
        return MinimalPair(prompt(female), prompt(male), "she", "he", 0, "pronoun")
    return MinimalPair(prompt(male), prompt(female), "he", "she", 0, "pronoun")


__all__ = [
    "HELD_OUT_SEED",
    "LATENTS",
    "TRAIN_SEED",
    "MinimalPair",
    "Story",
    "entropy_bound",
    "minimal_pairs",
    "stories",
    "tell",
    "vocabulary",
]
