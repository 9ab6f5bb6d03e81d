"""When two results may stand side by side, and in words why not; and names that tell results apart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from darkmatter.results.schema import Result

if TYPE_CHECKING:
    from darkmatter.results.reading import StoredResult

HARDWARE = frozenset({"device", "device_class", "dtype", "tf32", "chunk_rows"})
"""Options of the analysis that change precision, not what is measured; a difference is only noted."""

_MAX_TEXT = 60

Source = tuple[str, int, str]
"""Evaluator, version and configuration: by what a number was made."""


class Place(NamedTuple):
    """Where and on what a result was measured: what shares it may stand in one table.

    A transcoder reads the hook point that an SAE reads and explains another, so both belong to a place.
    """

    hook: str
    hook_out: str
    activations: str
    analysis: str

    @property
    def title(self) -> str:
        """The hook points for a heading: one, or from where to where."""
        if self.hook_out == self.hook:
            return self.hook or "activations"
        return f"{self.hook} → {self.hook_out}"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level with dotted names."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            made.update(flat(value, f"{prefix}{name}."))
        else:
            made[f"{prefix}{name}"] = value
    return made


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration as one canonical JSON string."""
    return json.dumps(config, sort_keys=True, ensure_ascii=False)


def measured_by(result: Result) -> str:
    """The harness that the numbers are from."""
    return str(result.cache.get("measured_by", "darkmatter"))


def is_unread(result: Result) -> bool:
    """Whether the SAE could not be used at all, so that neither weights nor hook point are known."""
    return result.status == "failed" and not result.sae.hook


def data_signature(result: Result) -> tuple[str, str]:
    """Equal for results on the same activations with the same analysis."""
    analysis = {name: value for name, value in result.analysis.items() if name not in HARDWARE}
    return str(result.cache.get("key")), config_text(analysis)


def place_of(result: Result) -> Place:
    """Equal for results that may stand in one table."""
    sae = result.sae
    return Place(sae.hook, sae.hook_out or sae.hook, *data_signature(result))


def source_of(result: Result) -> Source:
    """Equal for results that may stand in one column of it."""
    return result.evaluator.name, result.evaluator.version, config_text(result.config)


def why_not_comparable(a: Result, b: Result) -> list[str]:
    """What differs between the data or the evaluators of two results; empty where nothing does."""
    if measured_by(a) != measured_by(b):
        return [f"measured by {measured_by(a)} or {measured_by(b)}, each on its own text by its own formulas"]
    reasons = []
    where = place_of(a).title, place_of(b).title
    if where[0] != where[1]:
        reasons.append(f"hook point: {where[0]} or {where[1]}")
    if a.cache.get("key") != b.cache.get("key"):
        found = _differences(a.cache, b.cache, skip={"key"})
        reasons.extend(
            found or [f"activations: {_short(a.cache.get('key'))} or {_short(b.cache.get('key'))}"]
        )
    reasons.extend(_differences(a.analysis, b.analysis, skip=HARDWARE))
    if a.evaluator.name == b.evaluator.name:
        if a.evaluator.version != b.evaluator.version:
            reasons.append(f"version of {a.evaluator.name}: {a.evaluator.version} or {b.evaluator.version}")
        reasons.extend(_differences(a.config, b.config))
        reasons.extend(other_company(a, b))
    return reasons


def other_company(a: Result, b: Result) -> list[str]:
    """Whether other SAEs shaped the two results: the members of a family, or those that were looked at.

    Two SAEs of one run stand beside each other. Older results do not tell whom they looked at, and pass.
    """
    both = {a.sae.name, b.sae.name}
    for what, mine, yours in (
        ("members", a.sae.members, b.sae.members),
        ("SAEs beside it", a.beside, b.beside),
    ):
        if mine is None or yours is None:
            continue
        only = [sorted({*mine} - {*yours} - both), sorted({*yours} - {*mine} - both)]
        if any(only):
            said = " or ".join(_short(", ".join(names)) if names else "none more" for names in only)
            return [f"{what}: {said}"]
    return []


