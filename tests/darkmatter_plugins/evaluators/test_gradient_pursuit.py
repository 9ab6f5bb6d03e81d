"""`gradient_pursuit` on SAEs whose encoders fail in known ways, through ``dm.evaluate``."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split

CONTEXTS, POSITIONS, D, LATENTS = 80, 25, 12, 30


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthonormal() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(3)).double())[0].float()


def sparse(width: int = D, p: float = 0.25) -> torch.Tensor:
    """Codes Bernoulli(p) * U(0.2, 1.2) [CONTEXTS, POSITIONS, width]."""
    shape = (CONTEXTS, POSITIONS, width)
    return ((draw(*shape, seed=1) < p) * (0.2 + draw(*shape, seed=2))).float()


def results(sae, x, *, evaluator="gradient_pursuit", y=None, config=None):
    found = dm.evaluate({"sae": sae}, activations=x, y=y, evaluators={evaluator: config or {}})
    return next(iter(found))


def measured(sae, x, **options) -> dict[str, float]:
    return {metric.name: metric.value for metric in results(sae, x, **options).metrics}


def saturating(W_dec: torch.Tensor) -> api.SAE:
    """An opaque SAE with the right support and codes that stop at 0.5."""
    return api.OpaqueSAE(
        lambda rows: (rows @ W_dec.T).clamp(0, 0.5) * ((rows @ W_dec.T) > 0.1),
        lambda codes: codes @ W_dec,
        d_in=D,
        d_sae=D,
        W_dec=W_dec,
    )


def test_an_encoder_that_gets_the_values_wrong_makes_all_of_the_error():
    """Right support, saturated values: pursuit leaves nothing, and all nonlinear error is the encoder's."""
    q, codes = orthonormal(), sparse()
    found = measured(saturating(q), codes @ q)
    lost = (codes - codes.clamp(max=0.5)).double()

    assert found["fvu"] == pytest.approx(
        float(lost.square().sum() / (codes.double() - codes.double().mean((0, 1))).square().sum()), rel=0.1
    )
    assert found["fvu_after"] == pytest.approx(0, abs=1e-12)
    assert found["fvu_nonlinear"] > 0.01
    assert found["encoder_error"] == pytest.approx(found["fvu_nonlinear"], rel=1e-9)
    assert found["fvu_removed"] == pytest.approx(1, abs=1e-9)
    assert found["l0_after"] == pytest.approx(found["l0"])


def test_an_encoder_that_does_what_it_can_makes_none():
    """Orthonormal features above a threshold are the best of their number: nothing to gain, exactly."""
    q, codes = orthonormal(), sparse()
    keep = api.CanonicalSAE(W_enc=q.T, W_dec=q, activation=api.JumpRelu(torch.full((D,), 0.6)))
    found = measured(keep, codes @ q)

    assert found["fvu"] > 0.1
    assert found["encoder_error"] == pytest.approx(0, abs=1e-7)
    assert found["fvu_gain"] == pytest.approx(0, abs=1e-7)
    assert found["fvu_removed"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "layer_norm", "constant_norm", "scale"])
def test_every_shape_of_canonical_sae_is_pursued_in_its_own_space(kind):
    """Normalisation, code scales, both biases and a skip connection: planted codes are found again.

    The SAE's own codes are half of what they should be, so its error is not that of the pursued ones.
    """
    q, bias = orthonormal(), torch.linspace(-1, 1, D)
    normalisation = api.Normalisation(kind=kind, factor=0.5)
    scale = torch.linspace(0.5, 2, D)
    skip = 0.1 * torch.eye(D) if kind == "none" else None
    sae = api.CanonicalSAE(
        W_enc=q.T / 2, W_dec=q, b_dec=bias, subtract=bias, activation=api.TopK(3),
        normalisation=normalisation, code_scale=scale, W_skip=skip,
    )  # fmt: skip
    clean = sae.reference(torch.randn(CONTEXTS * POSITIONS, D))[0] * 0
    planted = torch.where(draw(*clean.shape, seed=4).argsort(1) < 3, 0.3 + draw(*clean.shape, seed=5), clean)
    inside = (planted / scale) @ q.double() + bias
    if kind == "layer_norm":
        inside = inside - inside.mean(1, keepdim=True)
    x = {
        "none": lambda: inside / 0.9,
        "scale": lambda: inside / 0.5,
        "constant_norm": lambda: inside * 3,
        "layer_norm": lambda: inside * 3 + 1,
    }[kind]()
    found = measured(sae, x.float().reshape(CONTEXTS, POSITIONS, D))

    # Rows that are normalised one by one lie off the planted space: not zero, but best of its kind.
    if kind in {"none", "scale"}:
        assert found["fvu_after"] == pytest.approx(0, abs=1e-8)
    assert found["fvu_after"] < 0.5 * found["fvu"]
    assert found["l0"] == 3


