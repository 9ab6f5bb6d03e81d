"""Names of two genders in sentences after which a pronoun may follow: which of two comes next?"""

from __future__ import annotations

import random
from collections.abc import Sequence

from darkmatter import api, sources
from darkmatter_plugins.datasets import GenderConfig
from darkmatter_plugins.datasets.writing import spells
from darkmatter_plugins.world.lexicon import FEMALE, MALE

WORDS = ("she", "he")
"""The answers for label 0 and label 1."""

LEAST_NAMES = 10
"""Names of one gender that must be writable: half of them and more train, the rest measure."""

WORLD_TEMPLATES = (
    "{name} was happy because",
    "{name} was tired because",
    "{name} was sad because",
    "{name} was a kind baker who lived in the village. Suddenly,",
    "{name} was a lazy guard who lived in the castle. Later,",
    "Once upon a time {name} lived in the castle. Soon,",
)
"""The grammar of the world goes on with a pronoun here, or may; where it must, the model is sure of it."""

ENGLISH_FEMALE = (
    *("Mary", "Anna", "Lily", "Emma", "Sarah", "Lucy", "Rose", "Alice", "Jane", "Helen", "Ruth", "Ella"),
    *(
        "Grace",
        "Amy",
        "Julia",
        "Laura",
        "Sophie",
        "Kate",
        "Maria",
        "Sally",
        "Molly",
        "Nancy",
        "Susan",
        "Lisa",
    ),
    *(
        "Karen",
        "Betty",
        "Linda",
        "Barbara",
        "Jennifer",
        "Elizabeth",
        "Jessica",
        "Margaret",
        "Ashley",
        "Emily",
    ),
    *(
        "Michelle",
        "Amanda",
        "Melissa",
        "Rebecca",
        "Rachel",
        "Catherine",
        "Olivia",
        "Hannah",
        "Victoria",
        "Mia",
    ),
    *("Sue", "Daisy", "Jill", "Bella", "Ruby", "Katie"),
)
ENGLISH_MALE = (
    *("John", "Tom", "Ben", "Jack", "Sam", "Max", "Peter", "Paul", "David", "Leo", "Adam", "Mark"),
    *(
        "Luke",
        "Henry",
        "James",
        "Oscar",
        "Simon",
        "Daniel",
        "Eric",
        "Frank",
        "George",
        "Harry",
        "Kevin",
        "Thomas",
    ),
    *("Robert", "Michael", "William", "Richard", "Joseph", "Charles", "Christopher", "Matthew", "Anthony"),
    *("Donald", "Steven", "Andrew", "Joshua", "Brian", "Edward", "Ronald", "Timothy", "Jason", "Jeffrey"),
    *("Ryan", "Tim", "Bob", "Billy", "Jim", "Mike", "Bobby"),
)
ENGLISH_TEMPLATES = (
    "{name} was happy because",
    "{name} was sad because",
    "{name} smiled because",
    "{name} wanted to play, but",
    "{name} had a big box. One day,",
    "When {name} saw the dog,",
)


def world(config: GenderConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.LabelledPrompts:
    """The embedded world's names."""
    return _prompts("world_gender", tokenizer, (FEMALE, MALE), WORLD_TEMPLATES, config, seed, whole=True)


def english(config: GenderConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.LabelledPrompts:
    """Common English names, of as many tokens as they have; those that cannot be written are left out."""
    names = ENGLISH_FEMALE, ENGLISH_MALE
    return _prompts("gender_names", tokenizer, names, ENGLISH_TEMPLATES, config, seed, whole=False)


def _prompts(
    dataset: str,
    tokenizer: sources.TextTokenizer,
    names: tuple[Sequence[str], Sequence[str]],
    templates: Sequence[str],
    config: GenderConfig,
    seed: int,
    *,
    whole: bool,
) -> api.LabelledPrompts:
    """Every template with every name; ``whole`` refuses a tokenizer that cannot write all of them."""
    drawn = [
        _some(each, config.names, f"{seed}/{dataset}/{word}") for each, word in zip(names, WORDS, strict=True)
    ]
    prompts, labels, groups, spans, answers = [], [], [], [], set()
    for label, some in enumerate(drawn):
        written = {name: found for name in some if (found := _of_name(tokenizer, templates, name))}
        if len(written) < (len(some) if whole else min(LEAST_NAMES, len(some))):
            missing = next(name for name in some if name not in written)
            message = f"{dataset}: this tokenizer cannot write its sentences, such as those with {missing!r}"
            raise api.ItemError(message)
        for name, found in written.items():
            for prompt, span, pair in found:
                prompts.append(prompt)
                labels.append(label)
                groups.append(name)
                spans.append(span)
                answers.add(pair)
    if len(answers) != 1:
        message = f"{dataset}: this tokenizer writes {WORDS} differently after different sentences"
        raise api.ItemError(message)
    return api.LabelledPrompts(prompts, labels, groups, answers.pop(), spans)


def _some(names: Sequence[str], count: int | None, purpose: str) -> list[str]:
    """So many of the names, drawn by the seed, in the order of the list."""
    if count is None or count >= len(names):
        return list(names)
    kept = set(random.Random(purpose).sample(names, count))  # noqa: S311 - no secret
    return [name for name in names if name in kept]


Written = tuple[list[int], tuple[int, int], tuple[int, int]]


def _of_name(tokenizer: sources.TextTokenizer, templates: Sequence[str], name: str) -> list[Written]:
    """One name's prompts, its span in each, and the answers; empty where one cannot be written."""
    found = []
    for template in templates:
        before, _ = template.split("{name}")
        text = template.format(name=name)
        texts = [text, before + name, before.rstrip(), *(f"{text} {word}" for word in WORDS)]
        prompt, through, begin, *after = tokenizer.encode(texts)
        if not spells(tokenizer, prompt, text) or prompt[: len(through)] != through:
            return []
        if through[: len(begin)] != begin or len(through) == len(begin):
            return []
        pair = [each[len(prompt) :] for each in after if each[: len(prompt)] == prompt]
        if len(pair) != 2 or any(len(each) != 1 for each in pair) or pair[0] == pair[1]:
            return []
        found.append((prompt, (len(begin), len(through) - 1), (pair[0][0], pair[1][0])))
    return found
