"""The vocabulary of the embedded world: about a thousand English words, by category and topic.

Words are listed roughly by how often they should occur: the generator draws them with Zipf weights, so
the order of a list matters, and changing it changes every generated story.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FEMALE = _words(
    """Mary Anna Lily Emma Sarah Lucy Rose Alice Clara Jane Helen Nora Ruth Ella Grace Amy Julia Laura Sophie
    Eva Kate Maria Nina Paula Rita Sally Tina Vera Wendy Zoe Bella Carol Diana Edith Fiona Gina Hanna Irene
    Judy Karen Linda Molly Nancy Olive Penny Rachel Sandra Tess Ursula Violet"""
)
MALE = _words(
    """John Tom Ben Jack Sam Max Peter Paul David Leo Adam Mark Luke Henry James Oscar Felix Hugo Simon Daniel
    Eric Frank George Harry Ivan Jacob Kevin Liam Martin Noah Oliver Patrick Ralph Steven Thomas Victor
    Walter Xavier Albert Boris Carl Dennis Edgar Fred Gordon Isaac Joseph Karl Lewis Robert"""
)

# Per topic: places, animals as "singular:sound in the past tense", things, jobs, and foods.
TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "farm": {
        "places": _words("barn field farm stable orchard meadow well mill yard hill"),
        "animals": _words(
            """cow:mooed pig:grunted horse:neighed hen:clucked goat:bleated duck:quacked donkey:brayed
            lamb:bleated"""
        ),
        "things": _words("shovel rope hat wheel fork lantern saddle hammer spade whistle ladder bell"),
        "jobs": _words("farmer shepherd miller gardener rider hunter"),
        "foods": _words("apple egg carrot potato pear pumpkin onion turnip"),
    },
    "town": {
        "places": _words("shop market town bakery street square station church bank theater"),
        "animals": _words(
            """dog:barked cat:meowed pigeon:cooed rat:squeaked puppy:barked kitten:meowed sparrow:chirped
            parrot:screeched"""
        ),
        "things": _words("ball ticket coin key umbrella watch letter phone newspaper lamp wallet scarf"),
        "jobs": _words("baker doctor tailor driver butcher banker"),
        "foods": _words("cake cookie sandwich muffin sausage pie bun pretzel"),
    },
    "school": {
        "places": _words("school library classroom garden gym playground kitchen hall park office"),
        "animals": _words(
            """mouse:squeaked hamster:squeaked rabbit:squealed bird:sang turtle:hissed frog:croaked
            cricket:chirped canary:sang"""
        ),
        "things": _words("book pencil pen ruler map doll kite drum picture toy crayon notebook"),
        "jobs": _words("teacher student writer painter singer librarian"),
        "foods": _words("orange banana candy peanut grape biscuit raisin plum"),
    },
    "sea": {
        "places": _words("beach harbor boat island lighthouse ship port cave cliff lagoon"),
        "animals": _words(
            """gull:screamed crab:clicked seal:barked whale:sang dolphin:whistled goose:honked
            pelican:squawked             otter:chirped"""
        ),
        "things": _words("net shell anchor compass flag bottle bucket sail oar pearl telescope barrel"),
        "jobs": _words("sailor fisher captain pirate diver pilot"),
        "foods": _words("lemon coconut shrimp oyster lime mango clam olive"),
    },
    "castle": {
        "places": _words("castle tower palace dungeon bridge gate chapel throne village forest"),
        "animals": _words(
            """dragon:roared lion:roared hound:howled raven:cawed eagle:shrieked bear:growled falcon:shrieked
            owl:hooted"""
        ),
        "things": _words("sword crown ring shield jewel candle goblet cloak arrow mirror scroll helmet"),
        "jobs": _words("knight guard cook servant wizard jester"),
        "foods": _words("berry nut tart cherry fig date peach chestnut"),
    },
    "mountain": {
        "places": _words("mountain cabin lake river camp valley mine trail waterfall glacier"),
        "animals": _words(
            """wolf:howled fox:yelped deer:snorted squirrel:chattered moose:bellowed beaver:hummed crow:cawed
            snake:hissed"""
        ),
        "things": _words("axe tent boot backpack torch blanket rock sled knife pot glove camera"),
        "jobs": _words("ranger miner climber guide trader carpenter"),
        "foods": _words("mushroom bean tomato radish walnut herb cracker apricot"),
    },
}
SPOTS = _words(
    """in/box under/table behind/door in/basket on/shelf in/drawer under/bed in/bag behind/curtain on/chair
    in/chest under/bench on/desk in/cupboard behind/tree under/carpet in/jar on/roof behind/fence in/trunk
    under/stone on/wall in/pocket behind/sofa"""
)
COLOURS = _words("red blue green yellow black white brown pink gray purple golden silver")
THING_ADJECTIVES = _words(
    """old new big small shiny heavy broken beautiful strange dusty wooden tiny clean dirty lovely rusty huge
    expensive cheap ancient"""
)
PERSON_ADJECTIVES = _words(
    """kind young brave clever tall quiet rich poor friendly shy funny wise lazy eager polite famous strong
    gentle proud careless"""
)
ANIMAL_ADJECTIVES = _words(
    """hungry wild fast slow loud fat thin fierce sleepy soft lonely noisy lame playful"""
)
# Feelings with a cause in the state of the story: having, losing, or neither.
GLAD = _words("happy glad pleased cheerful delighted joyful")
SAD = _words("sad upset unhappy worried angry miserable")
BODY = _words("tired thirsty cold sick hot busy bored afraid ready calm")
WALKS = _words("went walked ran hurried came moved traveled returned rode wandered")
GIVES = _words("gave handed passed offered sold lent sent brought showed threw")
SEES = _words(
    """saw liked followed helped watched met heard chased knew called loved feared admired visited greeted
    trusted"""
)
TAKES = _words("took picked found grabbed bought borrowed stole carried")
PUTS = _words("put left hid placed dropped kept")
EATS = _words("ate sold lost cooked shared burned dropped")
SAYS = _words("said whispered shouted replied cried added explained")
WEATHER = _words("raining snowing sunny windy cloudy dark foggy warm stormy freezing")
TIMES = _words("morning evening day night afternoon week summer winter spring autumn month")
DAYS = _words("Monday Sunday Friday Saturday Tuesday Thursday Wednesday")
KIN_FEMALE = _words("sister mother aunt daughter grandmother")
KIN_MALE = _words("brother father uncle son grandfather")
LINKS = _words("then later soon afterwards suddenly finally meanwhile")
REFLEXIVES = _words("hurt washed blamed dressed surprised")
NUMBERS = _words(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty"""
)
PUNCTUATION = (".", ",", "?", "“", "”")
FUNCTION = _words(
    """a an and the to in on under behind was were is are had that who because but so of for not very still
    now there it he she they her him his himself herself I you me am went gave looked asked lived named
    more left together yes no upon time one day at last night home dreamed loved belonged near found told knew
    please thank like want give when where"""
)
# Words that may open a sentence or a quotation, and so also exist capitalised.
STARTERS = _words(
    """the it he she they when then later soon afterwards suddenly finally meanwhile there once his her where
    are yes no please thank everyone one on at that give"""
)

