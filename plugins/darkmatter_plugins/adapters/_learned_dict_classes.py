"""What each dictionary class of HoagyC's sparse_coding computes, as matrices.

The classes differ in what they normalise when. Codes are those of ``encode(center(x))``, as the
repository's ``predict`` and its metrics have them. Source: github.com/HoagyC/sparse_coding,
``autoencoders/{learned_dict,topk_encoder,pca,mlp_tests}.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from darkmatter import api

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = (
    *("encoder", "encoder_bias", "decoder", "center_trans", "center_rot", "center_scale"),
    *("dict", "pca_dict", "matrix", "bias"),
)
"""Attributes that hold the classes' tensors."""

WIDEST_IDENTITY = 1 << 14
"""Identities are made here, not read: their size is a number that anybody could write."""


class Parts(NamedTuple):
    """f = activation((x - centre) rows_inᵀ + bias), x̂ = f rows_out + centre; rows are [d_sae, d_in]."""

    rows_in: Tensor
    rows_out: Tensor
    activation: api.Activation
    bias: Tensor | None = None
    centre: Tensor | None = None


def reduce(name: str, state: api.Fields, weights: api.Weights) -> Parts:
    """The parts of an object of the class ``name`` with these attributes."""
    if name in CLASSES:
        return CLASSES[name].parts(state, weights)
    why = f" ({REFUSED[name]})" if name in REFUSED else ""
    message = f"{state.where}: is of the class {name[:80]!r}, which is not supported{why}. "
    raise api.SAEFileError(message + f"Supported: {', '.join(CLASSES)}.")


def _tied(state: api.Fields, weights: api.Weights) -> Parts:
    """encode: rows of unit norm if norm_encoder, else as stored; decode: rows of unit norm always."""
    if "norm_encoder" not in state:
        message = f"{state.where}: field 'norm_encoder' is missing; expected true or false."
        raise api.SAEFileError(message)
    encoder = weights.take("encoder", None, None)
    unit = _unit(encoder)
    rows_in = unit if state.flag("norm_encoder", default=True) else encoder
    bias = weights.take("encoder_bias", encoder.shape[0])
    return _centred(Parts(rows_in, unit, api.Relu(), bias), weights)


def _centred(parts: Parts, weights: api.Weights) -> Parts:
    """Fold x' = (x - t) Rᵀ * s, undone by (x̂' / s) R + t, into the rows; R need not be orthogonal.

    Files from before September 2023 have none of the three.
    """
    d_in = parts.rows_in.shape[1]
    rotation, scale = weights.maybe("center_rot", d_in, d_in), weights.maybe("center_scale", d_in)
    rows_in, rows_out = parts.rows_in.double(), parts.rows_out.double()
    if scale is not None:
        if bool((scale == 0).any()):
            message = f"{weights.where}: tensor 'center_scale' has zeros; decoding divides by it."
            raise api.SAEFileError(message)
        rows_in, rows_out = rows_in * scale, rows_out / scale
    if rotation is not None:
        rows_in, rows_out = rows_in @ rotation.double(), rows_out @ rotation.double()
    dtype = parts.rows_in.dtype
    return parts._replace(
        rows_in=rows_in.to(dtype), rows_out=rows_out.to(dtype), centre=weights.maybe("center_trans", d_in)
    )


def _untied(_state: api.Fields, weights: api.Weights) -> Parts:
    """The decoder is stored with any norms and decodes with unit ones."""
    encoder = weights.take("encoder", None, None)
    decoder = weights.take("decoder", *encoder.shape)
    return Parts(encoder, _unit(decoder), api.Relu(), weights.take("encoder_bias", encoder.shape[0]))


def _untied_positive(_state: api.Fields, weights: api.Weights) -> Parts:
    """The class stores a decoder and decodes with its encoder, at unit norm."""
    encoder = weights.take("encoder", None, None)
    return Parts(encoder, _unit(encoder), api.Relu(), weights.take("encoder_bias", encoder.shape[0]))


def _random(_state: api.Fields, weights: api.Weights) -> Parts:
    encoder = weights.take("encoder", None, None)
    return Parts(encoder, encoder, api.Relu(), weights.take("encoder_bias", encoder.shape[0]))


def _topk(state: api.Fields, weights: api.Weights) -> Parts:
    rows = weights.take("dict", None, None)
    return Parts(rows, rows, api.TopK(state.size("sparsity")))


def _pca(state: api.Fields, weights: api.Weights) -> Parts:
    """The scores of largest magnitude, with their sign."""
    rows = weights.take("pca_dict", None, None)
    return Parts(rows, rows, api.AbsTopK(state.size("sparsity")))


def _rotation(_state: api.Fields, weights: api.Weights) -> Parts:
    rows = weights.take("matrix", None, None)
    return Parts(rows, rows, api.TopK(rows.shape[0], relu=False))


def _identity(state: api.Fields, _weights: api.Weights) -> Parts:
    rows = _eye(state)
    return Parts(rows, rows, api.TopK(rows.shape[0], relu=False))


def _identity_positive(state: api.Fields, _weights: api.Weights) -> Parts:
    """Both signs of each coordinate: 2 d_in codes, though the object says d_in."""
    import torch

    rows = torch.cat([_eye(state), -_eye(state)])
    return Parts(rows, rows, api.Relu())


def _identity_relu(state: api.Fields, weights: api.Weights) -> Parts:
    rows = _eye(state)
    return Parts(rows, rows, api.Relu(), weights.take("bias", rows.shape[0]))


def _eye(state: api.Fields) -> Tensor:
    import torch

    size = state.size("activation_size")
    if size > WIDEST_IDENTITY:
        message = f"{state.where}: field 'activation_size' is {size}; expected at most {WIDEST_IDENTITY}."
        raise api.SAEFileError(message)
    return torch.eye(size)


def _unit(rows: Tensor) -> Tensor:
    """Rows divided by their norms, as the repository does it."""
    norms: Tensor = rows.norm(dim=-1, keepdim=True)
    return rows / norms.clamp_min(1e-8)


class Known(NamedTuple):
    """How a class is read, and what kind of SAE it is."""

    parts: Callable[[api.Fields, api.Weights], Parts]
    architecture: str = "standard"


CLASSES = {
    "TiedSAE": Known(_tied),
    "UntiedSAE": Known(_untied),
    "TopKLearnedDict": Known(_topk, "topk"),
    "PCAEncoder": Known(_pca, "abstopk"),
    "Rotation": Known(_rotation, "identity"),
    "RandomDict": Known(_random),
    "Identity": Known(_identity, "identity"),
    "IdentityPositive": Known(_identity_positive),
    "IdentityReLU": Known(_identity_relu),
    "TiedPositiveSAE": Known(_tied),
    "UntiedPositiveSAE": Known(_untied_positive),
}

IDLE = {"UntiedPositiveSAE": ("decoder",)}
"""By class, tensors that it stores and never uses."""

REFUSED = {
    "ReverseSAE": "it decodes codes minus the bias, and its own decode fails unless d_sae is d_in",
    "AddedNoise": "its codes are random",
    "ThresholdingSAE": "its codes are a smooth function that its own encode fails to compute",
    "LISTADenoisingSAE": "it encodes in several layers",
    "ResidualDenoisingSAE": "it encodes in several layers",
    "ICAEncoder": "it is a scikit-learn object",
    "NNegICAEncoder": "it is a scikit-learn object",
    "NMFEncoder": "it is a scikit-learn object",
    "DirectCoefSearch": "it searches codes by gradient descent",
}
