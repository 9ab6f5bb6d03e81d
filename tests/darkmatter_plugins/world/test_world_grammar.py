"""The story generator: reproducible, with latents that are true of the text."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from darkmatter_plugins import world
from darkmatter_plugins.world.lexicon import NUMBERS, article, plural, vocabulary
from darkmatter_plugins.world.teller import join

SAMPLE = list(islice(world.stories(5), 300))
PRONOUN_GENDER = {
    "she": "f", "her": "f", "herself": "f", "he": "m", "him": "m", "his": "m", "himself": "m",
}  # fmt: skip


def test_a_seed_fixes_the_stories() -> None:
    """The same seed gives the same text, latents and costs, and another seed gives others."""
    again = list(islice(world.stories(5), 20))
    assert again == SAMPLE[:20]
    assert next(world.stories(6)).text != SAMPLE[0].text


def test_the_text_of_a_seed_is_frozen() -> None:
    """The shipped model and SAEs belong to this text, so that a change of the generator must show."""
    assert next(world.stories(world.HELD_OUT_SEED)).text == FROZEN


def test_every_word_has_every_latent() -> None:
    """Latents and costs are aligned with the words, one value each, under the documented names."""
    for story in SAMPLE:
        assert set(story.latents) == set(world.LATENTS)
        assert all(len(values) == len(story.words) for values in story.latents.values())
        assert len(story.nats) == len(story.words)
        assert min(story.nats) > -1e-9


def test_gender_latent_is_the_gender_of_the_referent() -> None:
    """Names and pronouns carry the gender of the person they refer to, and pronouns agree with it."""
    pronouns = 0
    for story in SAMPLE:
        for word, who, gender in zip(
            story.words, story.latents["referent"], story.latents["gender"], strict=True
        ):
            if gender:
                assert story.entities[str(who)]["gender"] == gender
            if word.lower() in PRONOUN_GENDER:
                pronouns += 1
                assert gender == PRONOUN_GENDER[word.lower()], story.text
    assert pronouns > 200


def test_a_pronoun_refers_to_the_last_person_of_its_gender() -> None:
    """Pronouns can be resolved from the text: nobody else of that gender was named since the referent."""
    for story in SAMPLE:
        names = {entity["name"]: key for key, entity in story.entities.items() if "gender" in entity}
        last: dict[object, str] = {}
        for i, word in enumerate(story.words):
            gender = story.latents["gender"][i]
            if word in names:
                last[gender] = names[word]
            elif word.lower() in PRONOUN_GENDER and gender in last:
                assert story.latents["referent"][i] == last[gender], story.text


def test_last_gender_is_what_has_been_read_so_far() -> None:
    """`last_gender` at a word is the gender of the last gendered word up to it."""
    for story in SAMPLE[:100]:
        last = ""
        for gender, recorded in zip(story.latents["gender"], story.latents["last_gender"], strict=True):
            last = str(gender) or last
            assert recorded == last


def test_counts_are_true_sums() -> None:
    """Number words carry their value, and what is left plus what went is what there was."""
    checked = 0
    for story in SAMPLE:
        kinds, counts = story.latents["sentence_type"], story.latents["count"]
        for word, count in zip(story.words, counts, strict=True):
            assert count == -1 or NUMBERS[int(count)] == word
        for i, kind in enumerate(kinds):
            if kind == "count_less" and story.words[i] == "of":
                gone, left = int(counts[i - 1]), story.words.index(".", i)
                before = int(counts[i + 2])
                after = next(int(c) for c in counts[i + 3 : left] if int(c) >= 0)
                assert gone + after == before
                checked += 1
    assert checked > 10


def test_things_are_found_where_they_were_put() -> None:
    """The place in a `find` sentence is the one in the sentence that put the thing there."""
    checked = 0
    for story in SAMPLE:
        where: dict[object, tuple[str, ...]] = {}
        starts = [i for i, w in enumerate(story.words) if i == 0 or story.words[i - 1] in (".", "”")]
        for begin, end in zip(starts, [*starts[1:], len(story.words)], strict=True):
            sentence = range(begin, end)
            spot = [i for i in sentence if story.latents["referent"][i] == "spot"]
            thing = [
                r for r in (story.latents["referent"][i] for i in sentence) if str(r).startswith("thing")
            ]
            kind = story.latents["sentence_type"][begin]
            if not spot or not thing:
                continue
            said = story.words[spot[-1] - 2 : spot[-1] + 1]
            if kind in ("put", "take_and_put"):
                where[thing[-1]] = said
            elif kind in ("find", "tell_where"):
                assert where[thing[-1]] == said, story.text
                checked += 1
    assert checked > 50


def test_verbs_agree_with_their_subject() -> None:
    """was/were carry the number that the latents say, across relative clauses too."""
    for story in SAMPLE:
        for word, number, role in zip(
            story.words, story.latents["number"], story.latents["role"], strict=True
        ):
            if role == "verb" and word in ("was", "were"):
                assert number == ("sg" if word == "was" else "pl")


@pytest.mark.parametrize("kind", ["indirect_object", "pronoun"])
def test_minimal_pairs_differ_in_one_word(kind: str) -> None:
    """Both prompts have the same number of words and differ in exactly one, with two different answers."""
    for pair in world.minimal_pairs(100, seed=3, kind=kind):
        clean, corrupted = pair.clean.split(), pair.corrupted.split()
        assert len(clean) == len(corrupted)
        assert [i for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b] == [
            pair.differs_at - (kind == "indirect_object")  # the comma is a word of its own for the tokenizer
        ]
        assert pair.answer != pair.wrong
    assert world.minimal_pairs(5, seed=3, kind=kind) == world.minimal_pairs(100, seed=3, kind=kind)[:5]


def test_indirect_object_answers_are_right() -> None:
    """The one who receives is the one of the two who does not give."""
    for pair in world.minimal_pairs(50, seed=1):
        assert pair.clean.count(pair.answer + " ") == 1
        assert pair.clean.count(pair.wrong + " ") == 2


def test_unknown_kind_of_pair_is_refused() -> None:
    """A misspelt kind is an error that names the kinds there are."""
    with pytest.raises(ValueError, match="indirect_object"):
        world.minimal_pairs(1, kind="ioi")


def test_vocabulary_covers_the_stories() -> None:
    """No story has a word outside the vocabulary, which lists each word once."""
    words = vocabulary()
    assert len(words) == len(set(words)) > 900
    assert {word for story in SAMPLE for word in story.words} <= set(words)


def test_english_spelling() -> None:
    """Plurals, articles and spacing follow English."""
    assert [plural(w) for w in ("cat", "box", "cherry", "mouse", "deer", "toy")] == [
        "cats", "boxes", "cherries", "mice", "deer", "toys",
    ]  # fmt: skip
    assert (article("apple"), article("pear")) == ("an", "a")
    assert join(["“", "Yes", ",", "”", "said", "Mary", "."]) == "“Yes,” said Mary."


def test_entropy_bound_is_between_zero_and_unigram() -> None:
    """The bound is a per-token cost well below that of independent words."""
    assert 0.8 < world.entropy_bound(300) < 1.5


def test_write_stories_gives_labelled_lines(tmp_path: Path) -> None:
    """The JSONL of the demo holds text and latents of the seed asked for."""
    path = world.write_stories(tmp_path / "stories.jsonl", 7, seed=5)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == [story.text for story in SAMPLE[:7]]
    assert rows[0]["latents"]["gender"] == SAMPLE[0].latents["gender"]


def test_importing_the_world_imports_nothing_heavy() -> None:
    """The command line lists the world without paying for torch."""
    code = (
        "import sys, darkmatter_plugins.world; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "set()", done.stderr


FROZEN = (
    "Rose was a lazy guard who lived in the castle. Rose loved turnips but not berries. She was not "
    "tired. The eagle was thin, so it shrieked. She was not busy. Everyone knew that she was a lazy "
    "guard. The falcon was fierce, so it shrieked. At last Rose and Mark went home together."
)
