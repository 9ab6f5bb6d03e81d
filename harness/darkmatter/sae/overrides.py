"""What a user knows of an SAE and its file does not say, or says wrongly."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, ValidationError

from darkmatter.descriptors import Config
from darkmatter.errors import ItemError, UsageError, did_you_mean
from darkmatter.sae.assumption import Assumption
from darkmatter.wording import expectation

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from darkmatter.sae.base import SAE

Orientation = Literal["d_in,d_sae", "d_sae,d_in"]


class Overrides(Config):
    """Statements about one SAE; each one replaces what the file says or what would be assumed."""

    hook: str | None = Field(
        None,
        min_length=1,
        description="hook point that it reads; an SAE that predicts what it reads predicts it too",
    )
    hook_out: str | None = Field(
        None, min_length=1, description="hook point that it predicts, for transcoders"
    )
    model: str | None = Field(None, min_length=1, description="the language model it was trained on")
    context_length: int | None = Field(None, ge=2, description="context length it was trained with")
    bos: bool | None = Field(None, description="whether its training contexts began with BOS")
    processing: Literal["raw", "compat"] | None = Field(
        None, description="weights of the model it was trained on: as they are, or folded and centred"
    )
    dtype: Literal["float32", "float64", "bfloat16", "float16"] | None = Field(
        None, description="arithmetic in which it encodes, instead of the run's"
    )
    norm_factor: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="activations are multiplied by it before encoding, and reconstructions of them divided",
    )
    orientation: Orientation | None = Field(
        None, description="how W_enc is stored, where its shape does not tell"
    )
    k: int | None = Field(None, ge=1, description="active latents per token, where the file does not say")

    @classmethod
    def of(cls, values: Overrides | Mapping[str, Any] | None) -> Overrides:
        """Checked overrides from a mapping; a bad one is wrong usage, with the nearest valid choice."""
        if isinstance(values, Overrides):
            return values
        try:
            return Overrides.model_validate(dict(values or {}))
        except ValidationError as error:
            raise UsageError(_explain(error.errors()[0])) from None

    def given(self) -> dict[str, Any]:
        """Only what is stated."""
        stated = {name: getattr(self, name) for name in Overrides.model_fields}
        return {name: value for name, value in stated.items() if value is not None}

    def without(self, name: str) -> Overrides:
        """These statements but one."""
        return Overrides(**{key: value for key, value in self.given().items() if key != name})

    def merged_with(self, weaker: Overrides) -> Overrides:
        """These statements, and those of ``weaker`` (a catalogue's) where these say nothing."""
        return Overrides(**{**weaker.given(), **self.given()})


FOR_ADAPTERS = ("orientation", "k")
"""Overrides that only an adapter can follow; the core follows the others."""


def apply_overrides(
    sae: SAE, overrides: Overrides, *, given_by: str = "the user", followed: Collection[str] = ()
) -> SAE:
    """An SAE of which the overrides hold; the one given stays as it is.

    Each of them takes the place of the assumptions about its field, and is recorded among them in a
    sentence that says what the file says.

    Args:
        sae: the SAE.
        overrides: what is stated of it.
        given_by: who states it.
        followed: overrides that the SAE's reader has followed already; these are recorded alone, as
            are those that only a reader can follow.

    Raises:
        ItemError: the SAE cannot follow one of them.
    """
    stated = overrides.given()
    if not stated:
        return sae
    factor = None if "norm_factor" in followed else overrides.norm_factor
    changed = copy.copy(_computing(sae, factor, overrides.dtype))
    hook_out = _predicted(sae, overrides)
    recorded = [_sentence(sae, name, value, given_by, followed) for name, value in stated.items()]
    if overrides.hook is not None and overrides.hook_out is None and hook_out != overrides.hook:
        recorded.append(Assumption(f"the hook point that it predicts stays {hook_out}.", to_be_sure=""))
    kept = [each for each in sae.assumptions if getattr(each, "about", None) not in stated]
    settled: dict[str, Any] = {
        "hook_in": overrides.hook or sae.hook_in,
        "hook_out": hook_out,
        "metadata": replace(
            sae.metadata,
            model=overrides.model or sae.metadata.model,
            context_length=overrides.context_length or sae.metadata.context_length,
            prepend_bos=sae.metadata.prepend_bos if overrides.bos is None else overrides.bos,
            processing=overrides.processing or sae.metadata.processing,
        ),
        "assumptions": (*kept, *recorded),
        "overrides": overrides.merged_with(sae.overrides),
    }
    try:
        for name, value in settled.items():
            setattr(changed, name, value)
    except AttributeError as error:
        message = f"a {type(sae).__name__} cannot take overrides: {error}."
        raise ItemError(message) from error
    return changed


def _predicted(sae: SAE, overrides: Overrides) -> str | None:
    """The hook point that it predicts: another hook moves it along only where nothing tells them apart."""
    if overrides.hook_out is not None or overrides.hook is None:
        return overrides.hook_out or sae.hook_out
    apart = sae.overrides.hook_out is not None or sae.hook_out not in {None, sae.hook_in}
    return sae.hook_out if apart else overrides.hook


def _computing(sae: SAE, factor: float | None, dtype: str | None) -> SAE:
    """The SAE with another factor and in another precision, where these are stated."""
    if factor is not None:
        sae = _scaled(sae, factor)
    if dtype is None:
        return sae
    import torch

    asked, move = getattr(torch, dtype), getattr(sae, "to", None)
    moved: SAE = sae if move is None else move(dtype=asked)
    if getattr(moved, "dtype", None) != asked:
        message = (
            f"the override dtype {dtype} cannot be followed: {_called(sae)} computes in its own "
            "arithmetic. Leave the override out."
        )
        raise ItemError(message)
    return moved


def _scaled(sae: SAE, factor: float) -> SAE:
    """The SAE with its activations multiplied by ``factor`` before encoding."""
    from darkmatter.sae.canonical import CanonicalSAE

    what = f"the override norm_factor {factor:g} cannot be followed"
    if not isinstance(sae, CanonicalSAE):
        advice = ", or scale the activations inside its functions" if sae.fingerprint is None else ""
        message = f"{what}: {_called(sae)} is not of the canonical form, so no factor of it can be replaced. "
        raise ItemError(message + f"Leave the override out{advice}.")
    before = sae.normalisation
    if before.kind not in {"none", "scale"}:
        message = (
            f"{what}: this SAE normalises each row by the row's own statistics ({before.kind}), which leaves "
            "no scale of the activations to be set. Leave the override out."
        )
        raise ItemError(message)
    return sae.with_normalisation(replace(before, kind="scale", factor=factor))


def _called(sae: SAE) -> str:
    return f"this SAE ({sae.metadata.architecture or type(sae).__name__})"


def _sentence(sae: SAE, name: str, value: Any, given_by: str, followed: Collection[str]) -> Assumption:
    """What was given, and what it replaces; nothing more is needed to be sure of it."""
    replaced = "" if name in followed else _replaced(sae, name)
    sentence = f"{name} {_shown(value)} was given by {given_by}{replaced}."
    return Assumption(sentence, about=name, to_be_sure="")


def _replaced(sae: SAE, name: str) -> str:
    """In parentheses: what stood in the place of an override before; empty where a file never says it."""
    normalisation = getattr(sae, "normalisation", None)
    said = {
        "hook": sae.hook_in,
        "hook_out": sae.hook_out,
        "model": sae.metadata.model,
        "context_length": sae.metadata.context_length,
        "bos": sae.metadata.prepend_bos,
        "processing": sae.metadata.processing,
        "norm_factor": normalisation.factor if normalisation and normalisation.kind == "scale" else None,
    }
    if name not in said:
        return ""
    if said[name] is None:
        return " (the file says nothing)"
    if name in sae.overrides.given():
        return f" (instead of {_shown(said[name])}, which was given before)"
    if any(getattr(each, "about", None) == name for each in sae.assumptions):
        return f" (without it, {_shown(said[name])} would be assumed)"
    return f" (the file says {_shown(said[name])})"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explain(problem: ErrorDetails) -> str:
    """One paragraph about an override that cannot be."""
    name, value = str(problem["loc"][0]), problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"there is no override {name!r}. {did_you_mean(name, Overrides.model_fields)}"
    options = _options(name)
    if options:
        return f"the override {name} cannot be {value!r}. {did_you_mean(str(value), options)}"
    return f"the override {name} cannot be {value!r}; {expectation(problem)}."


def _options(name: str) -> list[str]:
    """The words that a field takes, where it takes nothing else."""
    kinds = get_args(Overrides.model_fields[name].annotation)
    return [str(option) for kind in kinds for option in get_args(kind)]
