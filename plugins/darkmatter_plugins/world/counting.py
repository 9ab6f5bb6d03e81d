"""Counting sentences: amounts that are kept, added to and taken from, always truly."""

from __future__ import annotations

from .sentences import EATS, MORE, SMALL, SPOTS, THING_ADJ, Rule, always, lead_in, other, spot_words, topical
from .teller import Teller


def count_things(t: Teller) -> None:
    """There were five bottles in the basket, so they had many bottles."""
    n, noun = int(t.draw(SMALL)), topical(t, "things")
    number = "sg" if n == 1 else "pl"
    t.begin("count_things")
    t.word("there")
    t.verb("was" if n == 1 else "were", number)
    t.amount(n, noun, "subject", bare=True)
    t.word(t.draw(THING_ADJ))
    t.noun(noun, number, "subject")
    spot_words(t, t.draw(SPOTS))
    t.word(".")


def count_have(t: Teller) -> None:
    """Somebody has a number of some food."""
    person = t.one_of([p for p in t.cast if p.owned is None])
    food, n = topical(t, "foods"), int(t.draw(SMALL))
    person.owned = (food, n)
    t.begin("count_have")
    t.who(person)
    t.word("had")
    t.amount(n, food)
    t.word(".")


def count_more(t: Teller) -> None:
    """Addition: somebody gets more, and the sum is stated."""
    person = t.one_of([p for p in t.cast if p.owned])
    giver, m = other(t, person), int(t.draw(MORE))
    assert person.owned is not None
    food, n = person.owned
    person.owned = (food, n + m)
    t.begin("count_more")
    t.who(giver)
    t.say("gave")
    t.whom(person, "indirect_object")
    t.amount(m, food, bare=True)
    t.word("more")
    t.noun(food, "sg" if m == 1 else "pl")
    t.word(",")
    t.say("so now")
    t.pronoun(person, "subject") if t.may_pronoun(person) else t.name(person)
    t.word("had")
    t.amount(n + m, food)
    t.word(".")
    t.subject = person


def count_less(t: Teller) -> None:
    """Subtraction: some are eaten or lost, and the rest is stated."""
    person = t.one_of([p for p in t.cast if p.owned and p.owned[1] > 1])
    assert person.owned is not None
    food, n = person.owned
    m = min(int(t.draw(MORE)), n - 1)
    person.owned = (food, n - m)
    t.begin("count_less")
    lead_in(t)
    t.who(person)
    t.verb(t.draw(EATS))
    t.amount(m, food, bare=True)
    t.say("of the")
    t.amount(n, food)
    t.word(",")
    t.word("so")
    t.amount(n - m, food, bare=True)
    t.verb("was" if n - m == 1 else "were", "sg" if n - m == 1 else "pl")
    t.say("left .")


def _room_to_count(t: Teller) -> bool:
    counts = [p.owned[1] for p in t.cast if p.owned]
    return bool(counts) and max(counts) <= 15  # sums stay within twenty, the last number word


COUNTING: list[Rule] = [
    ("count_things", 0.7, count_things, always),
    ("count_have", 1.0, count_have, lambda t: any(p.owned is None for p in t.cast)),
    ("count_more", 1.6, count_more, _room_to_count),
    ("count_less", 1.4, count_less, lambda t: any(p.owned and p.owned[1] > 1 for p in t.cast)),
]