def test_pursuit_equals_a_computation_from_whole_arrays():
    """FVU and nonlinear FVU before and after, and their difference, from the definitions in float64."""
    from darkmatter.stats import gradient_pursuit

    decoder = torch.nn.functional.normalize(
        torch.randn(LATENTS, D, generator=torch.Generator().manual_seed(8)), dim=1
    )
    mean = torch.linspace(0, 1, D)
    x = (
        sparse(LATENTS, 0.1) @ decoder
        + mean
        + 0.05 * torch.randn(CONTEXTS, POSITIONS, D, generator=torch.Generator().manual_seed(9))
    )
    sae = api.CanonicalSAE(
        W_enc=decoder.T, W_dec=2 * decoder, b_dec=mean, subtract=mean, b_enc=torch.full((LATENTS,), -0.3),
        code_scale=torch.full((LATENTS,), 2.0), activation=api.Relu(),
    )  # fmt: skip
    found = measured(sae, x)

    rows = x.reshape(-1, D)
    train = make_split(tensor_activations(x)).train(0, CONTEXTS).flatten().numpy()
    codes = sae.encode(rows)
    own = rows.double().numpy() - sae.reconstruct(rows).double().numpy()
    pursued = gradient_pursuit(rows - mean, decoder, codes.l0())
    after = (rows - mean).double().numpy() - (pursued.to_dense() @ decoder.double()).numpy()
    wide = np.hstack([rows.double().numpy(), np.ones((len(rows), 1))])
    target = rows.double().numpy()[~train]
    variance = ((target - target.mean(0)) ** 2).sum()
    for name, error in (("", own), ("_after", after)):
        fit = np.linalg.lstsq(wide[train], error[train], rcond=None)[0]
        residual = (error - wide @ fit)[~train]
        assert found[f"fvu{name}"] == pytest.approx((error[~train] ** 2).sum() / variance, rel=1e-5)
        assert found[f"fvu_nonlinear{name}"] == pytest.approx((residual**2).sum() / variance, rel=1e-5)
    assert found["encoder_error"] == pytest.approx(found["fvu_nonlinear"] - found["fvu_nonlinear_after"])
    assert found["l0"] == pytest.approx(float(codes.l0().double().numpy()[~train].mean()))
    assert found["l0_after"] == pytest.approx(float(pursued.l0().double().numpy()[~train].mean()))
    assert found["l0_after"] <= found["l0"]


