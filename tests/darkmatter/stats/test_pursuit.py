"""Gradient pursuit against a dense float64 loop written from its definition, and known answers."""

from __future__ import annotations

import math

import pytest
import torch

import darkmatter as dm
from darkmatter.stats import gradient_pursuit, pursuit
from darkmatter_plugins.world.catalogue import SAES, sae_path


def dense(signal: torch.Tensor, dictionary: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Codes [n, F] by the loop of the paper's script, every product over the whole width."""
    signal, dictionary = signal.double(), dictionary.double()
    codes = torch.zeros(len(signal), len(dictionary), dtype=torch.float64)
    for t in range(int(target.max())):
        for row in range(len(signal)):
            if target[row] <= t:
                continue
            residual = signal[row] - codes[row] @ dictionary
            inner = dictionary @ residual
            mask = codes[row] != 0
            mask[inner.argmax()] = True
            gradient = inner * mask
            direction = gradient @ dictionary
            square = direction @ direction
            step = (direction @ residual) / square if square > 0 else 0.0
            codes[row] = torch.relu(codes[row] + step * gradient)
    return codes


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows.double(), dim=1)


def coherent(width: int, d: int) -> torch.Tensor:
    """Atoms that share a large common part: inner products near .9."""
    return unit(3 * unit(normal(1, d, seed=7)) + unit(normal(width, d, seed=8)))


def trained() -> torch.Tensor:
    sae = next(each for each in SAES if each.name == "topk-w512-k16")
    return dm.load_sae(str(sae_path(sae))).W_dec


DICTIONARIES = {
    "random": lambda: unit(normal(300, 24)).float(),
    "coherent": lambda: coherent(300, 24).float(),
    "trained": trained,
}


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_equals_the_dense_loop(kind):
    """Support and values are those of the reference, for rows of every target from 0 to 12."""
    atoms = DICTIONARIES[kind]()
    signal = normal(40, atoms.shape[1], seed=1) + 2 * atoms[:40]
    target = torch.arange(40) % 13
    found = gradient_pursuit(signal, atoms, target)
    truth = dense(signal, unit(atoms), target) / atoms.double().norm(dim=1)

    assert torch.equal(found.to_dense() != 0, truth != 0)
    assert torch.allclose(found.to_dense(), truth, rtol=1e-9, atol=1e-11)
    assert (found.l0() <= target).all()
    if kind == "coherent":  # steps that clamp or repeat an atom are in it too
        assert (truth != 0).sum() < target.sum()


def test_batching_changes_nothing(monkeypatch):
    """Codes are the same bit for bit of each row's support however rows are grouped."""
    atoms, signal, target = coherent(200, 16), normal(60, 16, seed=2), torch.arange(60) % 9
    whole = gradient_pursuit(signal, atoms, target)
    monkeypatch.setattr(pursuit, "MIN_ROWS", 1)
    monkeypatch.setattr(pursuit, "SUPPORT_ELEMENTS", 300)
    few = gradient_pursuit(signal, atoms, target)
    alone = [gradient_pursuit(signal[i : i + 1], atoms, target[i : i + 1]) for i in range(60)]

    assert torch.equal(whole.indices, few.indices)
    assert torch.equal(whole.indices, torch.cat([each.indices for each in alone]))
    assert torch.allclose(whole.values, few.values, rtol=1e-10)


def test_ties_go_to_the_first_atom_and_near_ties_to_the_better():
    """Inner products that float32 cannot tell apart are compared in float64; equal ones by index."""
    base, beyond = torch.eye(8, dtype=torch.float64)[:2].split(1)
    better, others = base + 1e-9 * beyond, 0.1 * unit(normal(3, 8, seed=9))

    def chosen(*atoms: torch.Tensor) -> int:
        return int(gradient_pursuit(base + beyond, torch.cat(atoms), 1, unit_rows=False).indices)

    assert chosen(base, better, others) == 1
    assert chosen(better, base, others) == 0
    assert chosen(others, base, base) == 3


def test_d1_orthonormal_dictionary():
    """5-sparse signals are found exactly with 5 atoms; with 3 the two smallest are what is missing."""
    q, _ = torch.linalg.qr(normal(20, 20).double())
    codes = torch.zeros(30, 20, dtype=torch.float64)
    for row in range(30):
        at = torch.randperm(20, generator=torch.Generator().manual_seed(row))[:5]
        codes[row, at] = (
            torch.rand(5, generator=torch.Generator().manual_seed(row), dtype=torch.float64) + 0.1
        )
    signal = codes @ q
    five, three = (gradient_pursuit(signal, q, k) for k in (5, 3))
    missing = (signal - three.to_dense() @ q).square().sum(dim=1)

    assert torch.allclose(five.to_dense(), codes, atol=1e-12)
    assert torch.allclose(missing, codes.sort(dim=1).values[:, -5:-3].square().sum(dim=1), rtol=1e-9)
    assert int(three.l0().max()) == 3


