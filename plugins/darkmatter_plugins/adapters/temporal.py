"""Temporal SAEs in the layout of canrager/temporalSAEs: ``conf.yaml`` and ``latest_ckpt.safetensors``."""

from __future__ import annotations

import re

from darkmatter import api
from darkmatter_plugins.adapters._names import match_in_folders
from darkmatter_plugins.adapters._unsaid import DATASET

CONFIG, WEIGHTS = "conf.yaml", "latest_ckpt.safetensors"
LAYER = re.compile(r"layer_(\d+)")
REQUIRED = {
    "n_heads": "a positive integer",
    "n_attn_layers": "a positive integer",
    "bottleneck_factor": "a positive integer",
    "sae_diff_type": "topk or relu",
    "tied_weights": "true or false",
}
"""Fields that shape the numbers; this layout has no defaults for them."""


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A decoder D and attention layers beside a configuration."""
    if not view.has(CONFIG):
        return api.Refusal(f"there is no {CONFIG} beside {WEIGHTS}")
    names = set(view.header(WEIGHTS) or {}) if view.has(WEIGHTS) else set()
    if not names >= {"D", "b"} or not any(name.startswith("attn_layers.") for name in names):
        return api.Refusal(f"{WEIGHTS} has no tensors D, b and attn_layers.*")
    return api.Detection(f"{WEIGHTS} has D, b and attn_layers.*")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE; it takes whole sequences only."""
    from darkmatter_plugins.adapters import _temporal as temporal

    whole = api.Fields(view.yaml(CONFIG), str(view.file(CONFIG)))
    cfg, data = whole.inside("sae"), whole.inside("data")
    _check_complete(cfg)
    weights = view.weights(WEIGHTS)
    d_in = whole.inside("llm").size("dimin")
    d_sae = int(d_in * _above_zero(cfg, "exp_factor"))
    heads, layers, bottleneck = temporal.attention_sizes(cfg, d_sae)
    temporal.no_more_layers(weights, layers, cfg.where)
    W_dec = weights.take("D", d_sae, d_in)
    tied = cfg.flag("tied_weights", default=True)
    normalisation = api.Normalisation(kind="scale", factor=_above_zero(cfg, "scaling_factor"))
    hook, assumptions = _hook(view)
    sae = temporal.TemporalSAE(
        W_dec.T if tied else weights.take("E", d_in, d_sae),
        W_dec,
        weights.take("b", d_in),
        temporal.attention_layers(weights, layers, d_sae, bottleneck),
        temporal.Form(
            heads, temporal.chosen_k(cfg, d_sae), subtract=True, add=True, normalisation=normalisation
        ),
        hook=hook,
        metadata=api.SAEMetadata(
            format="temporal",
            architecture="temporal",
            context_length=data.integer("context_length"),
            dtype=data.text("dtype"),
            extra=cfg.some("sae_diff_type", "kval_topk", "tied_weights", "n_heads", "n_attn_layers"),
        ),
        assumptions=assumptions,
    )
    weights.nothing_else()
    return sae


def _check_complete(cfg: api.Fields) -> None:
    """Raise an SAEFileError unless every field that shapes the numbers is there."""
    expected = (
        REQUIRED if cfg.text("sae_diff_type") == "relu" else {**REQUIRED, "kval_topk": "a positive integer"}
    )
    for name, what in expected.items():
        if name not in cfg:
            message = f"{cfg.where}: field {name!r} is missing; expected {what}."
            raise api.SAEFileError(message)


def _above_zero(cfg: api.Fields, name: str) -> float:
    value = cfg.number(name)
    if value is None or value <= 0:
        found = "missing" if value is None else f"{value:g}"
        message = f"{cfg.where}: field {name!r} is {found}; expected a number above 0."
        raise api.SAEFileError(message)
    return value


def _hook(view: api.FileView) -> tuple[str | None, tuple[api.Assumption, ...]]:
    """The layer is in a folder's name only."""
    layer = match_in_folders(view, LAYER)
    hook = None if layer is None else f"blocks.{layer[1]}.hook_resid_post"
    taken = "no folder is named layer_N" if hook is None else f"took {hook} from the folder's name"
    return hook, (
        api.Assumption(f"hook point not recorded; {taken}.", about="hook"),
        api.Assumption("model not recorded.", about="model"),
        api.Assumption("BOS policy not recorded.", about="bos"),
        DATASET,
    )


ADAPTER = api.SAEAdapter(
    "temporal",
    "Temporal SAEs of canrager/temporalSAEs (conf.yaml, latest_ckpt.safetensors)",
    "darkmatter_plugins.adapters.temporal:load",
    filenames=(WEIGHTS,),
    detect=detect,
    layouts=(
        api.Layout(
            "Temporal SAEs (canrager/temporalSAEs)",
            (f"layer_<n>/<name>/{CONFIG}", f"layer_<n>/<name>/{WEIGHTS}"),
            ("temporal",),
            known_from="SAELens 6.54's reader",
            traps=(
                (
                    "It reads whole sequences: what is predicted of a token comes from the tokens before "
                    "it, so it is refused where rows are shuffled, as in a run."
                ),
                (
                    "The codes are the novel ones; their decoding lacks what attention predicts, and forward "
                    "adds it."
                ),
                "Pre-activations are divided by 4 d_in, a number that stands in no file.",
                "E is stored [d_in, d_sae] and is absent where weights are tied.",
            ),
            samples=("temporal/*",),
        ),
    ),
)
