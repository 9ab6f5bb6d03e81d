"""The remaining sentence types: speech, feelings, families, animals, nested relative clauses."""

from __future__ import annotations

from . import sentences as s
from .counting import COUNTING
from .lexicon import article
from .openings import describe
from .sentences import Rule, actor, always, held, lead_in, new_thing, other, topical
from .teller import Teller


def kin(t: Teller) -> None:
    """Her brother Tom was a baker: the word for the relation gives the gender away before the name does."""
    person = actor(t)
    relative = other(t, person)
    t.related = True
    t.begin("kin")
    if t.may_pronoun(person):
        t.pronoun(person, "possessive")
        t.word(t.draw(s.KIN[relative.gender]), relative.id, relative.gender, "sg", "subject")
        t.name(relative)
    else:
        t.name(person)
        t.say("had")
        relation = t.draw(s.KIN[relative.gender])
        t.word("an" if relation[0] in "aeiou" else "a")
        t.word(relation, relative.id, relative.gender, "sg", "object")
        t.word("named")
        t.name(relative, "object")
        t.word("who")
    t.verb("was")
    if not relative.job:
        describe(t, relative)
    t.say(f"{article(relative.adjective)} {relative.adjective}")
    t.word(relative.job, relative.id, "", "sg", "attribute")
    t.word(".")
    t.subject = relative


def fame(t: Teller) -> None:
    """Everyone knew that Mary was a clever baker: what was said of a person at first is said again."""
    person = t.one_of([p for p in t.cast if p.job])
    t.begin("fame")
    t.say("everyone knew that")
    t.who(person, 0.5)
    t.say(f"was {article(person.adjective)} {person.adjective}")
    t.word(person.job, person.id, "", "sg", "attribute")
    t.word(".")


def animal(t: Teller) -> None:
    """The dogs near the garden were hungry, so they barked: distant agreement, each animal's own sound."""
    noun, sound = topical(t, "animals").split(":")
    number = "sg" if t.flip(0.5) else "pl"
    t.begin("animal")
    if t.flip(0.5):
        t.say("there")
        t.verb("was" if number == "sg" else "were", number)
        adjective = t.draw(s.ANIMAL_ADJ)
        if number == "sg":
            t.word("an" if adjective[0] in "aeiou" else "a")
        t.word(adjective)
        t.noun(noun, number, "subject", "animal")
        t.say("at the")
        t.word(t.place, "place", "", "sg", "place")
        t.say(", and")
    else:
        t.word("the")
        t.noun(noun, number, "subject", "animal")
        if t.flip(0.5):
            t.say("near the")
            t.word(topical(t, "places"), "", "", "sg", "place")
        t.verb("was" if number == "sg" else "were", number)
        t.word(t.draw(s.ANIMAL_ADJ))
        t.say(", so")
    t.word("it" if number == "sg" else "they", "animal", "", number, "subject")
    t.verb(sound, number)
    t.word(".")


def _clause(t: Teller, depth: int) -> None:
    """A subject noun, with one or two relative clauses inside each other."""
    number = "sg" if t.flip(0.5) else "pl"
    t.word("the")
    t.noun(topical(t, "jobs"), number, "subject")
    if depth < 2 and t.flip(0.4):
        t.depth = depth + 1
        t.word("that")
        _clause(t, depth + 1)
        t.verb(t.draw(s.SEES), "")
        t.depth = depth


def relative(t: Teller) -> None:
    """The cows that the baker who knew Mary saw were brown: the verb agrees with the first noun."""
    noun = topical(t, "animals").split(":")[0]
    number = "sg" if t.flip(0.5) else "pl"
    t.begin("relative_clause")
    t.word("the")
    t.noun(noun, number, "subject", "animal")
    t.depth = 1
    t.word("that")
    if t.flip(0.4):
        t.who(actor(t), 0.6)
    else:
        _clause(t, 1)
    t.verb(t.draw(s.SEES), "")
    t.depth = 0
    t.verb("was" if number == "sg" else "were", number)
    t.word(t.draw(s.COLOURS if t.flip(0.5) else s.ANIMAL_ADJ))
    t.word(".")


