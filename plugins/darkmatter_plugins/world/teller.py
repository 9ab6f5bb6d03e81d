"""The story teller: the state of one story, the words written so far, and the cost of every choice.

Two things are recorded with each word. Its **latents**: what the generator meant by it. And its
**nats**: minus the log-probability of all random choices made since the word before it. Their sum over
a story is minus the log-probability of its derivation, and since the text is a function of the
derivation, the mean is an upper bound on the entropy of the text per word (it is loose only where two
derivations give the same text).
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from . import lexicon

NO_SPACE_BEFORE = frozenset({".", ",", "?", "”"})
NO_SPACE_AFTER = frozenset({"“"})
_STARTERS = frozenset(lexicon.STARTERS)


class Pool:
    """A fixed list drawn from with Zipf weights 1/(rank + 2), or with the weights given."""

    def __init__(self, items: Sequence[str], weights: Sequence[float] | None = None) -> None:
        self.items = tuple(items)
        raw = [1.0 / (rank + 2) for rank in range(len(self.items))] if weights is None else list(weights)
        total = sum(raw)
        self._p = {item: weight / total for item, weight in zip(self.items, raw, strict=True)}
        self._cumulative = list(accumulate(weight / total for weight in raw))

    def draw(self, rng: random.Random, exclude: Container[str] = ()) -> tuple[str, float]:
        """One item outside `exclude`, and minus the log of its (renormalised) probability."""
        last = len(self.items) - 1
        while True:
            item = self.items[min(bisect(self._cumulative, rng.random()), last)]
            if item not in exclude:
                break
        allowed = sum(p for name, p in self._p.items() if name not in exclude) if exclude else 1.0
        return item, math.log(allowed / self._p[item])


@dataclass(slots=True, eq=False)
class Entity:
    """Something that persists in a story: a person, or a thing with its colour and where it is."""

    id: str
    noun: str
    gender: str = ""
    colour: str = ""
    adjective: str = ""
    job: str = ""
    spot: str = ""  # "in/box" once put away
    holder: Entity | None = None
    owned: tuple[str, int] | None = None  # a food and how many of it this person has
    likes: str = ""


@dataclass(slots=True)
class Word:
    """One written word with the latents that are its own (those of the sentence are in `Sentence`)."""

    text: str
    nats: float
    sentence: int
    referent: str = ""
    gender: str = ""
    number: str = ""
    role: str = ""
    count: int = -1
    depth: int = 0
    quoted: bool = False
    last_gender: str = ""


@dataclass(slots=True)
class Sentence:
    """The latents that hold for every word of a sentence."""

    kind: str
    place: str


@dataclass(slots=True)
class Teller:
    """Writes one story. Sentence functions (sentences.py) draw from it and speak through it."""

    rng: random.Random
    words: list[Word] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)
    cast: list[Entity] = field(default_factory=list)
    things: list[Entity] = field(default_factory=list)
    place: str = ""
    topic: str = ""
    subject: Entity | None = None  # the subject of the sentence before
    latest: dict[str, Entity] = field(default_factory=dict)  # the person last named, per gender
    open_quote: bool = False
    depth: int = 0
    pending: float = 0.0
    at_start: bool = True
    last_gender: str = ""
    related: bool = (
        False  # whether a family relation has been told; there is one at most, so none contradicts it
    )

    # -- choices --

    def draw(self, pool: Pool, exclude: Container[str] = ()) -> str:
        """Draw from a pool, and charge the choice to the next word."""
        item, nats = pool.draw(self.rng, exclude)
        self.pending += nats
        return item

    def flip(self, p: float) -> bool:
        """True with probability p."""
        hit = self.rng.random() < p
        self.pending -= math.log(p if hit else 1.0 - p)
        return hit

    def one_of(self, options: Sequence[Entity]) -> Entity:
        """One entity, uniformly."""
        self.pending += math.log(len(options))
        return options[int(self.rng.random() * len(options))]

    # -- words --

    def begin(self, kind: str) -> None:
        """Open a sentence of this kind."""
        self.sentences.append(Sentence(kind, self.place))
        self.at_start = True

    def word(
        self,
        text: str,
        referent: str = "",
        gender: str = "",
        number: str = "",
        role: str = "",
        count: int = -1,
    ) -> None:
        """Write one word, capitalised where a sentence or a quotation begins."""
        if self.at_start and text in _STARTERS:
            text = text[0].upper() + text[1:]
        self.at_start = text == "“" or (self.at_start and text == "”")
        if gender:
            self.last_gender = gender
        self.words.append(
            Word(
                text, self.pending, len(self.sentences) - 1, referent, gender, number, role, count,
                self.depth, self.open_quote, self.last_gender,
            )
        )  # fmt: skip
        self.pending = 0.0

    def say(self, text: str) -> None:
        """Write plain words, separated by spaces."""
        for part in text.split():
            self.word(part)

    def verb(self, text: str, number: str = "sg") -> None:
        """A verb that carries grammatical number."""
        self.word(text, number=number, role="verb")

    def quote(self, opened: bool) -> None:
        """Open or close direct speech."""
        if opened:
            self.open_quote = True
            self.word("“")
        else:
            self.word("”")
            self.open_quote = False

    # -- people and things --

    def name(self, person: Entity, role: str = "subject") -> None:
        """Write a person's name."""
        self.latest[person.gender] = person
        self.word(person.noun, person.id, person.gender, "sg", role)

    def may_pronoun(self, person: Entity) -> bool:
        """Whether a pronoun would be resolved to this person: nobody of that gender was named since."""
        return self.latest.get(person.gender) is person

    def who(self, person: Entity, p: float = 0.75) -> None:
        """The subject: where it was the last subject and is unambiguous a pronoun with probability p."""
        if person is self.subject and self.may_pronoun(person) and self.flip(p):
            self.pronoun(person, "subject")
        else:
            self.name(person)
        self.subject = person

    def whom(self, person: Entity, role: str = "object") -> None:
        """An object: a pronoun half of the time where unambiguous."""
        if self.may_pronoun(person) and self.flip(0.5):
            self.pronoun(person, role)
        else:
            self.name(person, role)

    def pronoun(self, person: Entity, role: str) -> None:
        """The pronoun of this person for a role: subject, object, possessive or reflexive."""
        forms = {"subject": ("she", "he"), "possessive": ("her", "his"), "reflexive": ("herself", "himself")}
        female, male = forms.get(role, ("her", "him"))
        self.word(female if person.gender == "f" else male, person.id, person.gender, "sg", role)

    def they(self, role: str = "subject") -> None:
        """The plural pronoun for the whole cast of two or more."""
        self.word("they" if role == "subject" else "them", "all", "", "pl", role)

    def pair(self, a: Entity, b: Entity, role: str = "subject") -> None:
        """Two names joined by "and"."""
        self.name(a, role)
        self.word("and")
        self.name(b, role)

    def thing(self, thing: Entity, determiner: str = "the", role: str = "object") -> None:
        """A thing with its lasting colour (usually said) and noun."""
        described = f"{thing.colour} {thing.noun}" if self.flip(0.6) else thing.noun
        if determiner:
            self.word(lexicon.article(described) if determiner == "a" else determiner)
        for part in described.split():
            self.word(part, thing.id, "", "sg", role)

    def noun(self, singular: str, number: str, role: str = "object", referent: str = "") -> None:
        """A common noun in the grammatical number given."""
        self.word(singular if number == "sg" else lexicon.plural(singular), referent, "", number, role)

    def reported(self, verb: str, speaker: Entity, p: float = 0.5) -> None:
        """After a quotation: `asked Mary.`, or `she asked.`."""
        if speaker is self.subject and self.may_pronoun(speaker) and self.flip(p):
            self.pronoun(speaker, "subject")
            self.verb(verb)
        else:
            self.verb(verb)
            self.name(speaker)
        self.word(".")
        self.subject = speaker

    def amount(self, count: int, food: str, role: str = "object", bare: bool = False) -> None:
        """A number, and unless `bare` the noun that agrees with it."""
        number = "sg" if count == 1 else "pl"
        self.word(lexicon.NUMBERS[count], "", "", number, "number", count)
        if not bare:
            self.noun(food, number, role)


def join(words: Sequence[str]) -> str:
    """Words to text, with the usual spacing around punctuation (the tokenizer's decoder does the same)."""
    parts: list[str] = []
    previous = "“"
    for word in words:
        if word not in NO_SPACE_BEFORE and previous not in NO_SPACE_AFTER:
            parts.append(" ")
        parts.append(word)
        previous = word
    return "".join(parts)