def test_d1_a_finished_row_takes_no_more_atoms():
    """Rounding left of a row that is reconstructed exactly gets no codes, whatever the target."""
    eye = torch.eye(6)
    found = gradient_pursuit(2 * eye[:2] + eye[2:4], eye, 6)

    assert found.l0().tolist() == [2, 2]


def test_d2_error_never_grows_with_the_target():
    """In a coherent dictionary every further step helps or does nothing."""
    atoms, signal = coherent(100, 12), normal(50, 12, seed=5) + 1
    errors = torch.stack(
        [(signal - gradient_pursuit(signal, atoms, k).to_dense() @ atoms).norm(dim=1) for k in range(10)]
    )

    assert (errors.diff(dim=0) <= 1e-12).all()
    assert float(errors[-1].mean()) < 0.95 * float(errors[0].mean())


def test_d3_target_zero_gives_no_codes():
    """Without steps there are no codes, also beside rows that have some."""
    found = gradient_pursuit(normal(3, 4), unit(normal(6, 4)), torch.tensor([0, 2, 0]))

    assert found.l0()[[0, 2]].tolist() == [0, 0]
    assert gradient_pursuit(normal(3, 4), unit(normal(6, 4)), 0).nnz == 0


def test_d4_two_atoms_and_a_step_back():
    """After two steps w = (a + bρ, b(1 - ρ²)); the third re-estimates the first: w1 = a + bρ³."""
    rho, a, b = 0.6, 2.0, 1.0
    atoms = torch.tensor([[1.0, 0.0], [rho, math.sqrt(1 - rho**2)]], dtype=torch.float64)
    signal = (a * atoms[0] + b * atoms[1])[None]
    two, three = (gradient_pursuit(signal, atoms, k).to_dense()[0] for k in (2, 3))

    assert two.tolist() == pytest.approx([a + b * rho, b * (1 - rho**2)], abs=1e-12)
    # The gradient of the third step is that of the first atom alone: the second's is zero.
    assert three.tolist() == pytest.approx([a + b * rho**3, b * (1 - rho**2)], abs=1e-12)


def test_d5_weights_clamp_to_zero():
    """A signal with negative inner products everywhere gets no codes, and no NaN."""
    atoms = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    found = gradient_pursuit(-atoms[:1], atoms, 2)

    assert found.nnz == 0


def test_unit_rows_make_rescaling_harmless():
    """A longer decoder row gets smaller codes and nothing else; taken as they are, long rows win."""
    atoms, signal = unit(normal(40, 8)), normal(20, 8, seed=6)
    scale = torch.logspace(-2, 2, 40, dtype=torch.float64)[:, None]
    plain, scaled = gradient_pursuit(signal, atoms, 5), gradient_pursuit(signal, atoms * scale, 5)
    literal = gradient_pursuit(signal, atoms * scale, 5, unit_rows=False)

    assert torch.allclose(plain.to_dense(), scaled.to_dense() * scale.T, rtol=1e-9)
    assert torch.equal(plain.indices, scaled.indices)
    same = gradient_pursuit(signal, atoms, 5, unit_rows=False)
    assert torch.allclose(plain.to_dense(), same.to_dense(), rtol=1e-9)
    assert torch.allclose(literal.to_dense(), dense(signal, atoms * scale, torch.full((20,), 5)), rtol=1e-6)
    assert not torch.equal(literal.indices, plain.indices)


def test_what_is_no_atom_and_no_signal():
    """Zero rows of a dictionary are never chosen; zero signals and empty dictionaries give no codes."""
    atoms = torch.cat([torch.zeros(2, 4), torch.eye(4)])

    assert gradient_pursuit(-torch.ones(1, 4), atoms, 3).nnz == 0
    assert set(gradient_pursuit(torch.rand(5, 4) + 0.1, atoms, 4).indices.tolist()) == {2, 3, 4, 5}
    assert gradient_pursuit(torch.zeros(2, 4), atoms, 3).l0().tolist() == [0, 0]
    assert gradient_pursuit(torch.ones(2, 4), torch.zeros(3, 4), 2).nnz == 0
    assert gradient_pursuit(torch.ones(2, 4), torch.zeros(0, 4), 2).shape == (2, 0)
    assert gradient_pursuit(torch.zeros(0, 4), atoms, 2).shape == (0, 6)


def test_scale_of_the_signal_does_not_matter():
    """Rows of 1e-30 and of 1e30 are pursued alike."""
    atoms, signal = unit(normal(40, 8)), normal(5, 8, seed=6).double()
    one, small, large = (gradient_pursuit(signal * s, atoms, 4) for s in (1, 1e-30, 1e30))

    assert torch.equal(one.indices, small.indices)
    assert torch.allclose(one.values, small.values * 1e30, rtol=1e-9)
    assert torch.allclose(one.values, large.values * 1e-30, rtol=1e-9)