def test_before_and_after_use_the_same_rows():
    """A budget draws rows once: the SAE's own figures are those of the drawn rows, not of all."""
    q, codes = orthonormal(), sparse()
    x = codes @ q
    x[:, : POSITIONS // 2] *= 3  # rows differ, so that other rows would show
    keep = api.CanonicalSAE(W_enc=q.T, W_dec=q, activation=api.JumpRelu(torch.full((D,), 0.6)))
    result = results(keep, x, config={"max_rows": 300})
    found = {metric.name: metric for metric in result.metrics}
    whole = measured(keep, x)
    used = result.tables["rows"]

    # The encoder is the best possible, so before and after agree on the same rows and on no others.
    assert found["fvu"].value == pytest.approx(found["fvu_after"].value, rel=1e-6)
    assert abs(found["fvu"].value - whole["fvu"]) > 1e-4
    assert found["fvu"].n == used["test"]
    assert 200 < used["test"] < 400
    assert 200 < used["train"] < 400
    assert found["fvu_after"].ci_low < found["fvu_after"].value < found["fvu_after"].ci_high


def test_d3_a_fixed_target_and_target_zero():
    """With as many latents as asked for; with none, only the bias is left."""
    q, codes = orthonormal(), sparse(p=0.6)
    mean = torch.full((D,), 0.3)
    sae = api.CanonicalSAE(W_enc=q.T, W_dec=q, b_dec=mean, subtract=mean, activation=api.TopK(6))
    x = codes @ q + mean
    none, two = (measured(sae, x, config={"target": k}) for k in (0, 2))

    assert none["l0_after"] == 0
    rows = (x - mean).double()
    share = float(rows.square().sum() / (x.double() - x.double().mean((0, 1))).square().sum())
    assert none["fvu_after"] == pytest.approx(share, rel=0.1)
    assert two["l0_after"] == pytest.approx(2, abs=0.05)
    assert two["fvu_after"] > two["fvu"]


def test_a_transcoder_pursues_its_target():
    """The signal of a transcoder is y, at another size than x."""
    q, codes = orthonormal(), sparse()
    W = torch.randn(7, D, generator=torch.Generator().manual_seed(6))
    x, y = codes @ W.T, codes @ q
    sae = api.CanonicalSAE(W_enc=torch.linalg.pinv(W.T), W_dec=q, activation=api.TopK(3))
    found = measured(sae, x, y=y)

    assert found["l0"] > 2
    assert found["fvu_after"] < 0.5 * found["fvu"]


def test_long_decoder_rows_are_no_better_than_short_ones():
    """Rescaling latents changes nothing; as the authors' script takes rows, it does."""
    decoder = torch.randn(LATENTS, D, generator=torch.Generator().manual_seed(8))
    decoder = torch.nn.functional.normalize(decoder, dim=1)
    x = sparse(LATENTS, 0.1) @ decoder
    factor = torch.logspace(-1, 1, LATENTS)[:, None]
    plain, scaled = (
        api.CanonicalSAE(W_enc=decoder.T / f.T, W_dec=decoder * f, activation=api.Relu())
        for f in (factor**0, factor)
    )
    options = {"target": 3}
    literal = {"target": 3, "unit_rows": False}

    assert measured(plain, x, config=options)["fvu_after"] == pytest.approx(
        measured(scaled, x, config=options)["fvu_after"], rel=1e-5
    )
    assert measured(plain, x, config=literal)["fvu_after"] == pytest.approx(
        measured(plain, x, config=options)["fvu_after"], rel=1e-5
    )
    assert (
        measured(scaled, x, config=literal)["fvu_after"]
        > 1.2 * measured(scaled, x, config=options)["fvu_after"]
    )


def test_functions_are_pursued_if_their_decoder_is_affine():
    """A bias is found from reconstructions alone; a decoder that bends is refused, with the reason."""
    q, codes = orthonormal(), sparse()
    bias = torch.linspace(-1, 1, D)
    affine = api.OpaqueSAE(
        lambda rows: ((rows - bias) @ q.T).clamp(0, 0.5), lambda c: c @ q + bias, d_in=D, d_sae=D, W_dec=q
    )
    bends = api.OpaqueSAE(
        lambda rows: (rows @ q.T).relu(), lambda c: torch.tanh(c @ q), d_in=D, d_sae=D, W_dec=q
    )
    bare = dm.SAE.from_functions(lambda rows: rows @ q.T, lambda c: c @ q, d_in=D, d_sae=D)
    x = codes @ q + bias

    assert measured(affine, x)["fvu_after"] == pytest.approx(0, abs=1e-10)
    refused = results(bends, x)
    assert {metric.status for metric in refused.metrics} == {"undefined"}
    assert "affine" in refused.metrics[0].reason
    assert results(bare, x).status == "skipped"


def test_negative_codes_are_said_to_be_at_a_disadvantage():
    """Pursued codes are not negative: an SAE whose codes are gets a note."""
    q = orthonormal()
    signed = api.CanonicalSAE(W_enc=q.T, W_dec=q, activation=api.AbsTopK(4))
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=torch.Generator().manual_seed(0))
    result = results(signed, x)

    assert any("negative" in note for note in result.notes)
    assert next(m.value for m in result.metrics if m.name == "fvu_gain") < 0


# -- closed forms ---------------------------------------------------------------------------------


def pursued(W_dec: torch.Tensor, x: torch.Tensor, target: int) -> dict[str, float]:
    """Metrics with a dictionary at a target L0, which is not the L0 of the SAE's own codes."""
    sae = api.CanonicalSAE(W_enc=W_dec.T, W_dec=W_dec, activation=api.TopK(1))
    return measured(sae, x, config={"target": target})


def of_variance(missing: torch.Tensor, x: torch.Tensor) -> float:
    """Σ missing [contexts, positions] over the variance of x, on the held-out rows."""
    test = make_split(tensor_activations(x)).test(0, len(x))
    rows = x[test].double()
    return float(missing[test].double().sum() / (rows - rows.mean(0)).square().sum())


