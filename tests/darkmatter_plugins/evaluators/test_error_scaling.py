"""Error norms predicted from other SAEs' error norms: closed forms, and least squares on whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split
from darkmatter.stats import Gram
from darkmatter_plugins.evaluators.error_scaling.collect import Predictions, Question, RoundOff

CONTEXTS, POSITIONS, D = 80, 50, 12


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(d: int = D, contexts: int = CONTEXTS, positions: int = POSITIONS) -> torch.Tensor:
    """Independent features: off, or uniform in (0, 1)."""
    shape = (contexts, positions, d)
    strength, on = torch.rand(shape, generator=generator(1)), torch.rand(shape, generator=generator(2))
    return strength * (on < 0.3)


def missing(error, width: int, d: int = D) -> dm.SAE:
    """An SAE of some width whose error on x is ``error(x)``."""
    return dm.SAE.from_functions(
        lambda x: torch.cat([x - error(x), x.new_ones(len(x), width - d)], dim=1),
        lambda codes: codes[:, :d],
        d_in=d,
        d_sae=width,
    )


def nested(known: int, d: int = D) -> dm.SAE:
    """An SAE that knows the first features exactly; its width is how many it knows."""
    basis = torch.eye(d)[:known]
    return dm.SAE.from_functions(lambda x: x @ basis.T, lambda c: c @ basis, d_in=d, d_sae=known)


def scaling(saes, x: torch.Tensor, *, chunk_rows: int = 4096, **options):
    """The family's metrics and result."""
    asked = {"error_scaling": options}
    results = dm.evaluate(saes, activations=x, evaluators=asked, chunk_rows=chunk_rows)
    frame = results.to_pandas().set_index("metric")
    assert set(frame.status) <= {"ok", "undefined"}, frame.reason
    return frame, results.stored[0].result


def test_c1_nested_saes_predict_each_other_by_the_share_of_features_both_lack():
    """R² of |e_B|² from |e_A|² is (d - m_B)/(d - m_A) where A knows m_A < m_B of d iid features."""
    frame, _ = scaling({"a": nested(2), "b": nested(6), "c": nested(9)}, features(), norm_power=2)

    assert frame.value["r2[a→b]"] == pytest.approx(6 / 10, abs=0.02)
    assert frame.value["r2[a→c]"] == pytest.approx(3 / 10, abs=0.03)
    assert frame.value["r2[b→c]"] == pytest.approx(3 / 6, abs=0.02)
    assert frame.value["r2.mean"] == pytest.approx(np.mean([0.6, 0.3, 0.5]), abs=0.02)
    # Their errors are linear in x, so that the nonlinear norm is round-off and may predict nothing.
    assert frame.value["r2_gain_nonlinear[a→c]"] == 0
    assert frame.ci_low["r2[a→b]"] < 0.6 < frame.ci_high["r2[a→b]"]


def test_c1_the_true_residual_norm_takes_all_of_the_remaining_variance():
    """With what is missing as a further regressor, nothing is left: the gain is 100 %."""
    w = features().flatten(0, 1).double().square()
    columns = torch.stack([w[:, 2:].sum(1), w[:, 6:].sum(1), w[:, 2:6].sum(1)], dim=1)
    questions = (Question("r2", (0,), 1), Question("r2'", (0, 2), 1))
    fitted = Predictions.fit(Gram.of(columns), questions, RoundOff(1.0, 1.0, 2))
    missed = fitted.residual(columns).square().sum(dim=0)

    assert float(missed[0] / (columns[:, 1] - columns[:, 1].mean()).square().sum()) > 0.3
    assert float(missed[1] / missed[0]) < 1e-20


def nonlinear(x: np.ndarray, error: np.ndarray, train: np.ndarray) -> np.ndarray:
    """N = e - b*x - c of every row, b* and c from the training rows."""
    rows = np.concatenate([np.ones_like(x[..., :1]), x], axis=-1)
    return error - rows @ np.linalg.lstsq(rows[train], error[train], rcond=None)[0]


