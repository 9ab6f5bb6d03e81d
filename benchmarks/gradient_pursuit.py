"""Gradient pursuit: support-form against the dense loop of the papers' script.

Both pursue non-negative codes of the same rows with the same unit dictionary, each row as many steps as
its target.

- ours: ``darkmatter.stats.gradient_pursuit``: one float32 product of the full width a step, everything
  else on the chosen atoms in float64, rows sorted by target.
- reference: codes [n, width] whole; r = s - w D, r Dᵀ and the direction g D are three products of the full
  width a step, in float32; rows that have reached their target are computed and thrown away.

    python benchmarks/gradient_pursuit.py --widths 4096 16384 --d 512
"""

from __future__ import annotations

import argparse

import torch
from timing import alternate
from torch import Tensor

from darkmatter.stats import gradient_pursuit


def dense(signal: Tensor, dictionary: Tensor, target: Tensor) -> Tensor:
    """Codes [n, width] by the dense loop."""
    codes = torch.zeros(len(signal), len(dictionary))
    every = torch.arange(len(signal))
    for step in range(int(target.max())):
        residual = signal - codes @ dictionary
        inner = residual @ dictionary.T
        mask = codes != 0
        mask[every, inner.argmax(dim=1)] = True
        gradient = inner * mask
        direction = gradient @ dictionary
        square = direction.square().sum(dim=1)
        size = torch.where(square > 0, (direction * residual).sum(dim=1) / square, torch.zeros(()))
        moved = torch.relu(codes + size[:, None] * gradient)
        codes = torch.where((target > step)[:, None], moved, codes)
    return codes


def compare(width: int, d: int, n: int, common: float, runs: int) -> None:
    """Print one line for one width; atoms share a part of length ``common``."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.nn.functional.normalize(torch.randn(1, d, generator=generator), dim=1)
    own = torch.nn.functional.normalize(torch.randn(width, d, generator=generator), dim=1)
    dictionary = torch.nn.functional.normalize(own + common * shared, dim=1)
    signal = torch.randn(n, d, generator=generator) + common * shared
    target = torch.randint(32, 61, (n,), generator=generator)

    def run_ours() -> Tensor:
        return gradient_pursuit(signal, dictionary, target).to_dense()

    def run_reference() -> Tensor:
        return dense(signal, dictionary, target)

    ratios = alternate(run_ours, run_reference, runs)
    ours, reference = run_ours(), run_reference()
    same = ((ours != 0) == (reference != 0)).all(dim=1)
    apart = float((ours - reference)[same].abs().max())
    print(f"width {width:6}, common part {common:g}: {ratios}")
    print(f"{'':12} support equal on {int(same.sum())} of {n} rows, there max |Δw| {apart:.1e}")


def main() -> None:
    """Print all combinations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"n = {arguments.n} rows of 32 to 60 steps, d = {arguments.d}, one thread")
    with torch.no_grad():
        for width in arguments.widths:
            for common in (0.0, 0.5):
                compare(width, arguments.d, arguments.n, common, arguments.runs)


if __name__ == "__main__":
    main()
