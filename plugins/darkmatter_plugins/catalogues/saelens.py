"""Entries of SAELens's list as references, with what the list knows that the files do not say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from darkmatter import api
from darkmatter_plugins.catalogues.registry import Listed, Registry, registry

ADAPTERS = {
    "sae_lens": "saelens",
    "connor_rob_hook_z": "hook_z",
    "deepseek_r1": "deepseek_r1",
    "dictionary_learning_1": "dictionary_learning",
    "gemma_2": "gemma_scope",
    "gemma_2_transcoder": "gemma_scope",
    "gemma_3": "gemma_scope_2",
    "goodfire": "goodfire",
    "llama_scope": "llama_scope",
    "llama_scope_r1_distill": "llama_scope",
    "mntss_clt_layer_transcoder": "circuit_tracer",
    "mwhanna_transcoder": "circuit_tracer",
    "qwen_scope": "qwen_scope",
    "sparsify": "sparsify",
    "temporal": "temporal",
}
"""The adapter that reads what SAELens reads with the loader of this name."""

STATED = {
    "model_name": "model",
    "hook_name": "hook",
    "hook_name_out": "hook_out",
    "context_size": "context_length",
    "prepend_bos": "bos",
}
"""Entries of the list's ``config_overrides`` and our names for them."""

HARMLESS = {"dataset_path", "model_from_pretrained_kwargs", "neuronpedia_id"}
"""Entries of ``config_overrides`` that say nothing of what the SAE computes; they go into results."""


def by_release(target: str) -> api.CatalogueEntry:
    """``RELEASE/ID``; an id may have slashes itself."""
    release, _, sae = target.partition("/")
    known = registry()
    if release not in known.releases:
        message = f"saelens:{target}: there is no release {release!r}. {_nearest(release, known.releases)}"
        raise api.ItemError(message)
    listed = known.by_id(release)
    if sae not in listed:
        said = f"the release {release!r} has no SAE {sae!r}" if sae else f"name an SAE of {release!r}"
        message = f"saelens:{target}: {said}. {_nearest(sae, listed)}"
        raise api.ItemError(message)
    return entry_of(listed[sae], f"saelens:{target}", known)


def by_neuronpedia(target: str) -> api.CatalogueEntry:
    """``MODEL/SOURCE``, as in the addresses of Neuronpedia's pages."""
    known = registry()
    listed = {one.neuronpedia: one for one in known.everything() if one.neuronpedia}
    if target in listed:
        return entry_of(listed[target], f"neuronpedia:{target}", known)
    model, _, source = target.partition("/")
    sources = {name.partition("/")[2] for name in listed if name.startswith(f"{model}/")}
    if sources:
        said = f"the model {model!r} has no source {source!r} that SAELens lists. {_nearest(source, sources)}"
    else:
        models = {name.partition("/")[0] for name in listed}
        said = f"there is no model {model!r}. {_nearest(model, models)}"
    message = f"neuronpedia:{target}: {said}"
    raise api.ItemError(message)


def entry_of(listed: Listed, asked: str, known: Registry) -> api.CatalogueEntry:
    """What is ``listed`` in ``known``, as the reference ``asked`` means it."""
    if listed.loader not in ADAPTERS:
        message = (
            f"{asked}: is read by SAELens's loader {listed.loader!r}, which this version does not know. Try "
            f"hf:{listed.repo}/{listed.path}, and name the adapter."
        )
        raise api.ItemError(message)
    unknown = set(listed.overrides) - set(STATED) - HARMLESS
    if unknown:
        what = ", ".join(f"{name} = {listed.overrides[name]!r}" for name in sorted(unknown))
        message = (
            f"{asked}: SAELens's list says of it {what}, against its own files, and nothing here can state "
            f"that. Fetch hf:{listed.repo}/{_place(listed)}, copy it and correct its configuration."
        )
        raise api.ItemError(message)
    return api.CatalogueEntry(
        reference=f"hf:{listed.repo}/{_place(listed)}",
        overrides=_overrides(listed),
        adapter=ADAPTERS[listed.loader],
        notes=tuple(_notes(listed)),
        extra=_extra(listed, known),
    )


def _place(listed: Listed) -> str:
    """The folder or file in the repository; of a cross-layer transcoder, ``path`` is the layer's number.

    One layer of it has codes and no reconstruction, so its encoder is all that is needed.
    """
    if listed.loader == "mntss_clt_layer_transcoder":
        return f"W_enc_{listed.path}.safetensors"
    return listed.path


def _overrides(listed: Listed) -> api.Overrides:
    stated = {ours: listed.overrides[theirs] for theirs, ours in STATED.items() if theirs in listed.overrides}
    stated |= {"norm_factor": listed.norm_scaling_factor, "processing": _processing(listed)}
    return api.Overrides.model_validate(stated)


def _processing(listed: Listed) -> Literal["raw", "compat"] | None:
    settings = listed.overrides.get("model_from_pretrained_kwargs") or {}
    centred = settings.get("center_writing_weights")
    return None if centred is None else "compat" if centred else "raw"


def _notes(listed: Listed) -> Iterable[str]:
    settings = listed.overrides.get("model_from_pretrained_kwargs")
    if settings:
        given = ", ".join(f"{name}={value}" for name, value in sorted(settings.items()))
        yield (
            f"SAELens's list states that the model is to be loaded with {given}; activations of the model as "
            "Hugging Face has it differ."
        )


def _extra(listed: Listed, known: Registry) -> dict[str, Any]:
    stated = {
        "version": known.version,
        "release": listed.release,
        "id": listed.id,
        "model": listed.model,
        "loader": listed.loader,
        "l0": listed.l0,
        "variance_explained": listed.variance_explained,
        "norm_scaling_factor": listed.norm_scaling_factor,
        "neuronpedia": listed.neuronpedia,
        **{name: listed.overrides[name] for name in sorted(HARMLESS & set(listed.overrides))},
    }
    return {name: value for name, value in stated.items() if value is not None}


def _nearest(word: str, choices: Iterable[str]) -> str:
    """The nearest choices: those that differ in numbers only, else those that look alike."""
    known = sorted(choices)
    pattern = re.sub(r"\d+", "#", word)
    alike = [choice for choice in known if re.sub(r"\d+", "#", choice) == pattern]
    if alike or len(known) <= 20:
        return api.did_you_mean(word, alike or known)
    said = api.did_you_mean(word, known)
    return said if len(said) < 500 else f"There are {len(known)}, such as {', '.join(known[:5])}."
