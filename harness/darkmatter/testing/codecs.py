"""What every SAE must hold, whoever made it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.base import SAE
from darkmatter.sae.codes import Codes
from darkmatter.testing.rules import require

CLOSE = 1e-5
"""What one row alone may differ from the same row among others: float32 kernels, relative."""


def check_sae(sae: SAE, x: Tensor, where: str) -> None:
    """Raise AssertionError unless an SAE fits x [..., d_in] and contradicts itself nowhere."""
    fix = "see darkmatter.api.SAE for what each method returns; CanonicalSAE holds all of it."
    require(
        min(sae.d_in, sae.d_out) >= 1 and sae.d_sae >= 0,
        "Sizes are positive.",
        f"{where}: d_in={sae.d_in}, d_out={sae.d_out}, d_sae={sae.d_sae}",
        fix,
    )
    codes = sae.encode(x)
    dense = codes.to_dense()
    if not sae.reconstructs:
        _check_codes_alone(sae, codes, x, where)
        return
    given = sae.reconstruct(x)
    require(
        dense.shape == (*x.shape[:-1], sae.d_sae) and given.shape == (*x.shape[:-1], sae.d_out),
        "encode gives [..., d_sae], reconstruct [..., d_out].",
        f"{where}: x {list(x.shape)}, codes {list(dense.shape)}, reconstruction {list(given.shape)}",
        fix,
    )
    require(
        bool(dense.isfinite().all()) and bool(given.isfinite().all()),
        "Codes and reconstructions of finite rows are finite.",
        f"{where}: {int((~given.isfinite()).sum())} numbers of the reconstruction are not",
        "look for overflow, and for divisions by a norm that may be 0.",
    )
    require(
        torch.equal(given, sae.reconstruct_from(codes, x)),
        "reconstruct(x) is reconstruct_from(encode(x), x).",
        f"{where}: they differ by {float((given - sae.reconstruct_from(codes, x)).abs().max()):.3g}",
        "override reconstruct_from where decode alone does not know x (skip connections, row norms).",
    )
    _check_rows(sae, x, given, where)


def _check_codes_alone(sae: SAE, codes: Codes, x: Tensor, where: str) -> None:
    """What holds for an SAE that does not reconstruct: finite codes, and a reason where x̂ is asked for."""
    dense = codes.to_dense()
    require(
        dense.shape == (*x.shape[:-1], sae.d_sae) and bool(dense.isfinite().all()),
        "encode gives finite codes [..., d_sae].",
        f"{where}: x {list(x.shape)}, codes {list(dense.shape)}",
        "see darkmatter.api.SAE for what each method returns.",
    )
    asked: dict[str, Callable[[], Tensor]] = {
        "decode": lambda: sae.decode(codes),
        "reconstruct": lambda: sae.reconstruct(x),
        "reconstruct_from": lambda: sae.reconstruct_from(codes, x),
    }
    for name, ask in asked.items():
        try:
            ask()
            said = None
        except ItemError as error:
            said = str(error)
        require(
            bool(sae.no_reconstruction) and said == sae.no_reconstruction,
            "An SAE that does not reconstruct says why wherever it is asked to.",
            f"{where}: {name} {'returned' if said is None else f'said {said!r}'}",
            "raise api.ItemError(self.no_reconstruction), or return an api.EncodeOnlySAE.",
        )


def _check_rows(sae: SAE, x: Tensor, given: Tensor, where: str) -> None:
    before = x.clone()
    some = x[:3]
    alone = torch.cat([sae.reconstruct(row.unsqueeze(0)) for row in some])
    scale = float(given.abs().max()) + 1e-30
    worst = float((alone - given[:3]).abs().max()) / scale
    require(
        worst <= CLOSE,
        f"A row's reconstruction does not depend on its neighbours ({CLOSE:g}): chunks are of any size.",
        f"{where}: a row alone differs by {worst:.3g} of the largest value",
        "take statistics of a batch (BatchTopK, norms) from the file or from training, not from the batch.",
    )
    require(
        torch.equal(x, before), "An SAE does not change x in place.", f"{where}: x changed", "work on copies."
    )