def truth(errors: dict[str, np.ndarray], x: np.ndarray, train: np.ndarray, power: int) -> dict[str, float]:
    """Every metric of a family (narrow to wide) from whole arrays: e [contexts, positions, d]."""

    def fit(design, y):
        full = lambda rows: np.column_stack([np.ones(len(rows)), rows])
        solution = np.linalg.lstsq(full(design[train]), y[train], rcond=None)[0]
        return y[~train] - full(design[~train]) @ solution

    norm = lambda v: np.linalg.norm(v, axis=-1) ** power
    e = {name: norm(error) for name, error in errors.items()}
    n = {name: norm(nonlinear(x, error, train)) for name, error in errors.items()}
    names, found = list(errors), {}
    questions = {f"[{i}→{j}]": ([i], j) for k, j in enumerate(names) for i in names[:k]}
    questions[".next"] = (names[:-1], names[-1])
    for question, (given, j) in questions.items():
        plain = np.stack([e[i] for i in given], axis=-1)
        both = np.concatenate([plain, np.stack([n[i] for i in given], axis=-1)], axis=-1)
        spread = ((e[j][~train] - e[j][~train].mean()) ** 2).sum()
        missed, less = ((fit(design, e[j]) ** 2).sum() for design in (plain, both))
        r2, r2_both = 1 - missed / spread, 1 - less / spread
        found[f"r2{question}"] = r2
        found[f"r2_gain_nonlinear{question}"] = 100 * (r2_both - r2) / (1 - r2)
    return found


@pytest.mark.parametrize("power", [1, 2])
def test_a_family_of_three_widths_is_what_its_definition_says(power):
    """R², gain and next-width prediction equal whole-array least squares, whatever the names' order."""
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=generator(3)) + torch.linspace(0, 1, D)
    kinds = {
        "wide": (lambda v: torch.clamp(v, max=0), D + 9),
        "middle": (lambda v: torch.clamp(v, max=0.5) + 0.2 * v.roll(1, dims=-1).abs(), D + 5),
        "narrow": (lambda v: torch.sin(2 * v), D),
    }
    saes = {name: missing(error, width) for name, (error, width) in kinds.items()}
    frame, _ = scaling(saes, x, norm_power=power)
    train = make_split(tensor_activations(x)).train(0, CONTEXTS).numpy()
    exact = {name: kinds[name][0](x) for name in ("narrow", "middle", "wide")}
    errors = {name: (x - (x - e)).double().numpy() for name, e in exact.items()}
    expected = truth(errors, x.double().numpy(), train, power)

    assert len(expected) == 8
    for name, value in expected.items():
        assert frame.value[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert frame.ci_low["r2.next"] < frame.value["r2.next"] < frame.ci_high["r2.next"]


def test_members_stand_from_narrow_to_wide_then_by_l0():
    """Tables name members in order; r2 lies above the diagonal; pairs of one width are in no mean."""
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=generator(4)).abs()
    w = torch.randn(D, D, generator=generator(5))

    def topk(k: int, width: int) -> dm.SAE:
        return missing(
            lambda v: (v @ w).relu().topk(D - k, largest=False).values.sum(1, keepdim=True) * v, width
        )

    saes = {"b2": topk(2, D), "a_wide": topk(6, D + 4), "narrow_dense": missing(lambda v: 0.1 * v**2, D)}
    saes["sparse"] = dm.SAE.from_functions(lambda v: v * (v > 1), lambda c: c, d_in=D, d_sae=D)
    frame, result = scaling(saes, x, tokens=7)
    table = result.tables["r2"]

    assert table["names"][0] == "sparse"
    assert table["names"][-1] == "a_wide"
    assert table["l0s"] == sorted(table["l0s"][:3]) + table["l0s"][3:]
    assert table["widths"] == [D, D, D, D + 4]
    for i, row in enumerate(table["values"]):
        assert [value is None for value in row] == [j <= i for j in range(4)]
    above = [table["values"][i][3] for i in range(3)]
    assert frame.value["r2.mean"] == pytest.approx(np.mean(above), rel=1e-12)
    assert table["values"][0][3] == frame.value["r2[sparse→a_wide]"]
    assert result.tables["next"]["from"] == [table["names"][:3]]
    assert result.tables["next"]["r2"] == [frame.value["r2.next"]]


