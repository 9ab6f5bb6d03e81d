"""Sentence types: each function writes a sentence or a short exchange through a Teller."""

from __future__ import annotations

from collections.abc import Callable

from . import lexicon as lex
from .teller import Entity, Pool, Teller

WALKS, GIVES, SEES, TAKES, PUTS = (
    Pool(lex.WALKS),
    Pool(lex.GIVES),
    Pool(lex.SEES),
    Pool(lex.TAKES),
    Pool(lex.PUTS),
)
EATS, SAYS, GLAD, SAD, BODY = Pool(lex.EATS), Pool(lex.SAYS), Pool(lex.GLAD), Pool(lex.SAD), Pool(lex.BODY)
SPOTS, COLOURS, LINKS, TIMES, DAYS = (
    Pool(lex.SPOTS),
    Pool(lex.COLOURS),
    Pool(lex.LINKS),
    Pool(lex.TIMES),
    Pool(lex.DAYS),
)
WEATHER, REFLEXIVES = Pool(lex.WEATHER), Pool(lex.REFLEXIVES)
PERSON_ADJ, THING_ADJ, ANIMAL_ADJ = (
    Pool(lex.PERSON_ADJECTIVES),
    Pool(lex.THING_ADJECTIVES),
    Pool(lex.ANIMAL_ADJECTIVES),
)
KIN = {"f": Pool(lex.KIN_FEMALE), "m": Pool(lex.KIN_MALE)}
NAMES = {"f": Pool(lex.FEMALE), "m": Pool(lex.MALE)}
SMALL = Pool([str(n) for n in range(1, 10)])
MORE = Pool([str(n) for n in range(1, 6)])
BY_TOPIC = {t: {kind: Pool(items) for kind, items in lists.items()} for t, lists in lex.TOPICS.items()}
ANYWHERE = {
    kind: Pool([item for lists in lex.TOPICS.values() for item in lists[kind]])
    for kind in ("places", "animals", "things", "jobs", "foods")
}


def topical(t: Teller, kind: str, exclude: tuple[str, ...] = ()) -> str:
    """A noun of the story's topic four times in five, else any: the topic lasts for the story."""
    pool = BY_TOPIC[t.topic][kind] if t.flip(0.8) else ANYWHERE[kind]
    return t.draw(pool, exclude)


def new_thing(t: Teller) -> Entity:
    """A thing that the story has not had yet, with a colour it keeps."""
    noun = topical(t, "things", tuple(thing.noun for thing in t.things))
    thing = Entity(f"thing{len(t.things)}", noun, colour=t.draw(COLOURS))
    t.things.append(thing)
    return thing


def lead_in(t: Teller, p: float = 0.3) -> None:
    """Sometimes open with "Then", "Later", ..."""
    if t.flip(p):
        t.say(t.draw(LINKS))
        t.word(",")


def held(t: Teller, holder: Entity | None = None) -> list[Entity]:
    """Things in somebody's hands (in these hands)."""
    return [x for x in t.things if x.holder is not None and (holder is None or x.holder is holder)]


def other(t: Teller, person: Entity) -> Entity:
    """Somebody else of the cast."""
    return t.one_of([p for p in t.cast if p is not person])


def actor(t: Teller) -> Entity:
    """Who acts next: often the one who acted last."""
    if t.subject is not None and t.flip(0.5):
        return t.subject
    return t.one_of(t.cast)


def spot_words(t: Teller, spot: str) -> None:
    """A preposition, "the" and where."""
    preposition, noun = spot.split("/")
    t.say(f"{preposition} the")
    t.word(noun, "spot", "", "sg", "place")


def go(t: Teller) -> None:
    """Somebody, or everybody, moves to a new place."""
    place = topical(t, "places", (t.place,))
    t.place = place
    t.begin("go")
    lead_in(t)
    if t.flip(0.35):
        t.they()
        t.subject = None
    else:
        t.who(actor(t))
    t.verb(t.draw(WALKS))
    t.say("to the")
    t.word(place, "place", "", "sg", "place")
    t.word(".")


def indirect_object(t: Teller) -> None:
    """When A and B went to the place, B gave the thing to A."""
    giver = actor(t)
    receiver = other(t, giver)
    mine = held(t, giver)
    thing = mine[-1] if mine and t.flip(0.6) else new_thing(t)
    t.place = topical(t, "places", (t.place,))
    t.begin("indirect_object")
    t.word("when")
    first = t.flip(0.5)
    t.pair(receiver if first else giver, giver if first else receiver)
    t.verb("went", "pl")
    t.say("to the")
    t.word(t.place, "place", "", "sg", "place")
    t.word(",")
    t.name(giver)
    t.verb(t.draw(GIVES))
    t.thing(thing)
    t.word("to")
    t.name(receiver, "indirect_object")
    t.word(".")
    thing.holder, thing.spot, t.subject = receiver, "", giver
    if t.flip(0.2):
        t.begin("thanks")
        t.quote(True)
        t.say("thank you ,")
        t.quote(False)
        t.reported(t.draw(SAYS), receiver)


