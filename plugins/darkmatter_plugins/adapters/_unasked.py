"""Tensors that a configuration says are not there."""

from __future__ import annotations

from darkmatter import api


def refuse_unasked(weights: api.Weights, tensor: str, cfg: api.Fields, field: str, taken: str) -> None:
    """Refuse weights with a tensor that this value of a field, recorded or taken, has no use for."""
    if tensor in weights:
        message = (
            f"{weights.where}: has the tensor {tensor!r}, though field {field!r} of {cfg.where} is {taken} "
            "(or missing, which means the same); expected another value, or no such tensor."
        )
        raise api.SAEFileError(message)
