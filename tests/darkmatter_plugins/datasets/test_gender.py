"""Names of two genders as labelled prompts, for tokenizers of several kinds."""

import pytest

from darkmatter import api
from darkmatter.testing import check_dataset
from darkmatter.testing.words import WordTokenizer
from darkmatter_plugins.datasets import GenderConfig
from darkmatter_plugins.datasets.gender import english, world


class Letters(WordTokenizer):
    """Names are written letter by letter, other words whole."""

    def encode(self, texts):
        found = []
        for text in texts:
            ids = []
            for word in super().encode([text])[0]:
                (spelled,) = self.decode([word])
                pieces = list(spelled) if spelled.strip().istitle() else [spelled]
                ids += [self._id(piece) for piece in pieces]
            found.append(ids)
        return found


class Unknowing(WordTokenizer):
    """One word is unknown and read back as something else."""

    def __init__(self, word) -> None:
        super().__init__()
        self.word = word

    def encode(self, texts):
        return super().encode([text.replace(self.word, "<unk>") for text in texts])


class Marked(WordTokenizer):
    """A space before a word reads as the mark that SentencePiece puts for it."""

    def decode(self, tokens):
        return [text.replace(" ", "\u2581") for text in super().decode(tokens)]


@pytest.mark.parametrize("name", ["gender_names", "world_gender"])
@pytest.mark.parametrize("tokenizer", [WordTokenizer, Letters, Marked])
def test_the_datasets_conform(name, tokenizer):
    """Both are sound for tokenizers that write a name in one token or in several."""
    check_dataset(name, tokenizer=tokenizer())
    check_dataset(name, {"names": 12}, tokenizer=tokenizer())


@pytest.mark.parametrize("make", [english, world])
@pytest.mark.parametrize("tokenizer", [WordTokenizer, Letters])
def test_the_span_is_the_name_and_the_group_too(make, tokenizer):
    """The tokens of the span read as the name, which is what is held out; she stands for 0 and he for 1."""
    words = tokenizer()
    task = make(GenderConfig(), words, 0)
    spelled = [
        "".join(words.decode(prompt[first : last + 1])).strip()
        for prompt, (first, last) in zip(task.prompts, task.spans, strict=True)
    ]

    assert spelled == list(task.groups)
    assert words.decode(task.answers) == [" she", " he"]
    assert {task.labels[task.groups.index(name)] for name in ("Mary", "Anna")} == {0}
    assert task.labels[task.groups.index("John")] == 1


def test_a_name_that_cannot_be_written_is_left_out():
    """An English name of unknown words is no prompt; the world's names must all be there."""
    task = english(GenderConfig(), Unknowing("Lily"), 0)

    assert "Lily" not in task.groups
    assert "Anna" in task.groups
    with pytest.raises(api.ItemError, match="Lily"):
        world(GenderConfig(), Unknowing("Lily"), 0)


@pytest.mark.parametrize("make", [english, world])
def test_a_tokenizer_without_the_answers_is_refused(make):
    """Where she and he are the same unknown word there is nothing to choose between."""

    class Same(WordTokenizer):
        def encode(self, texts):
            return super().encode([text.removesuffix("she").removesuffix("he") + "x" for text in texts])

    with pytest.raises(api.ItemError, match="cannot write"):
        make(GenderConfig(), Same(), 0)
