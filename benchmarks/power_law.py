"""Fit FVU = c + a W^-m: variable projection against 50,000 steps of Adam.

Both minimise the mean squared residual over seven widths, 2^14 to 2^20.

- ours: ``width_scaling_law``'s fit: c and a in closed form, a search over m alone, float64.
- reference: what the paper's script does: y = |c| + |a| W^-|m| from a standard normal start, Adam with
  learning rate 1e-4, 50,000 steps, float32; the start is seeded here.

    python benchmarks/power_law.py --runs 3 --noise 0.01
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from timing import alternate

from darkmatter_plugins.evaluators.width_scaling_law.power_law import fit_power_law

WIDTHS = 2.0 ** np.arange(14, 21)
TRUE = (0.12, 6.0, 0.35)
STEPS = 50_000


def adam(y: np.ndarray, seed: int) -> tuple[float, float, float]:
    """c, a, m after the paper's number of steps."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [torch.randn((), generator=generator).requires_grad_() for _ in range(3)]
    widths, target = torch.tensor(WIDTHS, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    optimiser = torch.optim.Adam(parameters, lr=1e-4)
    for _ in range(STEPS):
        c, a, m = (parameter.abs() for parameter in parameters)
        loss = (c + a * widths**-m - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    c, a, m = (float(parameter.detach().abs()) for parameter in parameters)
    return c, a, m


def projection(y: np.ndarray) -> tuple[float, float, float]:
    """c, a, m at the optimum."""
    law = fit_power_law(WIDTHS, y[None])
    return float(law.c[0]), float(law.a[0]), float(law.m[0])


def squared_error(fit: tuple[float, float, float], y: np.ndarray) -> float:
    """Σ residual²."""
    c, a, m = fit
    return float(np.sum((c + a * WIDTHS**-m - y) ** 2))


def main() -> None:
    """Print ratio and residuals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--noise", type=float, default=0.0, help="relative noise of the seven points")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2, help="starts of Adam whose ends are shown")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    c, a, m = TRUE
    noise = np.random.default_rng(0).standard_normal(len(WIDTHS))
    y = (c + a * WIDTHS**-m) * (1 + arguments.noise * noise)
    print(f"seven points of c = {c}, a = {a}, m = {m}, noise {arguments.noise:g}")
    print(alternate(lambda: projection(y), lambda: adam(y, 0), arguments.runs))
    found = {"ours": projection(y)}
    found |= {f"Adam, start {seed}": adam(y, seed) for seed in range(arguments.seeds)}
    for name, fit in found.items():
        shown = f"c = {fit[0]:.6f}, a = {fit[1]:.4g}, m = {fit[2]:.6f}"
        print(f"{name}: {shown}, Σ residual² = {squared_error(fit, y):.1e}")


if __name__ == "__main__":
    main()
