"""The vocabulary of the embedded world: about a thousand English words, by category and topic.

Words are listed roughly by how often they should occur: the generator draws them with Zipf weights, so the
order of a list matters, and changing it changes every generated story.
"""

from __future__ import annotations

FEMALE = tuple(
    """Mary Anna Lily Emma Sarah Lucy Rose Alice Clara Jane Helen Nora Ruth Ella Grace Amy Julia Laura Sophie Eva
    Kate Maria Nina Paula Rita Sally Tina Vera Wendy Zoe Bella Carol Diana Edith Fiona Gina Hanna Irene Judy Karen
    Linda Molly Nancy Olive Penny Rachel Sandra Tess Ursula Violet""".split()
)
MALE = tuple(
    """John Tom Ben Jack Sam Max Peter Paul David Leo Adam Mark Luke Henry James Oscar Felix Hugo Simon Daniel
    Eric Frank George Harry Ivan Jacob Kevin Liam Martin Noah Oliver Patrick Ralph Steven Thomas Victor Walter
    Xavier Albert Boris Carl Dennis Edgar Fred Gordon Isaac Joseph Karl Lewis Robert""".split()
)

# Per topic: places, animals as "singular:sound in the past tense", things, jobs, and foods.
TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "farm": {
        "places": tuple("barn field farm stable orchard meadow well mill yard hill".split()),
        "animals": tuple("cow:mooed pig:grunted horse:neighed hen:clucked goat:bleated duck:quacked donkey:brayed lamb:bleated".split()),
        "things": tuple("shovel rope hat wheel fork lantern saddle hammer spade whistle ladder bell".split()),
        "jobs": tuple("farmer shepherd miller gardener rider hunter".split()),
        "foods": tuple("apple egg carrot potato pear pumpkin onion turnip".split()),
    },
    "town": {
        "places": tuple("shop market town bakery street square station church bank theater".split()),
        "animals": tuple("dog:barked cat:meowed pigeon:cooed rat:squeaked puppy:barked kitten:meowed sparrow:chirped parrot:screeched".split()),
        "things": tuple("ball ticket coin key umbrella watch letter phone newspaper lamp wallet scarf".split()),
        "jobs": tuple("baker doctor tailor driver butcher banker".split()),
        "foods": tuple("cake cookie sandwich muffin sausage pie bun pretzel".split()),
    },
    "school": {
        "places": tuple("school library classroom garden gym playground kitchen hall park office".split()),
        "animals": tuple("mouse:squeaked hamster:squeaked rabbit:squealed bird:sang turtle:hissed frog:croaked cricket:chirped canary:sang".split()),
        "things": tuple("book pencil pen ruler map doll kite drum picture toy crayon notebook".split()),
        "jobs": tuple("teacher student writer painter singer librarian".split()),
        "foods": tuple("orange banana candy peanut grape biscuit raisin plum".split()),
    },
    "sea": {
        "places": tuple("beach harbor boat island lighthouse ship port cave cliff lagoon".split()),
        "animals": tuple("gull:screamed crab:clicked seal:barked whale:sang dolphin:whistled goose:honked pelican:squawked otter:chirped".split()),
        "things": tuple("net shell anchor compass flag bottle bucket sail oar pearl telescope barrel".split()),
        "jobs": tuple("sailor fisher captain pirate diver pilot".split()),
        "foods": tuple("lemon coconut shrimp oyster lime mango clam olive".split()),
    },
    "castle": {
        "places": tuple("castle tower palace dungeon bridge gate chapel throne village forest".split()),
        "animals": tuple("dragon:roared lion:roared hound:howled raven:cawed eagle:shrieked bear:growled falcon:shrieked owl:hooted".split()),
        "things": tuple("sword crown ring shield jewel candle goblet cloak arrow mirror scroll helmet".split()),
        "jobs": tuple("knight guard cook servant wizard jester".split()),
        "foods": tuple("berry nut tart cherry fig date peach chestnut".split()),
    },
    "mountain": {
        "places": tuple("mountain cabin lake river camp valley mine trail waterfall glacier".split()),
        "animals": tuple("wolf:howled fox:yelped deer:snorted squirrel:chattered moose:bellowed beaver:hummed crow:cawed snake:hissed".split()),
        "things": tuple("axe tent boot backpack torch blanket rock sled knife pot glove camera".split()),
        "jobs": tuple("ranger miner climber guide trader carpenter".split()),
        "foods": tuple("mushroom bean tomato radish walnut herb cracker apricot".split()),
    },
}
TOPIC_NAMES = tuple(TOPICS)
SPOTS = tuple(
    """in/box under/table behind/door in/basket on/shelf in/drawer under/bed in/bag behind/curtain on/chair in/chest
    under/bench on/desk in/cupboard behind/tree under/carpet in/jar on/roof behind/fence in/trunk under/stone
    on/wall in/pocket behind/sofa""".split()
)
COLOURS = tuple("red blue green yellow black white brown pink gray purple golden silver".split())
THING_ADJECTIVES = tuple(
    "old new big small shiny heavy broken beautiful strange dusty wooden tiny clean dirty lovely rusty huge expensive cheap ancient".split()
)
PERSON_ADJECTIVES = tuple(
    "kind young brave clever tall quiet rich poor friendly shy funny wise lazy eager polite famous strong gentle proud careless".split()
)
ANIMAL_ADJECTIVES = tuple("hungry wild fast slow loud fat thin fierce sleepy soft lonely noisy lame playful".split())
# Feelings with a cause in the state of the story: having, losing, or neither.
GLAD = tuple("happy glad pleased cheerful delighted joyful".split())
SAD = tuple("sad upset unhappy worried angry miserable".split())
BODY = tuple("tired thirsty cold sick hot busy bored afraid ready calm".split())
WALKS = tuple("went walked ran hurried came moved traveled returned rode wandered".split())
GIVES = tuple("gave handed passed offered sold lent sent brought showed threw".split())
SEES = tuple("saw liked followed helped watched met heard chased knew called loved feared admired visited greeted trusted".split())
TAKES = tuple("took picked found grabbed bought borrowed stole carried".split())
PUTS = tuple("put left hid placed dropped kept".split())
EATS = tuple("ate sold lost cooked shared burned dropped".split())
SAYS = tuple("said whispered shouted replied cried added explained".split())
WEATHER = tuple("raining snowing sunny windy cloudy dark foggy warm stormy freezing".split())
TIMES = tuple("morning evening day night afternoon week summer winter spring autumn month".split())
DAYS = tuple("Monday Sunday Friday Saturday Tuesday Thursday Wednesday".split())
KIN_FEMALE = tuple("sister mother aunt daughter grandmother cousin".split()[:5])
KIN_MALE = tuple("brother father uncle son grandfather".split())
LINKS = tuple("then later soon afterwards suddenly finally meanwhile".split())
REFLEXIVES = tuple("hurt washed blamed dressed surprised".split())
NUMBERS = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
)
PUNCTUATION = (".", ",", "?", "“", "”")
FUNCTION = tuple(
    """a an and the to in on under behind was were is are had that who because but so of for not very still now there
    it he she they her him his himself herself I you me am went gave looked asked lived named more left together yes
    no upon time one day at last night home dreamed loved belonged near found told knew please thank like want give
    when where""".split()
)
# Words that may open a sentence or a quotation, and so also exist capitalised.
STARTERS = tuple(
    """the it he she they when then later soon afterwards suddenly finally meanwhile there once his her where are
    yes no please thank everyone one on at that give""".split()
)

_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "wolf": "wolves", "knife": "knives", "deer": "deer", "moose": "moose",
    "potato": "potatoes", "tomato": "tomatoes", "mango": "mangoes", "shrimp": "shrimps", "scarf": "scarves",
}  # fmt: skip


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
    """`a` or `an`, by the first letter (the vocabulary has no silent or consonantal exceptions in that place)."""
    return "an" if word[0] in "aeiou" else "a"


def vocabulary() -> list[str]:
    """Every word the generator can write, without special tokens, in a fixed order."""
    words: list[str] = [*PUNCTUATION, *FUNCTION, *NUMBERS, *FEMALE, *MALE, *COLOURS]
    words += [*THING_ADJECTIVES, *PERSON_ADJECTIVES, *ANIMAL_ADJECTIVES, *GLAD, *SAD, *BODY, *WALKS, *GIVES, *SEES]
    words += [*TAKES, *PUTS, *EATS, *SAYS, *WEATHER, *TIMES, *DAYS, *KIN_FEMALE, *KIN_MALE, *LINKS, *REFLEXIVES]
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
