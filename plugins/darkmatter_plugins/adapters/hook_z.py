"""Attention-output SAEs of Kissane, Krzyzanowski and others: ``x.pt`` and ``x_cfg.json``.

The layout is that of Neel Nanda's 1L-Sparse-Autoencoder, which the attention SAEs grew from: a
state dict, and the training script's settings beside it. The SAEs read attention's z with all heads
side by side; how many there are is in no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darkmatter import api
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._unsaid import DATASET

TENSORS = {"W_enc", "W_dec", "b_enc", "b_dec"}
SETTINGS = ("act_name", "act_size", "dict_size", "dict_mult")
KINDS = {"vanilla", "standard", "relu"}
"""What later scripts of the same layout call this architecture in ``sae_type``; theirs have others too."""
EXTRA = ("layer", "site", "l1_coeff", "dict_mult", "seed", "name")


def _settings(name: str) -> str:
    """The name of the settings beside a file of weights."""
    return name.removesuffix(".pt") + "_cfg.json"


def _weights(view: api.FileView) -> list[str]:
    return ours(view, lambda name: (view.saved_header(name) or {}).keys() >= TENSORS)


def _names(view: api.FileView) -> list[str]:
    return [name for name in _weights(view) if view.has(_settings(name))]


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """Weights with the script's settings beside them."""
    weights, names = _weights(view), _names(view)
    if weights and not names:
        return api.Refusal(
            f"{weights[0]} has the tensors of an SAE, but no {_settings(weights[0])} beside it"
        )
    if not names:
        return none_found(view, f"has the tensors {', '.join(sorted(TENSORS))}")
    beside = _settings(names[0])
    cfg = view.json(beside, allow_nan=True)
    known = [key for key in SETTINGS if key in cfg]
    if not known:
        return api.Refusal(f"{view.file(beside)} has none of {', '.join(SETTINGS)}")
    other = _other_form(cfg)
    if other is not None:
        return api.Refusal(f"{view.file(beside)} has {other}")
    found = f"{names[0]} has the tensors of an SAE, {beside} has {', '.join(known)}"
    if "sae_type" in cfg or str(cfg.get("act_name")).endswith("hook_z"):
        return api.Detection(found)
    return api.Detection(f"{found}, but neither a sae_type nor an act_name ...hook_z", confidence="likely")


def _other_form(cfg: Mapping[str, Any]) -> str | None:
    """The setting that says that codes are not relu((x - b_dec) W_enc + b_enc); None if none does."""
    kind = cfg.get("sae_type")
    if kind is not None and kind not in KINDS:
        return f"sae_type {str(kind)[:80]!r}; expected none, or one of {', '.join(sorted(KINDS))}"
    return "input_unit_norm true; expected false" if cfg.get("input_unit_norm") else None


def load(view: api.FileView, _options: object) -> api.SAE:
    """Codes f = relu((x - b_dec) W_enc + b_enc), x̂ = f W_dec + b_dec."""
    name = the_one(view, _names(view))
    beside = _settings(name)
    cfg = api.Fields(view.json(beside, allow_nan=True), str(view.file(beside)))
    other = _other_form(cfg.values)
    if other is not None:
        message = f"{cfg.where}: has {other}."
        raise api.SAEFileError(message)
    weights = view.weights(name)
    d_in = cfg.size("act_size", weights.take("b_dec", None).shape[0])
    d_sae = cfg.size("dict_size", weights.take("b_enc", None).shape[0])
    b_dec = weights.take("b_dec", d_in)
    hook = cfg.text("act_name")
    sae = api.CanonicalSAE(
        W_enc=weights.take("W_enc", d_in, d_sae),
        W_dec=weights.take("W_dec", d_sae, d_in),
        b_enc=weights.take("b_enc", d_sae),
        b_dec=b_dec,
        activation=api.Relu(),
        subtract=b_dec,
        hook_in=hook,
        metadata=api.SAEMetadata(
            format="hook_z",
            architecture="standard",
            model=cfg.text("model_name"),
            context_length=cfg.integer("seq_len") or 128,
            dtype=str(weights["W_enc"].dtype).removeprefix("torch."),
            extra=cfg.some(*EXTRA),
        ),
        assumptions=_unsaid(cfg),
    )
    weights.nothing_else()
    return sae


def _unsaid(cfg: api.Fields) -> tuple[api.Assumption, ...]:
    found = {
        "act_name": ("hook point not recorded; none taken.", "hook"),
        "model_name": ("model not recorded.", "model"),
        "seq_len": ("context length not recorded; taken as 128, the script's default.", "context_length"),
    }
    missing = [api.Assumption(sentence, about) for key, (sentence, about) in found.items() if key not in cfg]
    bos = "BOS policy not recorded; the script put a BOS at the start of each context."
    if "sae_type" not in cfg:
        sentence = "sae_type not recorded; taken as relu((x - b_dec) W_enc + b_enc), the script's only form."
        missing.append(api.Assumption(sentence, to_be_sure="the script that trained it"))
    return (*missing, api.Assumption(bos, about="bos"), DATASET)


ADAPTER = api.SAEAdapter(
    "hook_z",
    "attention-output SAEs of Kissane and others (x.pt, x_cfg.json)",
    "darkmatter_plugins.adapters.hook_z:load",
    filenames=("*.pt",),
    detect=detect,
    formats=frozenset({"pt"}),
    layouts=(
        api.Layout(
            name="Attention-output SAEs (ckkissane)",
            files=("<name>.pt", "<name>_cfg.json"),
            architectures=("standard",),
            known_from="SAELens 6.54's reader and the layout's public script",
            traps=(
                (
                    "Rows are all heads of attn.hook_z side by side; the number of heads is in no file, so "
                    "[..., heads, d_head] is accepted for every split of d_in."
                ),
                "The model is in the settings; SAELens takes gpt2-small whatever they say.",
            ),
            samples=("hook_z_attention/*",),
        ),
    ),
)
