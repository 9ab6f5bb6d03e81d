"""Llamascopium (OpenMOSS Language-Model-SAEs since mid-2025): ``config.json``, ``sae_weights.safetensors``.

With s = sqrt(d_model) / (average norm at the hook point) and n the norm of a latent's decoder row:

    h = (s_in x) W_E + b_E  (times sigmoid((s_in x) W_E_glu + b_E_glu) with use_glu_encoder)
    f = h where the activation, looking at h n, is not 0;  x̂ = (f W_D + b_D) / s_out
"""

from __future__ import annotations

from darkmatter import api
from darkmatter_plugins.adapters._openmoss import (
    DEFAULTS,
    NORMS_AT,
    architecture,
    asked_for,
    average_norm,
    completed,
    decoder_norms,
    hook_point,
    positive,
    scales,
)
from darkmatter_plugins.adapters._unasked import refuse_unasked
from darkmatter_plugins.adapters._unsaid import DATASET

CONFIG, MODEL, WEIGHTS = "config.json", "lm_config.json", "sae_weights.safetensors"
THRESHOLD = "activation_function.log_jumprelu_threshold"
TYPES = {"sae": "an SAE or a transcoder at one hook point"}
ACTIVATIONS = {
    "relu": "all positive",
    "jumprelu": "a threshold each",
    "topk": "the k largest",
    "batchtopk": "the k largest of each row",
}
FOLDED = api.Assumption(
    "norm_activation is dataset-wise, which the library's training also writes where it then folds the "
    "scale into the weights; taken as not folded.",
    about="norm_factor",
    to_be_sure="reconstructions of real activations; where they are off by the scale, it was folded: "
    "--override norm_factor=1",
)


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A configuration with a sae_type, beside weights that are not nn.Linear's (those are older)."""
    if not (view.has(CONFIG) and view.has(WEIGHTS)):
        return api.Refusal(f"there is no {CONFIG} beside {WEIGHTS}")
    cfg = view.json(CONFIG)
    missing = [name for name in ("sae_type", "d_model", "expansion_factor") if name not in cfg]
    if missing:
        return api.Refusal(f"{CONFIG} has no {' and no '.join(missing)}")
    if "encoder.weight" in (view.header(WEIGHTS) or {}):
        return api.Refusal(f"{WEIGHTS} has encoder.weight; since mid-2025 the library writes W_E")
    return api.Detection(f"{CONFIG} has sae_type, d_model and expansion_factor")


def load(view: api.FileView, options: api.LoadOptions) -> api.SAE:
    """Read one SAE or transcoder."""
    recorded = api.Fields(view.json(CONFIG), str(view.file(CONFIG)))
    cfg, taken = completed(recorded, DEFAULTS | {"use_glu_encoder": False})
    cfg.choice("sae_type", TYPES, default="sae")
    weights = view.weights(WEIGHTS)
    d_in = cfg.size("d_model")
    d_sae = int(d_in * positive(cfg.number("expansion_factor"), cfg.where, "field 'expansion_factor'"))
    W_dec = weights.take("W_D", d_sae, d_in)
    hooks = {side: hook_point(cfg, f"hook_point_{side}") for side in ("in", "out")}

    def average(side: str) -> float:
        return average_norm(weights, cfg, hooks[side])

    transcoder = hooks["in"] != hooks["out"]
    scale = scales(cfg, options, average, transcoder=transcoder)
    b_dec = None
    if cfg.flag("use_decoder_bias", default=True):
        asked_for(weights, "b_D", cfg, "use_decoder_bias")
        b_dec = weights.take("b_D", d_in) / scale.decoder
    folded = [FOLDED] if scale.normalisation.kind == "scale" else []
    assumptions: list[api.Assumption] = [*taken, *scale.said, *folded]
    sae = api.CanonicalSAE(
        W_enc=weights.take("W_E", d_in, d_sae),
        W_dec=W_dec / scale.decoder,
        b_enc=weights.take("b_E", d_sae),
        b_dec=b_dec,
        activation=_activation(cfg, weights, d_sae, assumptions),
        normalisation=scale.normalisation,
        gate_scale=decoder_norms(cfg, W_dec),
        hook_in=hooks["in"],
        hook_out=hooks["out"],
        metadata=_metadata(view, recorded, weights, assumptions, transcoder=transcoder),
        assumptions=tuple(assumptions),
    )
    gate = None
    if cfg.flag("use_glu_encoder", default=False):
        gate = weights.take("W_E_glu", d_in, d_sae), weights.take("b_E_glu", d_sae)
    else:
        refuse_unasked(weights, "W_E_glu", cfg, "use_glu_encoder", "false")
    weights.nothing_else(NORMS_AT.format("*"))
    if gate is None:
        return sae
    from darkmatter_plugins.adapters._glu import GluSAE

    return GluSAE(sae, *gate)


