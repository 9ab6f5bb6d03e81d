"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, versions 6 and before.

Covers inference saves and training checkpoints; see docs/formats.md for the formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.adapters import _saelens_special as special
from darkmatter_plugins.adapters._saelens_config import (
    ARCHITECTURES,
    CONFIG,
    NORMALISATIONS,
    WEIGHTS,
    assumptions_of,
    defaults_of,
    metadata_of,
    normalisation,
    normalisation_name,
)

if TYPE_CHECKING:
    from torch import Tensor

WHITENING = "activation_whitening.safetensors"
TELLING = ("architecture", "metadata", "hook_name", "hook_point", "activation_fn_str")
"""Fields by which a configuration is known as SAELens's."""

STANDARD = {"W_enc", "W_dec", "b_enc", "b_dec"}
"""Tensors of the architecture that an SAE has where none is recorded."""

OLD_ACTIVATIONS = {"relu": "max(h, 0)", "tanh-relu": "tanh(max(h, 0))", "topk": "the k largest"}
FACTORS = ("finetuning_scaling_factor", "scaling_factor")


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A configuration beside the weights that names an architecture or a hook."""
    if not view.has(CONFIG):
        return api.Refusal(f"there is no {CONFIG} beside {WEIGHTS}")
    cfg = view.json(CONFIG, allow_nan=True)
    known = [key for key in TELLING if key in cfg]
    if "d_in" not in cfg or not known:
        return api.Refusal(f"{CONFIG} has no d_in, or none of {', '.join(TELLING)}")
    return api.Detection(f"{CONFIG} has d_in and {', '.join(known)}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE or transcoder."""
    cfg = api.Fields(view.json(CONFIG, allow_nan=True), str(view.file(CONFIG)))
    about = cfg.inside("metadata") if "metadata" in cfg else cfg
    architecture = _architecture(view, cfg)
    if architecture == "matching_pursuit":
        return special.matching_pursuit(view, cfg, about)
    if architecture == "temporal":
        return special.temporal(view, cfg, about)
    transcoder = architecture.endswith("transcoder")
    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    d_out = cfg.size("d_out") if transcoder else d_in
    weights = view.weights(WEIGHTS)
    W_enc, W_dec = weights.take("W_enc", d_in, d_sae), weights.take("W_dec", d_sae, d_out)
    scale = W_dec.norm(dim=1) if _rescaled(cfg, architecture) else None
    b_dec = weights.take("b_dec", d_out)
    subtract = b_dec if not transcoder and cfg.flag("apply_b_dec_to_input", default=True) else None
    kind = NORMALISATIONS[normalisation_name(cfg)]
    if kind == "whitening":
        if transcoder:
            message = f"{cfg.where}: covariance_whitening is not supported for transcoders."
            raise api.SAEFileError(message)
        W_enc, W_dec, b_dec, subtract = _unwhitened(view, W_enc, W_dec, b_dec, subtract)
    hook = about.text("hook_name", "hook_point")
    hook_out = about.text("hook_name_out") if transcoder else hook
    assumptions = [
        *assumptions_of(cfg, about, hook),
        *defaults_of(cfg, architecture),
        *_old_defaults(cfg, weights),
    ]
    if hook_out is None and hook is not None:
        taken = "hook_name_out not recorded; taken as the hook point that is read."
        assumptions.append(api.Assumption(taken, about="hook_out"))
    sae = api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=_scaled_decoder(cfg, weights, W_dec),
        b_enc=None if architecture == "gated" else weights.take("b_enc", d_sae),
        b_dec=b_dec,
        activation=_activation(cfg, weights, ARCHITECTURES[architecture], d_sae),
        subtract=subtract,
        normalisation=normalisation(view, kind, assumptions, invert=not transcoder),
        code_scale=scale,
        W_skip=weights.take("W_skip", d_out, d_in).T if "skip" in architecture else None,
        hook_in=hook,
        hook_out=hook_out,
        metadata=metadata_of(cfg, about, architecture),
        assumptions=tuple(assumptions),
    )
    weights.nothing_else()
    return sae


