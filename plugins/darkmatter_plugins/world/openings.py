"""How a story begins and ends: its cast, its topic, the first sentence and the last."""

from __future__ import annotations

from . import sentences as s
from .sentences import actor, topical
from .teller import Entity, Pool, Teller

TOPICS = Pool(list(s.BY_TOPIC), [1.0] * len(s.BY_TOPIC))


def cast_of(t: Teller) -> None:
    """Draw the topic, the first place, and two or three people with lasting jobs, adjectives and tastes."""
    t.topic = t.draw(TOPICS)
    t.place = topical(t, "places")
    used: list[str] = []
    for index in range(3 if t.flip(0.25) else 2):
        gender = "f" if t.flip(0.5) else "m"
        name = t.draw(s.NAMES[gender], used)
        used.append(name)
        t.cast.append(Entity(f"person{index}", name, gender))


def describe(t: Teller, person: Entity) -> None:
    """Fix, on first use, what a person is."""
    person.job, person.adjective = topical(t, "jobs"), t.draw(s.PERSON_ADJ)


def open_person(t: Teller) -> None:
    """Mary was a kind baker who lived in the village."""
    person = t.cast[0]
    describe(t, person)
    t.begin("opening")
    if t.flip(0.5):
        t.name(person)
        t.say("was a" if person.adjective[0] not in "aeiou" else "was an")
        t.word(person.adjective)
        t.word(person.job, person.id, "", "sg", "attribute")
        t.say("who lived in the")
        t.word(t.place, "place", "", "sg", "place")
    else:
        t.say(
            "once upon a time there was a"
            if person.adjective[0] not in "aeiou"
            else "once upon a time there was an"
        )
        t.word(person.adjective)
        t.word(person.job, person.id, "", "sg", "subject")
        t.word("named")
        t.name(person)
    t.word(".")
    t.subject = person


def open_pair(t: Teller) -> None:
    """One day Mary and John were in the garden."""
    t.begin("opening")
    a, b = t.cast[0], t.cast[1]
    if t.flip(0.5):
        t.say("one day")
    elif t.flip(0.5):
        t.word("on")
        t.word(t.draw(s.DAYS))
        t.word(",")
    t.pair(a, b)
    t.verb("were", "pl")
    t.say("in the")
    t.word(t.place, "place", "", "sg", "place")
    t.word(".")


def ending(t: Teller) -> None:
    """Everybody goes home, or somebody dreams of a thing of the story."""
    t.begin("ending")
    if t.things and t.flip(0.5):
        person = actor(t)
        t.say("that night")
        t.who(person)
        t.say("dreamed of")
        t.thing(t.one_of(t.things))
    else:
        t.say("at last")
        t.pair(t.cast[0], t.cast[1])
        t.say("went home together")
    t.word(".")