def take(t: Teller) -> None:
    """Somebody comes to hold a new thing."""
    person, thing = actor(t), new_thing(t)
    t.begin("take")
    lead_in(t)
    t.who(person)
    t.verb(t.draw(TAKES))
    t.thing(thing, "a")
    t.say("at the")
    t.word(t.place, "place", "", "sg", "place")
    t.word(".")
    thing.holder = person


def put(t: Teller) -> None:
    """A held thing is put away; where is remembered and comes back in `find` and `ask_where`."""
    thing = t.one_of(held(t))
    person = thing.holder
    assert person is not None
    thing.spot, thing.holder = t.draw(SPOTS), None
    t.begin("put")
    lead_in(t)
    t.who(person)
    t.verb(t.draw(PUTS))
    t.thing(thing)
    spot_words(t, thing.spot)
    t.word(".")


def find(t: Teller) -> None:
    """A thing put away is found where it was put."""
    thing = t.one_of([x for x in t.things if x.spot])
    person = actor(t)
    t.begin("find")
    lead_in(t)
    t.who(person)
    t.say("looked for")
    t.thing(thing)
    t.say("and found")
    t.word("it", thing.id, "", "sg", "object")
    spot_words(t, thing.spot)
    t.word(".")
    thing.holder, thing.spot = person, ""


def ask_where(t: Teller) -> None:
    """“Where is the ball?” asked A. “It is in the box,” said B."""
    thing = t.one_of([x for x in t.things if x.spot])
    asker = actor(t)
    answerer = other(t, asker)
    t.begin("ask_where")
    t.quote(True)
    t.say("where is")
    t.thing(thing)
    t.word("?")
    t.quote(False)
    t.reported("asked", asker)
    t.begin("answer_where")
    t.quote(True)
    t.word("it", thing.id, "", "sg", "subject")
    t.word("is")
    spot_words(t, thing.spot)
    t.word(",")
    t.quote(False)
    t.reported(t.draw(SAYS), answerer)


def tell_where(t: Teller) -> None:
    """Tom told Mary that the ball was still under the bed: reported speech over the same memory."""
    thing = t.one_of([x for x in t.things if x.spot])
    speaker = actor(t)
    t.begin("tell_where")
    t.who(speaker)
    t.verb("told")
    t.whom(other(t, speaker), "indirect_object")
    t.word("that")
    t.thing(thing, role="subject")
    t.say("was still")
    spot_words(t, thing.spot)
    t.word(".")


def ask_give(t: Teller) -> None:
    """“Please give me the ball,” said A. So B gave it to her: who holds it is remembered, and changes."""
    thing = t.one_of(held(t))
    giver = thing.holder
    assert giver is not None
    asker = other(t, giver)
    t.begin("ask_give")
    t.quote(True)
    if t.flip(0.5):
        t.word("please")
    t.word("give")
    t.word("me", asker.id, asker.gender, "sg", "indirect_object")
    t.thing(thing)
    t.word(",")
    t.quote(False)
    t.reported(t.draw(SAYS), asker)
    thing.holder = asker
    t.begin("gives")
    t.word("then")
    t.name(giver)
    t.verb("gave")
    t.word("it", thing.id, "", "sg", "object")
    t.word("to")
    t.whom(asker, "indirect_object")
    t.word(".")
    t.subject = giver


def take_and_put(t: Teller) -> None:
    """Mary found a kite and later put it under the bed."""
    person, thing = actor(t), new_thing(t)
    thing.spot = t.draw(SPOTS)
    t.begin("take_and_put")
    t.who(person)
    t.verb(t.draw(TAKES))
    t.thing(thing, "a")
    t.word("and")
    t.word(t.draw(LINKS))
    t.verb(t.draw(PUTS))
    t.word("it", thing.id, "", "sg", "object")
    spot_words(t, thing.spot)
    t.word(".")


Rule = tuple[str, float, Callable[[Teller], None], Callable[[Teller], bool]]


def always(_t: Teller) -> bool:
    """For sentences that fit anywhere."""
    return True


EVENTS: list[Rule] = [
    ("go", 1.3, go, always),
    ("indirect_object", 1.4, indirect_object, always),
    ("take", 1.0, take, lambda t: len(t.things) < 4),
    ("put", 2.2, put, lambda t: bool(held(t))),
    ("find", 1.6, find, lambda t: any(x.spot for x in t.things)),
    ("tell_where", 0.8, tell_where, lambda t: any(x.spot for x in t.things)),
    ("ask_give", 0.9, ask_give, lambda t: bool(held(t))),
    ("take_and_put", 0.7, take_and_put, lambda t: len(t.things) < 4),
    ("ask_where", 1.4, ask_where, lambda t: any(x.spot for x in t.things)),
]
