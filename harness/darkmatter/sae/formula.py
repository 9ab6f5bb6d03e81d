"""What an SAE computes, as one line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darkmatter.sae.activation import Activation
    from darkmatter.sae.base import SAE


def formula(sae: SAE) -> str:
    """What an SAE computes: steps from x to x̂, with "; " between them.

    Tensors are called as in ``CanonicalSAE``; an SAE without a canonical form says its own ``formula``, or
    is a pair of functions.
    """
    from darkmatter.sae.canonical import CanonicalSAE
    from darkmatter.sae.encode_only import EncodeOnlySAE

    if isinstance(sae, EncodeOnlySAE):
        h = "x W_enc" + ("" if sae.b_enc is None else " + b_enc")
        return f"h = {h}; f = {_activation(sae.activation, 'h')}"
    if not isinstance(sae, CanonicalSAE):
        return str(getattr(sae, "formula", "f = encode(x); x̂ = decode(f)"))
    normalisation = sae.normalisation
    x = normalisation.said() + ("" if sae.subtract is None else " - subtract")
    h = "x' W_enc" + ("" if sae.b_enc is None else " + b_enc")
    y = "f W_dec" if sae.code_scale is None else "(f / code_scale) W_dec"
    y += "" if sae.b_dec is None else " + b_dec"
    y = normalisation.said_undone(y)
    steps = [
        f"x' = {x}",
        f"h = {h}" if sae.code_scale is None else f"h = ({h}) · code_scale",
        f"f = {_activation(sae.activation, 'h' if sae.gate_scale is None else 'h · gate_scale')}",
        f"x̂ = {y}" + ("" if sae.W_skip is None else " + x W_skip"),
    ]
    return "; ".join(steps)


def _activation(activation: Activation, key: str) -> str:
    """Codes as a function of h; ``key`` is what is compared: h, or h times the gate's scale."""
    settings = activation.settings()
    name, k, gated = settings["name"], settings.get("k"), key != "h"
    positive = " and positive" if settings.get("relu") else ""
    if gated:
        texts = {
            "Relu": f"h · [{key} > 0]",
            "TanhRelu": f"tanh(h) · [{key} > 0]",
            "TopK": f"h where {key} is among the {k} largest{positive}",
            "AbsTopK": f"h where |{key}| is among the {k} largest",
            "GroupMax": f"h where {key} is the largest of its group, of {k}, and positive",
            "Gated": f"[{key} > max(-b_gate, -b_mag · exp(-r_mag))] · (h · exp(r_mag) + b_mag)",
        }
    else:
        texts = {
            "Relu": "relu(h)",
            "TanhRelu": "tanh(relu(h))",
            "TopK": f"the {k} largest of " + ("relu(h)" if positive else "h"),
            "AbsTopK": f"the {k} entries of h with the largest |h|",
            "GroupMax": f"the largest of relu(h) in each of {k} groups",
            "Gated": "[h + b_gate > 0] · relu(h · exp(r_mag) + b_mag)",
        }
    texts["JumpRelu"] = f"relu(h) · [{key} > threshold]"
    texts["Threshold"] = f"h · [{key} > threshold]"
    return texts.get(name, f"{name}({key})")
