"""SAEs that a run has at hand, and which of them an evaluator sees beside the one it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from darkmatter.descriptors import Evaluator
from darkmatter.evaluation import CollectorSpec, EvalContext, EvaluatorImplementation
from darkmatter.files.atomic import content_hash
from darkmatter.output import EvalOutput
from darkmatter.runs.chosen import Chosen, Hooks, Identity
from darkmatter.runs.items import Facts
from darkmatter.runs.writing import Draft, ResultDraft
from darkmatter.sae.base import SAE
from darkmatter.stream.passes import Encoded


@dataclass
class Candidate:
    """An SAE at its hook points with the results that are still to be made; loaded when its turn comes.

    ``fingerprint`` is empty for functions, which are known only by what they will have done;
    ``failed`` says that this run has tried it and cannot use it.
    """

    draft: Draft
    load: Callable[[], SAE]
    facts: Facts
    hooks: Hooks
    fingerprint: str
    wanted: list[Chosen] = field(default_factory=list)
    evaluators: dict[str, EvaluatorImplementation] = field(default_factory=dict)
    encoded: Encoded | None = None
    failed: bool = False

    @property
    def name(self) -> str:
        """The SAE's name."""
        return self.draft.name

    @property
    def usable(self) -> bool:
        """Whether it has been encoded without a failure."""
        return self.encoded is not None and not self.failed

    @property
    def identity(self) -> Identity:
        """Who it is, for the keys of results that it shapes; an arithmetic of its own is part of that."""
        own = f" {self.draft.dtype}" if self.draft.dtype else ""
        return (self.name, self.hooks[0], self.known_as + own)

    @property
    def known_as(self) -> str:
        """Its fingerprint, or the hash of what it did; empty for a function that was not called yet."""
        if not self.fingerprint and self.encoded is not None and self.usable:
            return self.encoded.behaviour
        return self.fingerprint

    def result_draft(self, key: str, chosen: Chosen) -> ResultDraft:
        """The draft of one of its results, once it has been encoded."""
        assert self.encoded is not None
        facts = self.facts
        found = {
            "d_in": facts.d_in,
            "d_sae": facts.d_sae,
            "l0": self.encoded.l0,
            "metadata": asdict(facts.metadata),
        }
        return self.draft.of(self.hooks, self.known_as, key, chosen, **found)


def is_late(evaluator: Evaluator) -> bool:
    """Whether an evaluator of one SAE looks at others, and so waits until all have been encoded."""
    return evaluator.scope == "sae" and bool(evaluator.sees)


def family_of(hooks: Hooks, candidates: Iterable[Candidate]) -> list[Candidate]:
    """The SAEs at a pair of hook points; a control is no member of a family."""
    return [each for each in candidates if each.hooks == hooks and not each.draft.is_control]


def elsewhere(hooks: Hooks, candidates: Iterable[Candidate]) -> list[Candidate]:
    """The SAEs at another pair of hook points; controls are none of them.

    A transcoder that reads where an SAE stands is no member of its family, and so is one of these.
    """
    return [each for each in candidates if each.hooks != hooks and not each.draft.is_control]


def seen_beside(chosen: Chosen, hooks: Hooks, name: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The other SAEs that shape an evaluator's result on one SAE."""
    named, sees = chosen.config.looks_at(), chosen.evaluator.sees
    anywhere = named is not None and "named" in sees
    found: list[Candidate] = []
    if "family" in sees or anywhere:
        found += [each for each in family_of(hooks, candidates) if each.name != name]
    if "elsewhere" in sees or anywhere:
        found += elsewhere(hooks, candidates)
    return [each for each in found if named is None or each.name in named]


def identities(candidates: Iterable[Candidate]) -> list[Identity]:
    """Who they are, in an order that does not depend on the run's."""
    return sorted(each.identity for each in candidates)


@dataclass
class Family:
    """All SAEs at one pair of hook points, and an evaluator that speaks of them together."""

    chosen: Chosen
    hooks: Hooks
    members: list[Candidate]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all members."""
        return tuple(sorted(each.name for each in self.members))

    @property
    def draft(self) -> Draft:
        """What a result says of the family."""
        reference = ", ".join(self.names)
        return Draft(f"family:{self.hooks[0]}", reference, "", is_control=False, assumptions=())

    @property
    def speaker(self) -> Candidate | None:
        """The member that an evaluator is given as its SAE: by name the first, of those that reconstruct.

        The order of a run would not do: it is part of no key.
        """
        whole = [each for each in self.members if each.facts.reconstructs]
        return min(whole or self.members, key=lambda each: each.name, default=None)

    @property
    def fingerprint(self) -> str:
        """Names and fingerprints of all members: names stand in the metrics."""
        return f"family:{content_hash([list(each) for each in identities(self.members)])}"

    def result_draft(self, key: str) -> ResultDraft:
        """The draft of the family's result; ``d_sae`` counts nothing there and is 0."""
        d_in = self.members[0].facts.d_in if self.members else 0
        sizes = {"d_in": d_in, "d_sae": 0, "members": self.names}
        return self.draft.of(self.hooks, self.fingerprint, key, self.chosen, **sizes)


def looked_at(
    candidates: Sequence[Candidate], bench: Sequence[Candidate], families: Sequence[Family]
) -> set[str]:
    """The names of those who must stay at hand after their own pass, because a result comes later.

    They are who a late evaluator of ``candidates`` speaks of or sees, and who belongs to a family.
    """
    names = {each.name for family in families for each in family.members}
    for each in candidates:
        for chosen in each.wanted:
            if is_late(chosen.evaluator):
                seen = seen_beside(chosen, each.hooks, each.name, bench)
                names |= {each.name, *(other.name for other in seen)}
    return names


def seen_by_controls(
    evaluators: Sequence[Chosen], hooks: Sequence[Hooks], bench: Sequence[Candidate]
) -> set[str]:
    """The names of those at whom late results on controls at ``hooks`` may look, if any are made."""
    late = [each for each in evaluators if is_late(each.evaluator) and each.evaluator.controls]
    return {each.name for chosen in late for at in hooks for each in seen_beside(chosen, at, "", bench)}


def in_groups(candidates: Sequence[Candidate], limit: int) -> Iterator[list[Candidate]]:
    """SAEs of one pair of hook points whose weights together stay below ``limit`` bytes (or one)."""
    by_hooks: dict[Hooks, list[Candidate]] = {}
    for candidate in candidates:
        by_hooks.setdefault(candidate.hooks, []).append(candidate)
    for members in by_hooks.values():
        group: list[Candidate] = []
        size = 0
        for candidate in members:
            weight = candidate.facts.weight_bytes
            if group and size + weight > limit:
                yield group
                group, size = [], 0
            group.append(candidate)
            size += weight
        yield group


class Broken:
    """Stands for an evaluator that could not be made; running it raises why."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def collectors(self) -> Sequence[CollectorSpec]:
        """None."""
        return ()

    def run(self, ctx: EvalContext) -> EvalOutput:  # noqa: ARG002 - the protocol's
        """Raise what went wrong when it was made."""
        raise self._error