def hardware_notes(a: Result, b: Result) -> list[str]:
    """Differences of device and precision."""
    return _differences(hardware(a), hardware(b))


def hardware(result: Result) -> dict[str, Any]:
    """Device and precision; the precision that was stated for an SAE alone wins over the run's."""
    found = {name: value for name, value in result.analysis.items() if name in HARDWARE}
    own = result.sae.overrides.get("dtype")
    return found if own is None else {**found, "dtype": own}


def _differences(
    a: Mapping[str, Any], b: Mapping[str, Any], skip: frozenset[str] | set[str] = frozenset()
) -> list[str]:
    left, right = flat(a), flat(b)
    names = [name for name in sorted({*left, *right}) if name.split(".")[0] not in skip]
    return [
        f"{name}: {_short(left.get(name))} or {_short(right.get(name))}"
        for name in names
        if left.get(name) != right.get(name)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def distinct_names(results: Sequence[Result]) -> list[str]:
    """A name for each result's SAE, such that (name, evaluator, config) is unique.

    A name is the SAE's own wherever that suffices. Where results of one name, evaluator and
    configuration exist for several seeds, texts or weights, what differs is added in parentheses. Where
    an SAE of that name could not be read, the failure has the plain name and numbers say of which
    weights they are.
    """
    names = [result.sae.name for result in results]
    for name in {names[index] for group in _collisions(names, results) for index in group}:
        called = [index for index, result in enumerate(results) if result.sae.name == name]
        members = [index for index in called if not is_unread(results[index])]
        traits = [_traits(results[index]) for index in members]
        differing = _differing(traits, always=() if members == called else ("weights",))
        for index, trait in zip(members, traits, strict=True):
            names[index] = _suffixed(name, [_trait_text(key, trait.get(key)) for key in differing])
    for group in _collisions(names, results):
        versions = {results[index].evaluator.version for index in group}
        for index in group:
            result = results[index]
            known = len(versions) == len(group)
            names[index] = _suffixed(
                names[index], [f"v{result.evaluator.version}" if known else result.key[:8]]
            )
    return names


def short_names(
    entries: Sequence[tuple[str, StoredResult]], unread: Collection[str]
) -> list[tuple[str, StoredResult]]:
    """The SAEs' own names where they suffice within a section.

    The name of an SAE that could not be read belongs to that failure: older numbers keep their long one.
    """
    long_names: dict[str, set[str]] = defaultdict(set)
    for name, entry in entries:
        long_names[entry.result.sae.name].add(name)
    return [
        (own if len(long_names[own]) == 1 and own not in unread else name, entry)
        for name, entry in entries
        for own in [entry.result.sae.name]
    ]


def _collisions(names: Sequence[str], results: Sequence[Result]) -> list[list[int]]:
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, (name, result) in enumerate(zip(names, results, strict=True)):
        groups[name, result.evaluator.name, config_text(result.config)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _traits(result: Result) -> dict[str, str]:
    """What tells results of one SAE name apart, apart from the evaluator."""
    analysis = {name: _short(value) for name, value in flat(result.analysis).items()}
    cache = str(result.cache.get("key"))[:8]
    return {"hook": place_of(result).title, "weights": result.sae.fingerprint[:8], "cache": cache, **analysis}


def _differing(traits: Sequence[Mapping[str, str]], always: Sequence[str]) -> list[str]:
    names = dict.fromkeys(name for trait in traits for name in trait)
    return [name for name in names if name in always or len({trait.get(name) for trait in traits}) > 1]


def _trait_text(name: str, value: str | None) -> str:
    return str(value) if name == "hook" else f"{name}={value}"


def _suffixed(name: str, parts: Sequence[str]) -> str:
    return f"{name} ({', '.join(parts)})" if parts else name