def _activation(
    cfg: api.Fields, weights: api.Weights, d_sae: int, assumptions: list[api.Assumption]
) -> api.Activation:
    kind = cfg.choice("act_fn", ACTIVATIONS, default="relu")
    if kind != "jumprelu":
        refuse_unasked(weights, THRESHOLD, cfg, "act_fn", kind)
    if kind == "relu":
        return api.Relu()
    if kind == "jumprelu":
        return api.JumpRelu(weights.take(THRESHOLD, d_sae).exp())
    k = cfg.size("top_k")
    if kind == "batchtopk":
        assumptions.append(
            api.Assumption(
                f"act_fn is batchtopk and the files hold no threshold: of a batch the library keeps {k} "
                f"codes per row on average; taken as the {k} largest of each row, as it encodes a single "
                f"row.",
                to_be_sure="the library's own encode on the batches of training",
            )
        )
    return api.TopK(k)


def _metadata(
    view: api.FileView,
    recorded: api.Fields,
    weights: api.Weights,
    assumptions: list[api.Assumption],
    *,
    transcoder: bool,
) -> api.SAEMetadata:
    """What the configurations of the SAE and, where it is there, of the language model say."""
    found = view.json(MODEL) if view.has(MODEL) else {}
    about = api.Fields(found, str(view.file(MODEL)))
    model = about.text("model_name")
    bos = about.flag("prepend_bos", default=True) if "prepend_bos" in about else None
    if model is None:
        assumptions.append(api.Assumption(f"model not recorded (no {MODEL}).", about="model"))
    if bos is None:
        assumptions.append(api.Assumption(f"BOS policy not recorded (no {MODEL}).", about="bos"))
    assumptions += [api.Assumption("context length not recorded.", about="context_length"), DATASET]
    return api.SAEMetadata(
        format="llamascopium",
        architecture=architecture(recorded.text("act_fn") or DEFAULTS["act_fn"], transcoder=transcoder),
        model=model,
        prepend_bos=bos,
        dtype=str(weights["W_E"].dtype).removeprefix("torch."),
        extra=recorded.some("top_k", "norm_activation", "sparsity_include_decoder_norm", "use_glu_encoder"),
    )


ADAPTER = api.SAEAdapter(
    "llamascopium",
    "Llamascopium, OpenMOSS Language-Model-SAEs (config.json, sae_weights.safetensors with W_E)",
    "darkmatter_plugins.adapters.llamascopium:load",
    filenames=(WEIGHTS,),
    detect=detect,
    follows=frozenset({"norm_factor"}),
    layouts=(
        api.Layout(
            "Llamascopium (OpenMOSS Language-Model-SAEs)",
            (f"<name>/{CONFIG}", f"<name>/{WEIGHTS}", f"<name>/{MODEL} (optional)"),
            tuple(architecture(kind, transcoder=both) for both in (False, True) for kind in ACTIVATIONS),
            known_from="llamascopium 2.0.0b34 (PyPI) writes and evaluates the samples; no published file "
            "could be had",
            traps=(
                "The decoder's bias is not subtracted from the input.",
                (
                    "With sparsity_include_decoder_norm the activation looks at h times the norm of the "
                    "decoder row, and the code is h itself."
                ),
                (
                    "encode() of the library does not scale its input: dataset-wise and token-wise scales "
                    "are applied by whoever calls it, and are part of the SAE all the same."
                ),
                (
                    "dataset_average_activation_norm.<hook point> is a random number from unset memory "
                    "where no norm was measured: only dataset-wise SAEs have one."
                ),
                (
                    "Folding the scales (norm_activation inference) leaves the thresholds of a JumpReLU as "
                    "they are, so a folded SAE has other active latents than the one it came from."
                ),
                (
                    "The library's training writes config.json first and by default folds the scales into "
                    "the weights at the end: its own folder says dataset-wise of folded weights, and loaded "
                    "by the library they are scaled twice. The files do not tell; upload_to_hf writes "
                    "config.json last."
                ),
                "batchtopk has no threshold: its codes depend on the batch.",
                "crosscoder, clt, lorsa and molt share the file names; they are refused by name.",
            ),
            samples=("llamascopium/*",),
        ),
    ),
)