def feeling(t: Teller) -> None:
    """She was happy because she had the red ball: the feeling follows from the state of the story."""
    person = actor(t)
    mine, gone = held(t, person), [x for x in t.things if x.holder is not None and x.holder is not person]
    t.begin("feeling")
    t.who(person)
    t.verb("was")
    if mine and t.flip(0.6):
        t.word(t.draw(s.GLAD))
        t.word("because")
        t.pronoun(person, "subject")
        t.word("had")
        t.thing(mine[-1])
    elif gone and t.flip(0.5):
        thing = gone[-1]
        owner = thing.holder
        assert owner is not None
        t.word(t.draw(s.SAD))
        t.word("because")
        t.name(owner)
        t.word("had")
        t.thing(thing)
    else:
        t.say("not" if t.flip(0.2) else "very")
        t.word(t.draw(s.BODY))
    t.word(".")


def colour(t: Teller) -> None:
    """The ball was red and shiny: a thing keeps its colour through the story."""
    thing = t.one_of(t.things)
    if not thing.adjective:
        thing.adjective = t.draw(s.THING_ADJ)
    t.begin("colour")
    t.word("the")
    t.word(thing.noun, thing.id, "", "sg", "subject")
    t.verb("was")
    t.say(f"{thing.colour} and {thing.adjective} .")


def belongs(t: Teller) -> None:
    """The ball belonged to Mary."""
    thing = t.one_of(held(t))
    assert thing.holder is not None
    t.begin("belongs")
    t.thing(thing, role="subject")
    t.say("belonged to")
    t.name(thing.holder, "object")
    t.word(".")


def speech(t: Teller) -> None:
    """“I like the hat,” said Mary. — or a question and its answer."""
    speaker = actor(t)
    listener = other(t, speaker)
    thing = t.one_of(t.things) if t.things else new_thing(t)
    t.begin("speech")
    t.quote(True)
    if t.flip(0.5):
        t.word("I", speaker.id, speaker.gender, "sg", "subject")
        t.say("like" if t.flip(0.6) else "want")
        t.thing(thing)
        t.word(",")
        t.quote(False)
        t.reported(t.draw(s.SAYS), speaker)
        return
    state = t.draw(s.BODY)
    t.say("are you")
    t.word(state)
    t.word("?")
    t.quote(False)
    t.reported("asked", speaker)
    t.begin("answer")
    t.quote(True)
    yes = t.flip(0.6)
    t.say("yes , I am" if yes else "no , I am not")
    t.word(state)
    t.word(",")
    t.quote(False)
    t.reported(t.draw(s.SAYS), listener)


def weather(t: Teller) -> None:
    """It was raining in the village that morning."""
    t.begin("weather")
    t.say("it was")
    t.word(t.draw(s.WEATHER))
    t.say("in the")
    t.word(t.place, "place", "", "sg", "place")
    t.word("that")
    t.word(t.draw(s.TIMES))
    t.word(".")


def taste(t: Teller) -> None:
    """Mary liked apples but never peaches: what somebody likes stays the same for the story."""
    person = actor(t)
    known = bool(person.likes)
    food = person.likes or topical(t, "foods")
    person.likes = food
    t.begin("taste")
    t.who(person)
    t.say("still loved" if known else "loved")
    t.noun(food, "pl")
    if t.flip(0.4):
        t.say("but not")
        t.noun(topical(t, "foods", (food,)), "pl")
    t.word(".")


def reflexive(t: Teller) -> None:
    """John hurt himself: the reflexive agrees with the subject."""
    person = actor(t)
    t.begin("reflexive")
    lead_in(t)
    t.who(person)
    t.verb(t.draw(s.REFLEXIVES))
    t.pronoun(person, "reflexive")
    t.word(".")


SCENES: list[Rule] = [
    *s.EVENTS,
    *COUNTING,
    ("kin", 0.8, kin, lambda t: not t.related),
    ("fame", 0.7, fame, lambda t: any(p.job for p in t.cast)),
    ("animal", 1.1, animal, always),
    ("relative_clause", 1.0, relative, always),
    ("feeling", 1.3, feeling, always),
    ("colour", 0.9, colour, lambda t: bool(t.things)),
    ("belongs", 0.8, belongs, lambda t: bool(held(t))),
    ("speech", 1.2, speech, always),
    ("weather", 0.5, weather, always),
    ("taste", 0.8, taste, always),
    ("reflexive", 0.5, reflexive, always),
]
