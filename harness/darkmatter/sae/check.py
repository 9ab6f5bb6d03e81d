"""Whether weights fit together, said in a way that names what to look at."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter.errors import ItemError

CHUNK_ELEMENTS = 1 << 22


def row_norms(name: str, matrix: Tensor) -> Tensor:
    """Lengths of the rows of a matrix, float64 [rows], a piece at a time.

    Raises:
        ItemError: the matrix holds NaN or infinite numbers.
    """
    norms = torch.empty(matrix.shape[0], dtype=torch.float64, device=matrix.device)
    step = max(1, CHUNK_ELEMENTS // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], step):
        piece = matrix[start : start + step]
        norms[start : start + step] = torch.linalg.vector_norm(piece.double(), dim=1)
    bad = ~norms.isfinite()
    if bool(bad.any()):
        _refuse_non_finite(f"{name} (row {int(bad.nonzero()[0])} of {list(matrix.shape)})")
    return norms


def check_weights(
    W_enc: Tensor, W_dec: Tensor, W_skip: Tensor | None, head_shape: tuple[int, int] | None
) -> tuple[int, int, int]:
    """(d_in, d_sae, d_out) of matrices that fit together.

    Raises:
        ItemError: they do not.
    """
    for name, matrix in (("W_enc", W_enc), ("W_dec", W_dec), ("W_skip", W_skip)):
        if matrix is not None:
            check_matrix(name, matrix)
    (d_in, d_sae), (rows, d_out) = W_enc.shape, W_dec.shape
    if rows != d_sae:
        message = (
            f"W_enc [d_in, d_sae] = {[d_in, d_sae]} and W_dec [d_sae, d_out] = {[rows, d_out]} do not share "
            "d_sae: one of them is stored the other way round in this format."
        )
        raise ItemError(message)
    if W_skip is not None and W_skip.shape != (d_in, d_out):
        message = f"W_skip must be [d_in, d_out] = {[d_in, d_out]}, not {list(W_skip.shape)}."
        raise ItemError(message)
    if head_shape is not None and head_shape[0] * head_shape[1] != d_in:
        message = f"head_shape {head_shape} does not multiply to d_in = {d_in}."
        raise ItemError(message)
    return d_in, d_sae, d_out


def check_matrix(name: str, matrix: Tensor) -> None:
    """Raise an ItemError unless a tensor is a floating-point matrix with numbers in it."""
    if matrix.ndim != 2 or not matrix.is_floating_point() or not matrix.numel():
        message = (
            f"{name} must be a non-empty floating-point matrix, not {matrix.dtype} {list(matrix.shape)}."
        )
        raise ItemError(message)


def check_vector(name: str, vector: Tensor | None, size: int, *, negative: bool = True) -> None:
    """Raise an ItemError unless a vector is None or finite floating-point [size]."""
    if vector is None:
        return
    if vector.shape != (size,) or not vector.is_floating_point():
        message = f"{name} must be floating-point of shape [{size}], not {vector.dtype} {list(vector.shape)}."
        raise ItemError(message)
    if not bool(vector.isfinite().all()):
        _refuse_non_finite(name)
    if not negative and bool((vector < 0).any()):
        message = f"{name} must not be negative: a negative scale would turn the order of latents round."
        raise ItemError(message)


def require_finite(rows: Tensor) -> None:
    """Raise an ItemError unless activations [n, d] (or the lengths of their rows [n, 1]) are finite."""
    finite = rows.isfinite().all(dim=1)
    if not bool(finite.all()):
        bad = int((~finite).nonzero()[0])
        message = (
            f"Row {bad} of {len(rows)} holds NaN or infinite activations; an SAE says nothing about "
            "them. Mask such positions, or look for an overflow in the model's dtype (float16?)."
        )
        raise ItemError(message)


def _refuse_non_finite(what: str) -> None:
    message = f"{what} holds NaN or infinite numbers: the file is damaged, or the training diverged."
    raise ItemError(message)
