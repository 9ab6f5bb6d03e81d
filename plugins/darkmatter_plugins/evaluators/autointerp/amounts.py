"""How many fragments were there, and whether they were enough."""

from __future__ import annotations

from collections.abc import Sequence

from darkmatter import api
from darkmatter_plugins.evaluators.autointerp.descriptor import AutointerpConfig
from darkmatter_plugins.evaluators.autointerp.report import HELP
from darkmatter_plugins.evaluators.autointerp.sampling import Draws

Amounts = dict[str, float | int]


def amounts(draws: Draws, config: AutointerpConfig) -> tuple[dict[api.Rows, Amounts], list[str]]:
    """The table of fragments by side of the split, and notes where there were too few."""
    asked = {"train": config.train_fragments, "test": config.test_fragments}
    tops = {
        "train": [each.train.n_top for each in draws.samples],
        "test": [each.test.fragments.n_top for each in draws.samples],
    }
    randoms = {
        "train": [each.n_train_random for each in draws.samples],
        "test": [int(each.test.random.sum()) for each in draws.samples],
    }
    sides: tuple[api.Rows, ...] = ("train", "test")
    table = {
        side: {
            "available": draws.available[side],
            "asked": asked[side],
            **_counts("top", tops[side]),
            **_counts("random", randoms[side]),
        }
        for side in sides
    }
    return table, _notes(draws, config)


def _counts(name: str, counts: Sequence[int]) -> Amounts:
    return {f"{name}_mean": sum(counts) / len(counts), f"{name}_fewest": min(counts)}


def _notes(draws: Draws, config: AutointerpConfig) -> list[str]:
    train, test = draws.available["train"], draws.available["test"]
    notes = []
    if train < config.train_fragments:
        notes.append(
            f"the simulator saw all {train} training fragments of {config.fragment} tokens, fewer than "
            f"train_fragments = {config.train_fragments}; give more contexts, or lower `fragment`"
        )
    # Top and random fragments overlap by force; warned of, since scores then say less than they seem to.
    if test < 2 * config.test_fragments:
        notes.append(
            f"warning: top and random fragments overlap: there are {test} held-out fragments of "
            f"{config.fragment} tokens and test_fragments = {config.test_fragments} of each are asked for; "
            f"{HELP}"
        )
    return notes