def _architecture(view: api.FileView, cfg: api.Fields) -> str:
    """The architecture; before version 6 the activation function could overrule it."""
    named = cfg.text("activation_fn_str", "activation_fn")
    if _old_activation(cfg) == "topk":
        return "topk"
    if named is None and "k" in cfg.inside("activation_fn_kwargs"):
        message = f"{cfg.where}: field 'activation_fn_str' (or 'activation_fn') is missing; expected 'topk', "
        raise api.SAEFileError(message + "since activation_fn_kwargs has k.")
    if "architecture" not in cfg and ("d_out" in cfg or _tensors(view) != STANDARD):
        message = (
            f"{cfg.where}: field 'architecture' is missing; expected one of {', '.join(ARCHITECTURES)}. "
            f"Without it an SAE is standard, with {', '.join(sorted(STANDARD))}; "
            f"{view.file(WEIGHTS)} has {', '.join(sorted(_tensors(view)))[:200]}."
        )
        raise api.SAEFileError(message)
    return cfg.choice("architecture", ARCHITECTURES, default="standard")


def _old_activation(cfg: api.Fields) -> str:
    """The activation function that versions before 6 named beside the architecture."""
    name = "activation_fn_str" if "activation_fn_str" in cfg else "activation_fn"
    found = cfg.choice(name, OLD_ACTIVATIONS, default="relu")
    architecture = cfg.text("architecture") or "standard"
    if found == "tanh-relu" and architecture != "standard":
        message = f"{cfg.where}: field {name!r} is 'tanh-relu' with the architecture {architecture!r}; "
        raise api.SAEFileError(message + "expected it with 'standard' alone.")
    return found


def _old_defaults(cfg: api.Fields, weights: api.Weights) -> list[api.Assumption]:
    """What versions before 6 recorded, where it is not there: what the library then takes."""
    found = []
    recorded = "metadata" in cfg or "activation_fn_str" in cfg or "activation_fn" in cfg
    if not recorded and (cfg.text("architecture") or "standard") == "standard":
        taken = "activation_fn_str (activation_fn before version 3) not recorded; taken as relu."
        found.append(api.Assumption(taken))
    if "hook_point" in cfg and "scaling_factor" not in weights:
        found.append(api.Assumption("scaling_factor not recorded; taken as 1, as before version 0.4."))
    return found


def _tensors(view: api.FileView) -> set[str]:
    """The names in the weights' file, but for the scale that any architecture could have."""
    return set(view.header(WEIGHTS) or ()) - {"scaling_factor"}


def _activation(cfg: api.Fields, weights: api.Weights, kind: str, d_sae: int) -> api.Activation:
    if kind == "gated":
        gate, growth, bias = (weights.take(name, d_sae) for name in ("b_gate", "r_mag", "b_mag"))
        return api.Gated(b_gate=gate, r_mag=growth, b_mag=bias)
    if kind in {"topk", "abstopk"}:
        k = cfg.size("k") if "k" in cfg else cfg.inside("activation_fn_kwargs").size("k")
        return api.TopK(k) if kind == "topk" else api.AbsTopK(k)
    if kind == "jumprelu":
        return api.JumpRelu(weights.take("threshold", d_sae, infinite=True))
    if kind == "topk_threshold":
        return api.JumpRelu(weights.take("topk_threshold"))
    return api.TanhRelu() if _old_activation(cfg) == "tanh-relu" else api.Relu()


def _rescaled(cfg: api.Fields, architecture: str) -> bool:
    """Whether codes are multiplied by the norms of their decoder rows (before any selection)."""
    if ARCHITECTURES[architecture] not in {"topk", "abstopk", "topk_threshold"}:
        return False
    # The defaults of SAELens's classes differ: only batchtopk rescales unless told not to.
    default = ARCHITECTURES[architecture] == "topk_threshold"
    return cfg.flag("rescale_acts_by_decoder_norm", default=default)


def _scaled_decoder(cfg: api.Fields, weights: api.Weights, W_dec: Tensor) -> Tensor:
    """The decoder of a finetuned SAE, whose codes were multiplied by a factor before it.

    Versions 0.4 to 2 wrote ``scaling_factor`` and always used it; versions 3 to 5 wrote
    ``finetuning_scaling_factor`` and used it where the configuration says so.
    """
    name = next((name for name in FACTORS if name in weights), None)
    if name is None and cfg.flag("finetuning_scaling_factor", default=False):
        name = "finetuning_scaling_factor"
    factor = weights.take(name, W_dec.shape[0]) if name is not None else None
    if factor is None or bool((factor == 1).all()):
        return W_dec
    if not cfg.flag("finetuning_scaling_factor", default=name == "scaling_factor"):
        message = (
            f"{weights.where}: tensor {name!r} is not all ones, but {cfg.where} does not say "
            "finetuning_scaling_factor: true; expected one or the other."
        )
        raise api.SAEFileError(message)
    return W_dec * factor[:, None]


