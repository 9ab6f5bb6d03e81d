"""Find what a card needs in a results folder, or measure it with the settings that the folder records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darkmatter.cards.beside import rows_of_latents
from darkmatter.cards.content import EVALUATOR, card_of
from darkmatter.cards.parts import Card
from darkmatter.errors import ItemError, UsageError, did_you_mean
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import Result
from darkmatter.runs.job import Job
from darkmatter.runs.suite import make_suite

_TEXT = ("path", "field", "context_length", "bos", "packing", "document_limit")
_MODEL = ("name", "revision", "dtype", "device", "processing")
_ANALYSIS = ("split", "skip_first", "skip_last", "dtype", "device", "chunk_rows")
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def results_on(folder: Path, name: str) -> tuple[list[Result], list[Result]]:
    """All results of a folder, and those on one SAE that were measured."""
    every = [each for each in ResultSet.read(folder) if each.status != "failed" and each.sae.d_sae]
    own = [each for each in every if each.sae.name == name and not each.sae.members]
    if not own:
        names = sorted({each.sae.name for each in every if not each.sae.members})
        message = (
            f"there is no SAE {name!r} in {str(folder)!r}. {did_you_mean(name, names)} For an SAE that was "
            "not evaluated yet, give a reference with --model and --text."
        )
        raise UsageError(message)
    return every, own


def cards_from_folder(
    folder: Path, name: str, indices: Sequence[int], sample: int | None, progress: Progress
) -> tuple[list[Card], list[str]]:
    """Cards of latents of an SAE in a results folder, and what there is no card of.

    What the folder has of them is shown; the rest is measured now, with the recorded settings, and not kept.
    """
    every, own = results_on(folder, name)
    check_indices(name, indices, own[0].sae.d_sae)
    measured = [each for each in own if each.evaluator.name == EVALUATOR and each.status == "ok"]
    beside = [each for each in own if each.evaluator.name != EVALUATOR]
    if sample is not None and measured:
        there = [latent for latent, row in rows_of_latents(measured[0]).items() if row["firings"]]
        indices = there[:sample] if len(there) >= sample else ()
    known = next((each for each in measured if indices and set(indices) <= set(rows_of_latents(each))), None)
    if known is None:
        options = dict(measured[0].config) if measured else {}
        known = measure(_suite(own[0], every, _asked(options, indices, sample)), own[0].sae.name, progress)
    return _cards(known, beside, indices or None)


def cards_of_suite(
    fields: Mapping[str, Any],
    name: str,
    indices: Sequence[int],
    sample: int | None,
    options: Mapping[str, Any],
    progress: Progress,
) -> tuple[list[Card], list[str]]:
    """Cards of latents of an SAE in a suite that is given by its fields."""
    asked = {EVALUATOR: _asked(options, indices, sample)}
    result = measure({**fields, "evaluators": asked, "only": {EVALUATOR: [name]}}, name, progress)
    return _cards(result, (), indices or None)


def measure(fields: Mapping[str, Any], name: str, progress: Progress) -> Result:
    """The result of ``feature_effects`` on one SAE of a suite, kept nowhere."""
    outcome = Job.of(make_suite({**fields, "controls": False}), host(), progress).run(None)
    found = [
        each
        for each in outcome.results
        if each.evaluator.name == EVALUATOR and _clean(name) in {each.sae.name, _clean(each.sae.name)}
    ]
    if not found or found[0].status != "ok":
        reason = found[0].reason if found else "; ".join(each.reason for each in outcome.failures)
        message = f"{name}: {reason or 'there is no result'}"
        raise ItemError(message)
    return found[0]


def check_indices(name: str, indices: Sequence[int], d_sae: int) -> None:
    """Raise UsageError for a latent that the SAE does not have."""
    for index in indices:
        if not 0 <= index < d_sae:
            near = min(max(index, 0), d_sae - 1)
            message = (
                f"there is no latent {index}: {name} has {d_sae} latents, 0 to {d_sae - 1}. "
                f"Try `darkmatter feature {name} {near}`, or --sample 3 for some that fire."
            )
            raise UsageError(message)


def _asked(options: Mapping[str, Any], indices: Sequence[int], sample: int | None) -> dict[str, Any]:
    if indices:
        return {**options, "indices": list(indices)}
    return {**options, "indices": None, "latents": sample or 1}


def _cards(
    result: Result, beside: Sequence[Result], indices: Sequence[int] | None = None
) -> tuple[list[Card], list[str]]:
    """A card per latent that fires, and a sentence for each that does not."""
    rows = rows_of_latents(result)
    cards, dead = [], []
    for latent in sorted(rows) if indices is None else indices:
        row = rows[latent]
        if row["firings"]:
            cards.append(card_of(result, latent, beside))
            continue
        near = row.get("nearest_that_fire", [])
        advice = "No latent of this SAE does."
        if near:
            names, again = ", ".join(map(str, near)), f"darkmatter feature {result.sae.name} {near[0]}"
            advice = f"Nearest that fire: {names}. Try `{again}`."
        dead.append(f"latent {latent} of {result.sae.name} fires on no held-out row. {advice}")
    return cards, dead


def _clean(name: str) -> str:
    return _NAME.sub("-", name)


def _suite(own: Result, every: Sequence[Result], options: dict[str, Any]) -> dict[str, Any]:
    """The suite that measures one SAE as the folder's other results were measured.

    Beside it stand the SAEs that read other hook points, among them its causes; they are not measured.
    A control is measured alone.
    """
    cache = own.cache
    here = [each for each in every if each.cache.get("key") == cache.get("key") and not each.sae.members]
    fields: dict[str, Any] = {
        "seed": own.analysis["seed"],
        "analysis": {name: own.analysis[name] for name in _ANALYSIS},
        "evaluators": {EVALUATOR: options},
    }
    if cache.get("kind") == "model":
        text = {name: cache["text"][name] for name in _TEXT}
        fields["model"] = {name: cache["model"][name] for name in _MODEL}
        fields["text"] = {**text, "contexts": cache["text"]["contexts_requested"]}
        # All hook points of the run, because these name the cache that is there already.
        fields["hooks"] = sorted({hook for each in here for hook in (each.sae.hook, each.sae.hook_out)})
    elif Path(str(cache.get("source", ""))).is_file():
        fields["activations"] = cache["source"]
    else:
        message = (
            f"{own.sae.name} was measured on activations in memory ({cache.get('source')}), which are gone. "
            f"Evaluate it with {EVALUATOR} and its option `indices`, and keep the results with out=."
        )
        raise ItemError(message)
    saes = {_clean(own.sae.name): own}
    if not own.sae.reference.startswith("baseline:"):
        others = [each for each in here if each.sae.hook != own.sae.hook and not each.sae.is_control]
        saes |= {_clean(each.sae.name): each for each in others}
        fields["only"] = {EVALUATOR: [_clean(own.sae.name)]}
    fields["saes"] = {name: _spec(each) for name, each in saes.items()}
    return fields


def _spec(result: Result) -> dict[str, Any]:
    record = result.sae
    if record.reference.startswith("baseline:"):
        return {"ref": record.reference, "hook": record.hook}
    return {"ref": record.reference, "adapter": record.adapter or None, **record.overrides}
