"""OpenAI's GPT-2 SAEs: one ``{layer}.pt`` with the state dict of ``sparse_autoencoder.Autoencoder``.

Everything but the weights, the activation and its k stands in the path:
``gpt2-small/{location}[_v4|_v5_32k|_v5_128k]/autoencoders/{layer}.pt``. Source:
github.com/openai/sparse_autoencoder, ``model.py`` and ``paths.py``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.adapters._names import match_in_folders
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._unsaid import DATASET

if TYPE_CHECKING:
    from torch import Tensor

MARKS = {"pre_bias", "latent_bias", "encoder.weight"}
ENCODER, DECODER, TIED_DECODER = "encoder.weight", "decoder.weight", "decoder.linear.weight"
IDLE = ("latents_activation_frequency", "latents_mean_square", "stats_last_nonzero", "activation.k")
"""Tensors that change no code: statistics of training, and a copy of what activation_state_dict says."""

ACTIVATIONS = {"ReLU": "standard", "TopK": "topk", "Identity": "identity"}
"""The architecture by the activation's class."""
AFTER_TOPK = {"ReLU": True, "Identity": False}
HOOKS = {
    "resid_post_mlp": "hook_resid_post",
    "resid_delta_mlp": "hook_mlp_out",
    "resid_post_attn": "hook_resid_mid",
    "resid_delta_attn": "hook_attn_out",
    "mlp_post_act": "mlp.hook_post",
}
LOCATION = re.compile(f"({'|'.join(HOOKS)})(?:_v[a-z0-9_]+)?")
LAYER = re.compile(r"(\d{1,3})\.pt")
MODEL = "gpt2"


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A state dict with both of this format's biases."""
    found = ours(view, lambda name: _recognised(view, name))
    if not found:
        return none_found(view, f"has the tensors {', '.join(sorted(MARKS))}")
    return api.Detection(f"{found[0]} has {', '.join(sorted(MARKS))}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one autoencoder."""
    name = the_one(view, ours(view, lambda name: _recognised(view, name)))
    weights = view.weights(name)
    state = api.Fields(view.pickled(name), str(view.file(name)))
    kind = state.choice("activation", ACTIVATIONS, default="ReLU")
    pre_bias, latent_bias = weights.take("pre_bias", None), weights.take("latent_bias", None)
    d_in, d_sae = pre_bias.shape[0], latent_bias.shape[0]
    hook, about_hook = _hook(view, name)
    sae = api.CanonicalSAE(
        W_enc=weights.take(ENCODER, d_sae, d_in).T,
        W_dec=_decoder(weights, d_in, d_sae),
        b_enc=latent_bias,
        b_dec=pre_bias,
        subtract=pre_bias,
        activation=_activation(state, kind, d_sae),
        normalisation=api.Normalisation(kind="layer_norm" if kind == "TopK" else "none"),
        hook_in=hook,
        metadata=api.SAEMetadata(
            format="openai",
            architecture=ACTIVATIONS[kind],
            model=MODEL if hook else None,
            dtype=str(weights[ENCODER].dtype).removeprefix("torch."),
            processing="raw",
        ),
        assumptions=(about_hook, *_unsaid(state, kind, published=hook is not None)),
    )
    weights.nothing_else(*IDLE)
    return sae


def _recognised(view: api.FileView, name: str) -> bool:
    return set(view.saved_header(name) or {}) >= MARKS


def _decoder(weights: api.Weights, d_in: int, d_sae: int) -> Tensor:
    """W_dec [d_sae, d_in]; a tied decoder is saved as the encoder's matrix under a name of its own."""
    if DECODER not in weights and TIED_DECODER in weights:
        return weights.take(TIED_DECODER, d_sae, d_in)
    if DECODER not in weights:
        message = (
            f"{weights.where}: has no decoder; expected a tensor {DECODER!r} of shape [{d_in}, {d_sae}] or, "
            f"where it is tied, {TIED_DECODER!r} of shape [{d_sae}, {d_in}]."
        )
        raise api.SAEFileError(message)
    return weights.take(DECODER, d_in, d_sae).T


def _activation(state: api.Fields, kind: str, d_sae: int) -> api.Activation:
    """The activation by its class name; k stands in the state that it saved."""
    if kind == "ReLU":
        return api.Relu()
    if kind == "Identity":
        return api.TopK(d_sae, relu=False)
    saved = state.inside("activation_state_dict")
    k, after = saved.size("k"), saved.text("postact_fn")
    if after not in AFTER_TOPK:
        found = "missing" if after is None else f"{after[:80]!r}, which is not supported"
        message = f"{saved.where}: field 'postact_fn' is {found}; expected {' or '.join(AFTER_TOPK)}."
        raise api.SAEFileError(message)
    return api.TopK(k, relu=AFTER_TOPK[after])


def _hook(view: api.FileView, name: str) -> tuple[str | None, api.Assumption]:
    """The hook point, from the location two folders up and the layer in the file's name."""
    layer = LAYER.fullmatch(name)
    location = match_in_folders(view, LOCATION)
    if layer is None or location is None:
        sentence = (
            "hook point not recorded, and the path is not LOCATION/autoencoders/LAYER.pt as published "
            f"(LOCATION begins with {', '.join(HOOKS)}); none taken."
        )
        return None, api.Assumption(sentence, about="hook")
    hook = f"blocks.{int(layer[1])}.{HOOKS[location[1]]}"
    sentence = f"hook point not recorded; took {hook} from the path ({location[0]}, {name})."
    return hook, api.Assumption(sentence, about="hook")


def _unsaid(state: api.Fields, kind: str, *, published: bool) -> list[api.Assumption]:
    taken = f"took {MODEL}, the model of all SAEs published at such a path" if published else "none taken"
    said = [
        api.Assumption(f"model not recorded; {taken}.", about="model"),
        api.Assumption(
            "weight processing of the model not recorded; taken as raw: trained on activations of the "
            "weights as published, not of weights centred by TransformerLens (center_writing_weights=False).",
            about="processing",
        ),
        api.Assumption("context length not recorded.", about="context_length"),
        api.Assumption("BOS policy not recorded.", about="bos"),
        DATASET,
    ]
    if kind == "TopK":
        said.append(
            api.Assumption("layer norm of the input not recorded; the library applies it to every TopK SAE.")
        )
    if "activation" not in state:
        said.append(api.Assumption("activation not recorded; the library then takes ReLU."))
    return said


ADAPTER = api.SAEAdapter(
    "openai",
    "OpenAI sparse_autoencoder, GPT-2 small ({layer}.pt)",
    "darkmatter_plugins.adapters.openai:load",
    filenames=("*.pt",),
    detect=detect,
    formats=frozenset({"pt"}),
    layouts=(
        api.Layout(
            "OpenAI sparse_autoencoder",
            files=("<location>/autoencoders/<layer>.pt",),
            architectures=tuple(ACTIVATIONS.values()),
            known_from="openai/sparse_autoencoder at 4965b94, which wrote and evaluated the samples",
            traps=(
                "The input is layer-normalised if and only if the activation is TopK; no key says so.",
                "The norm divides by the unbiased deviation plus 1e-5; decoding multiplies without the 1e-5.",
                "The library reads an activation that it does not know as ReLU; here it is refused.",
                "Saving under newer torch adds activation.k, which the library rejects and we ignore.",
                "A tied decoder is saved as decoder.linear.weight, which the library's own reader rejects.",
                "The location resid_delta_mlp is hook_mlp_out, resid_post_attn is hook_resid_mid.",
                "The activations are those of weights that TransformerLens has not centred.",
            ),
            samples=("openai/*",),
        ),
    ),
)