def _unwhitened(
    view: api.FileView, W_enc: Tensor, W_dec: Tensor, b_dec: Tensor, subtract: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights that read x, from weights that read (x - mean) @ matrix: both maps are affine.

    They are float64, twice the memory: rounded, they would encode like float32 whatever is asked for.
    """
    if not view.has(WHITENING):
        message = (
            f"{view}: {CONFIG} has normalize_activations covariance_whitening, but {WHITENING} is not beside "
            "it; without its matrices the SAE cannot be evaluated."
        )
        raise api.SAEFileError(message)
    d_in, d_out = W_enc.shape[0], W_dec.shape[1]
    whitening = view.weights(WHITENING)
    mean = whitening.take("mean", d_in).double()
    matrix = whitening.take("matrix", d_in, d_in).double()
    inverse = whitening.take("inverse_matrix", d_out, d_out).double()
    whitening.nothing_else()
    out = b_dec.double() @ inverse + mean
    return matrix @ W_enc.double(), W_dec.double() @ inverse, out, mean if subtract is None else out


ADAPTER = api.SAEAdapter(
    "saelens",
    "SAELens SAEs and transcoders (cfg.json, sae_weights.safetensors)",
    "darkmatter_plugins.adapters.saelens:load",
    filenames=(WEIGHTS,),
    detect=detect,
    companions=(WHITENING,),
    layouts=(
        api.Layout(
            name="SAELens 6",
            files=("cfg.json", "sae_weights.safetensors", "activation_scaler.json of a checkpoint"),
            architectures=tuple(name for name in ARCHITECTURES if name != "temporal"),
            known_from="SAELens 6.51 and 6.54, which wrote and evaluated the samples",
            traps=(
                "The skip connection is added in forward only, so decode(encode(x)) lacks it.",
                (
                    "layer_norm divides by the unbiased deviation plus 1e-5, and the output by the deviation "
                    "alone."
                ),
                "abstopk keeps the sign of its codes.",
                (
                    "A training checkpoint of batchtopk holds one topk_threshold for codes multiplied by "
                    "decoder norms; SAELens cannot load it as an SAE."
                ),
                "A checkpoint's scale, or covariance_whitening's matrices, lie in a file of their own.",
                (
                    "expected_average_only_in names a scale that is in no file of a finished run; "
                    "load_from_disk applies none, --override norm_factor=NUMBER does."
                ),
            ),
            samples=("sae_lens/[!lt]*", "sae_lens/t[!e]*", "sae_lens_6_54/[!l]*"),
        ),
        api.Layout(
            name="SAELens 6, temporal",
            files=("cfg.json", "sae_weights.safetensors"),
            architectures=("temporal",),
            known_from="SAELens 6.51, which wrote and evaluated the samples",
            traps=(
                "b_dec stays in the decoder of an untied SAE even where apply_b_dec_to_input is false.",
                "Without kval_topk every positive code is kept, though sae_diff_type says topk.",
            ),
            samples=("sae_lens/temporal*",),
        ),
        api.Layout(
            name="SAELens before 6",
            files=("cfg.json without metadata", "sae_weights.safetensors"),
            architectures=("standard", "topk", "jumprelu", "gated"),
            known_from="sae-lens 2.1, 3.22 and 5.11, which wrote and evaluated the samples; others by hand",
            traps=(
                "activation_fn_str topk means top-k even where architecture says standard.",
                "activation_fn_str tanh-relu means tanh(relu(h)); SAELens 6 reads it as relu without a word.",
                (
                    "Versions to 2 always multiply codes by scaling_factor; SAELens 6 cannot load one that "
                    "is not all ones."
                ),
                (
                    "Versions 3 to 5 call it finetuning_scaling_factor; neither they nor SAELens 6 can "
                    "load it again."
                ),
                "normalize_activations may be a bool: true means expected_average_only_in.",
            ),
            samples=("sae_lens_legacy/*", "sae_lens/legacy_*", "sae_lens_6_54/legacy_*"),
        ),
    ),
)