def five_sparse() -> torch.Tensor:
    """Codes with five of D entries in (0.1, 1.1) [CONTEXTS, POSITIONS, D]."""
    chosen = draw(CONTEXTS, POSITIONS, D, seed=10).argsort(dim=2) < 5
    return chosen * (0.1 + draw(CONTEXTS, POSITIONS, D, seed=11))


def test_d1_orthonormal_dictionary():
    """5-sparse signals: target 5 leaves nothing, target 3 the energy of the two smallest codes."""
    q, codes = orthonormal(), five_sparse()
    x = (codes @ q.double()).float()
    five, three = (pursued(q, x, k) for k in (5, 3))
    smallest = codes.sort(dim=2).values[..., D - 5 : D - 3].square().sum(dim=2)

    assert five["fvu_after"] == pytest.approx(0, abs=1e-11)
    assert five["l0_after"] == 5
    assert three["fvu_after"] == pytest.approx(of_variance(smallest, x), rel=1e-5)
    assert three["l0_after"] == 3


def test_d1_each_row_is_pursued_at_the_l0_of_its_own_codes():
    """By default a row gets as many latents as the SAE gave it: what is missing is what the others hold.

    The encoder fires on codes above 0.6 and gets their size wrong, so both errors differ.
    """
    q, codes = orthonormal(), five_sparse()
    x = (codes @ q.double()).float()
    sae = api.OpaqueSAE(
        lambda rows: 0.1 * ((rows @ q.T) > 0.6), lambda c: c @ q, d_in=D, d_sae=D, W_dec=q
    )  # fmt: skip
    found = measured(sae, x)
    below = torch.where(codes > 0.6, 0.0, codes).square().sum(dim=2)

    assert 2 < found["l0"] < 3
    assert found["l0_after"] == found["l0"]
    assert found["fvu_after"] == pytest.approx(of_variance(below, x), rel=1e-5)


def test_d2_more_latents_never_make_it_worse():
    """In a coherent dictionary the error never grows with the target, and L0 never exceeds it."""
    common = torch.nn.functional.normalize(torch.ones(1, D), dim=1)
    atoms = torch.nn.functional.normalize(torch.randn(LATENTS, D, generator=seeded(12)), dim=1)
    atoms = torch.nn.functional.normalize(3 * common + atoms, dim=1)
    x = sparse(LATENTS, 0.1) @ atoms + 0.1 * torch.randn(CONTEXTS, POSITIONS, D, generator=seeded(13))
    found = [pursued(atoms, x, k) for k in range(7)]
    missed = [each["fvu_after"] for each in found]

    assert all(later <= earlier for earlier, later in itertools.pairwise(missed))
    assert missed[-1] < 0.6 * missed[1]
    assert all(each["l0_after"] <= k for k, each in enumerate(found))


def test_d4_two_atoms_and_a_step_back():
    """Signals a·y1 + b·y2, a > b: two steps leave b²ρ²(1 - ρ²), a third, which re-estimates, ρ² of it."""
    rho = 0.6
    atoms = torch.tensor([[1.0, 0.0], [rho, (1 - rho**2) ** 0.5]])
    b = 0.2 + draw(CONTEXTS, POSITIONS, seed=14)
    a = b + 0.1 + draw(CONTEXTS, POSITIONS, seed=15)
    x = (torch.stack([a, b], dim=2) @ atoms.double()).float()
    two, three = (pursued(atoms, x, k) for k in (2, 3))
    left = b**2 * rho**2 * (1 - rho**2)

    assert two["fvu_after"] == pytest.approx(of_variance(left, x), rel=1e-5)
    assert three["fvu_after"] == pytest.approx(of_variance(rho**2 * left, x), rel=1e-5)
    assert two["l0_after"] == three["l0_after"] == 2


def test_d5_weights_clamp_to_zero():
    """Signals with negative inner products everywhere get no codes: all of x is missing, and no NaN."""
    atoms = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    x = -(0.1 + draw(CONTEXTS, POSITIONS, 1, seed=16)).float() * atoms[0]
    found = pursued(atoms, x, 2)

    assert found["l0_after"] == 0
    assert found["fvu_after"] == pytest.approx(of_variance(x.square().sum(dim=2), x), rel=1e-6)
