"""Encode and decode: tiled selection with sparse codes against the dense formulas.

Both give the reconstruction x̂ [n, d] of the same rows by the same weights:

- ours: ``CanonicalSAE.encode`` (tiles of 4096 latents, near-ties rechecked in float64, sparse codes)
  and ``decode`` (cost L0, not width).
- reference: h = x W_enc + b [n, width] whole; relu and ``topk`` with ``scatter``, or a threshold;
  a dense ``codes @ W_dec``.

    python benchmarks/encode.py --widths 4096 16384 --d 512
"""

from __future__ import annotations

import argparse

import torch
from timing import alternate
from torch import Tensor

from darkmatter.sae.activation import Activation, JumpRelu, TopK
from darkmatter.sae.canonical import CanonicalSAE


def dense(activation: Activation, h: Tensor) -> Tensor:
    """Dense codes of pre-activations h [n, width]."""
    if isinstance(activation, TopK):
        values, indices = torch.relu(h).topk(activation.k, dim=1)
        return torch.zeros_like(h).scatter_(1, indices, values)
    assert isinstance(activation, JumpRelu)
    return torch.relu(h) * (h > activation.threshold)


def compare(kind: str, width: int, d: int, n: int, k: int, runs: int) -> None:
    """Print one line for one activation and width."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(width, d, generator=generator)
    w_dec = directions / directions.norm(dim=1, keepdim=True)
    w_enc, b_enc = w_dec.T.contiguous(), torch.zeros(width)
    x = torch.randn(n, d, generator=generator)
    # The threshold that leaves k latents on average, so that both activations have one L0.
    sample = (x[:256] @ w_enc).flatten()
    cut = sample.kthvalue(len(sample) - 256 * k).values
    activation: Activation = TopK(k) if kind == "TopK" else JumpRelu(torch.full((width,), float(cut)))
    sae = CanonicalSAE(W_enc=w_enc, W_dec=w_dec, b_enc=b_enc, activation=activation)

    def run_ours() -> Tensor:
        return sae.decode(sae.encode(x))

    def run_reference() -> Tensor:
        return dense(activation, x @ w_enc + b_enc) @ w_dec

    ratios = alternate(run_ours, run_reference, runs)
    # An entry at a cutoff may fall on either side in float32; such rows differ by a whole latent.
    apart = (run_ours() - run_reference()).abs().amax(dim=1)
    same = apart < 1e-4
    l0 = sae.encode(x).nnz / n
    print(f"{kind:9} width {width:6}, L0 {l0:5.1f}: {ratios}")
    print(
        f"{'':9} {int((~same).sum())} of {n} rows differ in a near-tie; else max |Δx̂| {apart[same].max():.1e}"
    )


def main() -> None:
    """Print all combinations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--n", type=int, default=2048)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"n = {arguments.n} rows, d = {arguments.d}, one thread")
    for width in arguments.widths:
        for kind in ("TopK", "JumpReLU"):
            compare(kind, width, arguments.d, arguments.n, arguments.k, arguments.runs)


if __name__ == "__main__":
    main()
