"""What evaluators may need, and whether it is there: in the store, in the SAE, in its company."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from darkmatter.activations import ActivationStore
from darkmatter.descriptors import Evaluator, Requirement
from darkmatter.runs.bench import Candidate, elsewhere, family_of, seen_beside
from darkmatter.runs.chosen import Chosen, Hooks
from darkmatter.runs.items import Facts

OF_MODELS = frozenset({Requirement.TOKENS, Requirement.LOSS, Requirement.MODEL, Requirement.LABELS_OR_MODEL})
"""What activations that a language model made bring along."""


def of_store(store: ActivationStore) -> frozenset[Requirement]:
    """What activations bring along; the first context tells, the others are not read for it."""
    first = {
        Requirement.TOKENS: store.tokens(0, 1),
        Requirement.LOSS: store.loss(0, 1),
        Requirement.LABELS: store.labels(0, 1),
    }
    there = frozenset(need for need, values in first.items() if values is not None)
    if store.has_model:
        there |= {Requirement.MODEL}
    either = there & {Requirement.MODEL, Requirement.LABELS}
    return there | {Requirement.LABELS_OR_MODEL} if either else there


def of_sae(facts: Facts) -> frozenset[Requirement]:
    """What an SAE has beside its codes."""
    own = {Requirement.DECODER: facts.has_decoder, Requirement.RECONSTRUCTION: facts.reconstructs}
    return frozenset(need for need, there in own.items() if there)


def of_company(
    chosen: Chosen, hooks: Hooks, name: str, candidates: Sequence[Candidate]
) -> frozenset[Requirement]:
    """What the SAEs at hand make possible for an evaluator of one of them.

    SAEs that options name serve an evaluator of other hook points wherever they are.
    """
    there = set()
    if len(family_of(hooks, candidates)) > 1:
        there.add(Requirement.FAMILY)
    named = chosen.config.looks_at() is not None and seen_beside(chosen, hooks, name, candidates)
    if named or elsewhere(hooks, candidates):
        there.add(Requirement.OTHER_HOOKS)
    return frozenset(there)


def unmet(evaluator: Evaluator, there: Collection[Requirement]) -> str:
    """Why an evaluator is skipped, in words; empty where nothing is missing.

    Training is always possible: naming the evaluator grants the budget.
    """
    missing = evaluator.requires - {Requirement.TRAINING, *there}
    return "needs " + ", ".join(sorted(need.value for need in missing)) if missing else ""
