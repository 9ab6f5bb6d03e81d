"""The checks of datasets and simulators find what is wrong."""

import itertools

import pytest
import torch

from darkmatter import api
from darkmatter.testing import check_dataset, check_simulator

GOOD = api.MinimalPairs(clean=[[1, 2], [1, 3]], corrupted=[[4, 2], [4, 3]], answers=[5, 6], wrong=[6, 5])


def labelled(**changes):
    """Prompts of eight groups, four of either label; sound without changes."""
    sound = {
        "prompts": [[1, 2]] * 8,
        "labels": [0, 1] * 4,
        "groups": list("abcdefgh"),
        "answers": (4, 5),
        "spans": [(0, 1), (1, 1)] * 4,
    }
    return api.LabelledPrompts(**{**sound, **changes})


CONCEPTS = api.Concepts({"gender": {"f": (1, 2), "m": (3,)}})
PAIRS, PROMPTS = "minimal_pairs", "labelled_prompts"

counter = itertools.count(5)


def another(config, tokenizer, seed):
    """Other pairs each time."""
    return api.MinimalPairs([[next(counter)]], [[2]], [1], [2])


def dataset(task, gives=PAIRS, make=None):
    """A dataset that gives this."""
    return api.Dataset(
        "ours", "For tests.", make or (lambda config, tokenizer, seed: task), config=api.Config, gives=gives
    )


def test_sound_datasets_pass():
    """Nothing is wrong with what keeps the rules, of each kind."""
    check_dataset(dataset(GOOD))
    check_dataset(dataset(labelled(), PROMPTS))
    check_dataset(dataset(CONCEPTS, "concepts"))


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (dataset(GOOD, "concepts"), "gives what its descriptor says"),
        (dataset(None, make=another), "one dataset"),
        (dataset(api.MinimalPairs([[1, 2], [1]], [[4, 2], [4, 3]], [5, 6], [6, 5])), "pair 1 has 1 and 2"),
        (dataset(api.MinimalPairs([[1], [1]], [[2], [2]], [5, 6], [5, 6])), "right and wrong"),
        (dataset(api.MinimalPairs([[1]], [[2]], [1], [2])), "expected as many, 2 up"),
        (dataset(api.MinimalPairs([[1], [-1]], [[2], [2]], [5, 6], [6, 5])), "-1 is no token id"),
        (dataset(api.LabelledPrompts([[1]], [0], ["a"], (1, 2), [(0, 0)]), PROMPTS), "not 0 and 1"),
        (dataset(labelled(spans=[(0, 2)] * 8), PROMPTS), "outside"),
        (dataset(labelled(answers=(4, 4)), PROMPTS), "two tokens that differ"),
        (dataset(labelled(groups=["all"] * 8), PROMPTS), "label 0 has 1 groups; a split by group needs 4"),
        (dataset(labelled(groups=list("abcdefaf")), PROMPTS), "label 0 has 3 groups"),
        (dataset(labelled(groups=list("aacdefgh")), PROMPTS), "'a' has prompts of both labels"),
        (dataset(labelled(labels=[0] * 8), PROMPTS), r"fix: .*help\(darkmatter.api.LabelledPrompts\)"),
        (dataset(api.Concepts({"g": {"f": (1,), "m": (1,)}}), "concepts"), "share a token"),
        (dataset(api.Concepts({"g": {"f": (1,)}}), "concepts"), "fewer than two"),
    ],
)
def test_broken_rules_of_datasets_are_named(made, rule):
    """Each rule of the check can be broken, and the error says which was."""
    with pytest.raises(AssertionError, match=rule):
        check_dataset(made)


class Maker:
    """Predicts token ids, or what it is told to."""

    concurrency = 1

    def __init__(self, predict=torch.Tensor.double, explanation=""):
        self.predict, self.explanation = predict, explanation

    def expect(self, latents, fragments, length):
        return api.Usage()

    def fit(self, fragments):
        return self

    def __call__(self, tokens):
        return self.predict(tokens)

    def usage(self):
        return api.Usage()


def simulator(*arguments, **options):
    """A simulator that is made so."""

    def make(config, tokenizer):
        return Maker(*arguments, **options)

    return api.Simulator("ours", "For tests.", make, config=api.Config)


def test_a_sound_simulator_passes():
    """Nothing is wrong with one that keeps the rules, NaN included."""
    check_simulator(simulator())
    check_simulator(simulator(lambda tokens: torch.full(tokens.shape, torch.nan, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (simulator(lambda tokens: tokens.float()), "one float64 number per token"),
        (simulator(lambda tokens: tokens[:, 0].double()), "one float64 number per token"),
        (simulator(lambda tokens: tokens.double() / 0), "same finite predictions"),
        (simulator(lambda tokens: tokens.double() + next(counter)), "same finite predictions"),
        (simulator(lambda tokens: tokens.double() - tokens.double().mean()), "predicted by itself"),
        (simulator(explanation=None), "tells its explanation"),
    ],
)
def test_broken_rules_of_simulators_are_named(made, rule):
    """Each rule of the check can be broken, and the error says which was."""
    with pytest.raises(AssertionError, match=rule):
        check_simulator(made)


class Plain:
    """Has what is asked of it but for what is taken away."""

    concurrency = 1

    def __init__(self, fitted):
        self.fitted = fitted

    def expect(self, latents, fragments, length):
        return api.Usage()

    def fit(self, fragments):
        return self.fitted

    def usage(self):
        return api.Usage()


class Silent:
    """Predicts, but has no explanation."""

    def __call__(self, tokens):
        return tokens.double()


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (Plain("words"), "fit returned a str, which cannot be called"),
        (Plain(Silent()), "tells its explanation"),
        (lambda tokens: tokens.double(), "a function without expect, fit, usage, concurrency"),
    ],
)
def test_a_simulator_without_its_parts_is_told_which(made, rule):
    """What is no simulator at all is a broken rule, not an error inside of the check."""
    broken = api.Simulator("ours", "For tests.", lambda config, tokenizer: made, config=api.Config)
    with pytest.raises(AssertionError, match=rule):
        check_simulator(broken)