def test_curves_are_norms_of_consecutive_tokens():
    """|e|, |L| and |N| of the first held-out rows, with L + N = e."""
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=generator(6))
    relu = lambda v: torch.clamp(v, max=0)
    saes = {"a": missing(relu, D), "b": missing(lambda v: 0.5 * v, D + 1)}
    _, result = scaling(saes, x, tokens=70, chunk_rows=16)
    split = make_split(tensor_activations(x))
    rows = x[~split.train(0, CONTEXTS) & split.test(0, CONTEXTS)]
    curve = result.curves["error_norm[a]"]

    assert len(curve["x"]) == 70
    assert curve["position"] == [*range(POSITIONS), *range(70 - POSITIONS)]
    assert curve["y"] == pytest.approx(relu(rows[:70]).norm(dim=1).tolist(), rel=1e-5)
    assert result.curves["nonlinear_norm[b]"]["y"] == pytest.approx([0] * 70, abs=1e-5)
    assert result.curves["linear_norm[b]"]["y"] == pytest.approx(
        result.curves["error_norm[b]"]["y"], rel=1e-5
    )
    means = result.tables["members"]["mean_error_norm"]
    assert means == pytest.approx(
        [float(relu(rows).norm(dim=1).mean()), float(0.5 * rows.norm(dim=1).mean())]
    )


def test_equal_members_leave_nothing_to_gain():
    """Two SAEs with the same error: R² is 1, and the gain is undefined, not 0 and not 100."""
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=generator(7))
    relu = lambda v: torch.clamp(v, max=0)
    frame, _ = scaling({"a": missing(relu, D), "b": missing(relu, D + 1)}, x)

    assert frame.value["r2[a→b]"] == pytest.approx(1, abs=1e-12)
    assert frame.status["r2_gain_nonlinear[a→b]"] == "undefined"
    assert "R² is 1" in frame.reason["r2_gain_nonlinear[a→b]"]


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(
    "error", [torch.zeros_like, lambda v: torch.full_like(v, 0.3)], ids=["identity", "constant"]
)
def test_an_error_norm_that_does_not_vary_cannot_be_predicted(power, error):
    """Of an identity SAE, or a constant error, round-off in float32 is no variance: null with the reason."""
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=generator(8)) + 2
    saes = {"relu": missing(lambda v: torch.clamp(v, max=0), D), "still": missing(error, D + 1)}
    frame, _ = scaling(saes, x, norm_power=power)

    for metric in ("r2[relu→still]", "r2_gain_nonlinear[relu→still]", "r2.next", "r2_gain_nonlinear.next"):
        assert frame.status[metric] == "undefined"
        assert "does not vary" in frame.reason[metric]
    assert frame.status["r2.mean"] == "undefined"


def test_one_width_alone_has_no_next():
    """Members of one width are compared with each other, but none is the wider one."""
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=generator(9))
    saes = {"a": missing(lambda v: torch.clamp(v, max=0), D), "b": missing(torch.sin, D)}
    frame, _ = scaling(saes, x)

    assert frame.status["r2[a→b]"] == "ok"
    assert set(frame.reason[["r2.mean", "r2.next", "r2_gain_nonlinear.mean"]]) == {
        "all members have the same width"
    }


def test_r2_is_taken_on_held_out_rows():
    """Twelve unrelated errors on a few rows fit the training rows, and must fail on the others."""
    x = torch.randn(12, 4, D, generator=generator(10))

    def unrelated(seed: int):
        direction = 1e3 * torch.randn(D, 1, generator=generator(100 + seed))
        return lambda v: torch.sin(v @ direction).exp() * torch.ones(D)

    saes = {f"s{k:02}": missing(unrelated(k), D + k) for k in range(13)}
    frame, _ = scaling(saes, x)

    assert frame.value["r2.next"] < -0.2
    assert frame.value["r2_gain_nonlinear.next"] < 0


def test_gain_needs_more_training_rows_than_coefficients():
    """A fit of b* that leaves no nonlinear error on its own rows says nothing of it: undefined, not 0."""
    x = torch.randn(6, 4, 24, generator=generator(11))
    saes = {"a": missing(lambda v: torch.clamp(v, max=0), 24, 24), "b": missing(torch.sin, 25, 24)}
    frame, _ = scaling(saes, x)

    assert frame.status["r2[a→b]"] == "ok"
    assert frame.value[["r2_gain_nonlinear[a→b]", "r2_gain_nonlinear.next"]].isna().all()
    assert "25 coefficients" in frame.reason["r2_gain_nonlinear[a→b]"]
