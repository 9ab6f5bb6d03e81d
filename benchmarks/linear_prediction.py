"""Predict the error linearly: streamed float64 moments against whole-data float32 least squares.

Both regress e [n, d] on x [n, d] with an intercept, on the same training rows, and report the pooled
R² = 1 - Σ|e - ê|² / Σ|e - ē|² on the same held-out rows.

- ours: moments chunk by chunk (``darkmatter.stats``), one Cholesky solve, a second sweep for R².
- reference: what the papers' scripts do: gather the rows of each side in the order of a random
  permutation, float32 ``torch.linalg.lstsq``, predict; with a column of ones, so that both fit an
  intercept.
- truth: float64 ``torch.linalg.lstsq`` on the same rows (not timed).

    python benchmarks/linear_prediction.py --n 40000 --d 256
"""

from __future__ import annotations

import argparse

import torch
from timing import alternate
from torch import Tensor

from darkmatter.stats import CrossMoments, Gram, GramFactor
from darkmatter.stats.moments import centred

CHUNK = 4096
TRAIN_SHARE = 0.6


def make_data(n: int, d: int, seed: int, offset: float) -> tuple[Tensor, Tensor]:
    """Rows x [n, d] of decaying spectrum, means of size ``offset``, and an error e partly linear in x."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.linspace(0, -2, d).mul(2.302585).exp()
    mixing = torch.randn(d, d, generator=generator) / d**0.5
    x = (torch.randn(n, d, generator=generator) * scales) @ mixing
    x += offset * torch.randn(d, generator=generator)
    linear = 0.1 * torch.randn(d, d, generator=generator) / d**0.5
    noise = torch.randn(n, d, generator=generator)
    error = (x - x.mean(dim=0)) @ linear
    error += noise * error.std()
    return x, error


def ours(x: Tensor, e: Tensor, n_train: int) -> float:
    """Held-out R² from streamed moments."""
    d, p = x.shape[1], e.shape[1]
    gram, cross = Gram.zero(d), CrossMoments.zero(d, p)
    for start in range(0, n_train, CHUNK):
        rows = slice(start, min(start + CHUNK, n_train))
        mean, xc = centred(x[rows])
        gram.merge(Gram(len(xc), mean, xc.T @ xc))
        cross.merge(CrossMoments.of((mean, xc), e[rows]))
    linear = GramFactor.of(gram).solve(cross)
    target = e[n_train:]
    mean_error = target.to(torch.float64).mean(dim=0)
    residual = total = 0.0
    for start in range(n_train, len(x), CHUNK):
        rows = slice(start, min(start + CHUNK, len(x)))
        wide = e[rows].to(torch.float64)
        residual += float((wide - linear(x[rows])).square().sum())
        total += float((wide - mean_error).square().sum())
    return 1 - residual / total


def least_squares(
    x: Tensor, e: Tensor, n_train: int, order: Tensor, *, dtype: torch.dtype, driver: str
) -> float:
    """Held-out R² from ``torch.linalg.lstsq`` on rows gathered in permuted order."""
    train, test = order[order < n_train], order[order >= n_train]

    def design(rows: Tensor) -> Tensor:
        gathered = x[rows].to(dtype)
        return torch.cat([gathered, torch.ones(len(rows), 1, dtype=dtype)], dim=1)

    weight = torch.linalg.lstsq(design(train), e[train].to(dtype), driver=driver).solution
    target = e[test].to(dtype)
    residual = (target - design(test) @ weight).square().sum()
    return float(1 - residual / (target - target.mean(dim=0)).square().sum())


def main() -> None:
    """Print ratio and accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=40_000, help="rows; 60%% of them train")
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--offset", type=float, default=1.0, help="size of the mean of x")
    parser.add_argument("--driver", default="gelsy", help="LAPACK driver; torch's default is gelsy on a CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n_train = int(arguments.n * TRAIN_SHARE)
    x, e = make_data(arguments.n, arguments.d, seed=0, offset=arguments.offset)
    order = torch.randperm(arguments.n, generator=torch.Generator().manual_seed(1))

    def run_ours() -> float:
        return ours(x, e, n_train)

    def run_reference() -> float:
        return least_squares(x, e, n_train, order, dtype=torch.float32, driver=arguments.driver)

    truth = least_squares(x, e, n_train, order, dtype=torch.float64, driver="gelsy")
    print(f"n = {arguments.n} rows ({n_train} train), d = {arguments.d}, mean of size {arguments.offset:g}")
    print(alternate(run_ours, run_reference, arguments.runs))
    print(
        f"R² = {truth:.6f};  |ours - float64| = {abs(run_ours() - truth):.1e};  "
        f"|reference - float64| = {abs(run_reference() - truth):.1e}"
    )


if __name__ == "__main__":
    main()