_IRREGULAR = {
    "mouse": "mice",
    "goose": "geese",
    "wolf": "wolves",
    "knife": "knives",
    "deer": "deer",
    "moose": "moose",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "shrimp": "shrimps",
    "scarf": "scarves",
}


def plural(noun: str) -> str:
    """The plural of a noun of this vocabulary (deer and moose do not change, as in English)."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def article(word: str) -> str:
    """`a` or `an`, by the first letter (no word of the vocabulary needs more than that)."""
    return "an" if word[0] in "aeiou" else "a"


def vocabulary() -> list[str]:
    """Every word the generator can write, without special tokens, in a fixed order."""
    words: list[str] = [*PUNCTUATION, *FUNCTION, *NUMBERS, *FEMALE, *MALE, *COLOURS]
    words += [
        *THING_ADJECTIVES,
        *PERSON_ADJECTIVES,
        *ANIMAL_ADJECTIVES,
        *GLAD,
        *SAD,
        *BODY,
        *WALKS,
        *GIVES,
        *SEES,
    ]
    words += [
        *TAKES,
        *PUTS,
        *EATS,
        *SAYS,
        *WEATHER,
        *TIMES,
        *DAYS,
        *KIN_FEMALE,
        *KIN_MALE,
        *LINKS,
        *REFLEXIVES,
    ]
    words += [part for spot in SPOTS for part in spot.split("/")]
    for topic in TOPICS.values():
        words += topic["places"]
        for animal in topic["animals"]:
            noun, sound = animal.split(":")
            words += [noun, plural(noun), sound]
        for kind in ("things", "jobs", "foods"):
            for noun in topic[kind]:
                words += [noun, plural(noun)]
    words += [word[0].upper() + word[1:] for word in STARTERS]
    return list(dict.fromkeys(words))
