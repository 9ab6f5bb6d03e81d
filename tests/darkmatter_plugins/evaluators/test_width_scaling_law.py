"""The law of the FVU in the width, on families of which everything is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split
from darkmatter.stats.resample import Resampler
from darkmatter.testing.synthetic import synthetic_saes
from darkmatter_plugins.evaluators.ratios import FunctionOfRatios
from darkmatter_plugins.evaluators.width_scaling_law.descriptor import WidthScalingLawConfig
from darkmatter_plugins.evaluators.width_scaling_law.members import take
from darkmatter_plugins.evaluators.width_scaling_law.power_law import fit_power_law

CONTEXTS, POSITIONS, D = 80, 50, 8
WIDTHS = (16, 32, 64, 128, 256)
C, A, M = 0.12, 0.8, 0.5


def activations() -> torch.Tensor:
    """Rows that are not Gaussian, with contexts that differ in size, about a mean."""
    generator = torch.Generator().manual_seed(0)
    size = torch.rand(CONTEXTS, 1, 1, generator=generator) + 0.5
    return size * torch.randn(CONTEXTS, POSITIONS, D, generator=generator) + 0.3


def held_out(x: torch.Tensor) -> torch.Tensor:
    return x[make_split(tensor_activations(x)).test(0, CONTEXTS)].double()


def missing(error, width: int, active: int = D) -> dm.SAE:
    """An SAE of some width and L0 (``active`` >= D) whose error on x is ``error(x)``."""
    pad = lambda x: torch.cat([x.new_ones(len(x), active - D), x.new_zeros(len(x), width - active)], dim=1)
    return dm.SAE.from_functions(
        lambda x: torch.cat([x - error(x) + 100, pad(x)], dim=1),
        lambda codes: codes[:, :D] - 100,
        d_in=D,
        d_sae=width,
    )


def on_the_law(x: torch.Tensor, widths=WIDTHS) -> dict[str, dm.SAE]:
    """SAEs that give (1 - s) x, with s such that FVU = C + A W^-M on the held-out rows."""
    rows = held_out(x)
    of_all = float(rows.square().sum() / (rows - rows.mean(dim=0)).square().sum())
    saes = {}
    for width in widths:
        s = ((C + A * width**-M) / of_all) ** 0.5
        saes[f"w{width}"] = missing(lambda v, s=s: s * v, width)
    return saes


def mixed(linear: dict[int, float], nonlinear: dict[int, float]) -> dict[str, dm.SAE]:
    """SAEs whose error is a share of x and a share of |x|, by width."""
    return {
        f"w{w}": missing(lambda v, w=w: linear[w] * v + nonlinear[w] * (v - 0.3).abs(), w) for w in linear
    }


def law(saes, x: torch.Tensor, **options):
    """The family's metrics and result."""
    results = dm.evaluate(saes, activations=x, evaluators={"width_scaling_law": options})
    frame = results.to_pandas().set_index("metric")
    assert set(frame.status) <= {"ok", "undefined"}, frame.reason
    return frame, results.stored[0].result


def test_c2_a_family_on_a_law_gives_the_law_back():
    """FVU made to follow c + a W^-m: all three are found, and both forecasts lie on the law."""
    x = activations()
    frame, result = law(on_the_law(x), x)

    assert frame.value["c"] == pytest.approx(C, abs=1e-5)
    assert frame.value["a"] == pytest.approx(A, rel=1e-4)
    assert frame.value["m"] == pytest.approx(M, abs=1e-4)
    assert frame.value["forecast.error"] == pytest.approx(0, abs=1e-5)
    assert frame.value["forecast.widest"] == pytest.approx(C + A * 256**-M, abs=1e-5)
    assert frame.value["forecast.next"] == pytest.approx(C + A * 512**-M, abs=1e-5)
    assert frame.value["share.linear"] == pytest.approx(C, abs=1e-5)
    assert frame.value["share.absent[w16]"] == pytest.approx(A * 16**-M, abs=1e-5)
    # The whole error is linear: what is left of N is round-off, of which no slope is taken.
    assert "round-off" in frame.reason["fvu_nonlinear_slope"]
    assert result.tables["flatness"]["verdict"] == "undecided"
    curve = result.curves["law"]
    assert curve["y"] == pytest.approx([C + A * w**-M for w in curve["x"]], abs=1e-5)
    assert curve["x"][-1] == pytest.approx(512)


def test_intervals_resample_the_contexts_of_all_members_together():
    """All members err by the same share of each context: however contexts are drawn, m is the same."""
    x = activations()
    frame, _ = law(on_the_law(x), x)
    width = frame.ci_high - frame.ci_low

    assert width["fvu[w16]"] > 1e-3
    assert width["m"] < 1e-4
    assert width["fvu_slope"] < 1e-6
    assert width["c"] > 1e-4


def test_fvus_are_those_of_the_other_evaluators():
    """FVU and FVU_nonlinear of each member are the numbers of reconstruction and error_decomposition."""
    x = activations()
    saes = mixed({w: w**-0.5 for w in WIDTHS}, dict.fromkeys(WIDTHS, 0.3))
    names = ["reconstruction", "error_decomposition", "width_scaling_law"]
    frame = dm.evaluate(saes, activations=x, evaluators=names).to_pandas()
    for fields in ("value", "ci_low", "ci_high"):
        value = frame.set_index(["sae", "metric"])[fields]
        for sae in saes:
            for metric in ("fvu", "fvu_nonlinear"):
                own = value["family:activations", f"{metric}[{sae}]"]
                assert own == pytest.approx(value[sae, metric], rel=1e-12)


def test_slopes_are_least_squares_of_the_logarithms():
    """Both slopes equal numpy's polyfit of the members' values."""
    x = activations()
    saes = mixed({w: w**-0.4 for w in WIDTHS}, {w: 0.3 * w**-0.1 for w in WIDTHS})
    frame, result = law(saes, x)
    members = result.tables["members"]
    for metric, values in (("fvu_slope", "fvu"), ("fvu_nonlinear_slope", "fvu_nonlinear")):
        slope = np.polyfit(np.log(members["widths"]), np.log(members[values]), 1)[0]
        assert frame.value[metric] == pytest.approx(slope, rel=1e-9)
    assert frame.value["fvu_nonlinear_slope"] == pytest.approx(-0.2, abs=1e-4)
    assert result.tables["flatness"]["verdict"] == "not flat"


def test_a_constant_nonlinear_error_is_flat_and_the_accounting_adds_up():
    """As in the paper's figure: absent + linear + nonlinear = FVU for every member, c above the nonlinear."""
    x = activations()
    linear = {w: (0.1 + 0.5 * w**-0.5) ** 0.5 for w in WIDTHS}
    frame, result = law(mixed(linear, dict.fromkeys(WIDTHS, 0.3)), x)
    table = result.tables["accounting"]

    assert result.tables["flatness"]["verdict"] == "flat"
    assert frame.value["share.nonlinear"] == pytest.approx(frame.value["fvu_nonlinear[w16]"], rel=1e-4)
    for fvu, absent in zip(table["fvu"], table["absent"], strict=True):
        assert absent + table["linear"] + table["nonlinear"] == pytest.approx(fvu, rel=1e-12)
    assert any("training seeds" in note for note in result.notes)


def test_a_negative_share_is_undefined_with_its_reason():
    """A nonlinear error that falls to nothing: c lies below its mean, and no share is clipped to 0."""
    x = activations()
    frame, result = law(mixed(dict.fromkeys(WIDTHS, 0.01), {w: w**-0.5 for w in WIDTHS}), x)

    assert frame.value["c"] < frame.value["fvu_nonlinear[w256]"]
    for metric in ("share.linear", "share.nonlinear"):
        assert frame.status[metric] == "undefined"
        assert "would be negative" in frame.reason[metric]
    assert result.tables["accounting"]["linear"] is None
    assert any("does not add up" in note for note in result.notes)


def test_an_fvu_that_rises_has_no_exponent():
    """Wider and worse: a constant law, m undefined; members below it have no negative absent share."""
    x = activations()
    frame, _ = law(mixed({w: w**0.1 for w in WIDTHS}, dict.fromkeys(WIDTHS, 0.1)), x)

    assert frame.value["a"] == 0
    assert "does not fall" in frame.reason["m"]
    assert "below c" in frame.reason["share.absent[w16]"]
    assert frame.value["share.absent[w256]"] > 0


def test_three_widths_are_too_few():
    """Undefined with the reason, not a failure; the members' FVUs are there all the same."""
    x = activations()
    frame, result = law(on_the_law(x, WIDTHS[:3]), x)

    assert result.status == "ok"
    assert frame.value["fvu[w64]"] == pytest.approx(C + A / 8, rel=1e-5)
    undefined = frame[frame.status == "undefined"]
    assert len(undefined) == 10
    assert set(undefined.reason) == {
        "needs 4 or more widths at about one L0; within 25% of L0 8 there are 3: 16, 32, 64"
    }


def test_members_at_another_l0_are_left_out_and_named():
    """Only members at about one L0 make the law; notes and table say who and why."""
    x = activations()
    saes = on_the_law(x) | {"dense": missing(lambda v: 0.01 * v, 512, active=16)}
    frame, result = law(saes, x)

    assert frame.value["m"] == pytest.approx(M, abs=1e-4)
    assert "fvu[dense]" not in frame.index
    assert result.tables["left_out"] == {"dense": "its L0 is 16"}
    assert result.notes[0].startswith("taken, one member per width within 25% of L0 8: w16, w32, w64")
    named, _ = law(saes, x, l0=16)
    assert "within 25% of L0 16 there are 1: 512" in named.reason["c"]
    nobody, _ = law(saes, x, l0=100)
    assert "there are 0: none" in nobody.reason["c"]


def member(name: str, width: int, l0: float):
    return SimpleNamespace(name=name, l0=l0, sae=SimpleNamespace(d_sae=width, reconstructs=True))


def test_of_each_width_the_member_nearest_in_l0_is_taken():
    """A second seed or architecture of one width does not count twice; ties go to the first name."""
    family = [
        member("b", 64, 16), member("a", 64, 16), member("near", 128, 15), member("far", 128, 13),
        member("c", 256, 16), member("other", 512, 40), member("none", 0, 16),
    ]  # fmt: skip
    taken = take(family, WidthScalingLawConfig())

    assert taken.l0 == 16
    assert [each.name for each in taken.members] == ["a", "near", "c"]
    assert set(taken.left_out) == {"b", "far", "other", "none"}
    assert "near" in taken.left_out["far"]
    assert take([member("empty", 0, 0)], WidthScalingLawConfig()).members == []
    everyone = take(family, WidthScalingLawConfig(l0=30, l0_tolerance=0.9))
    assert [each.name for each in everyone.members] == ["a", "near", "c", "other"]


def simulated(rng: np.random.Generator, units: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Sums of five members on the law per unit, and denominators: units differ, members share them."""
    widths = np.array(WIDTHS, dtype=float)
    denominator = rng.uniform(0.5, 1.5, units)
    shared = rng.standard_normal((units, 1))
    noise = 0.2 * shared + 0.1 * rng.standard_normal((units, len(widths)))
    return (C + A * widths**-M) * (1 + noise) * denominator[:, None], denominator


def test_intervals_of_the_law_cover_the_truth():
    """Of sixty simulated families, about 95% of the intervals of c and m hold the true values."""
    widths = np.array(WIDTHS, dtype=float)
    rng, inside = np.random.default_rng(1), {"c": 0, "m": 0}
    for run in range(60):
        sums = simulated(rng)
        resampler = Resampler(len(sums[1]), run, replicates=300)
        for name, true in (("c", C), ("m", M)):
            fit = lambda y, name=name: getattr(fit_power_law(widths, y), name)
            interval = resampler.interval(FunctionOfRatios(*sums, fit))
            inside[name] += interval.low <= true <= interval.high

    assert inside["c"] >= 50
    assert inside["m"] >= 50


def test_contributions_are_what_leaving_a_unit_out_changes():
    """The first-order contribution of a unit is, to second order, minus what its removal does."""
    widths = np.array(WIDTHS, dtype=float)
    statistic = FunctionOfRatios(
        *simulated(np.random.default_rng(2), 400), lambda y: fit_power_law(widths, y).c
    )
    linearised = statistic.linearised()
    without = statistic.at(1.0 - np.eye(400)) - statistic.at(np.ones((1, 400)))

    assert linearised.value == pytest.approx(float(statistic.at(np.ones((1, 400)))[0]), rel=1e-12)
    assert np.corrcoef(linearised.contributions, -without)[0, 1] > 0.999
    assert np.std(linearised.contributions) == pytest.approx(np.std(without), rel=0.02)


def test_contributions_at_an_edge_come_from_the_side_that_is_defined():
    """A function without a value on one side of the measured ratios has the slope of the other, not 0."""
    top = np.array([[1.0, 2.0], [3.0, 2.0]])
    statistic = FunctionOfRatios(top, np.ones(2), lambda y: np.where(y[:, 0] > 2, np.nan, y[:, 0]))

    assert statistic.linearised().contributions == pytest.approx([-0.5, 0.5], rel=1e-6)


def test_a_family_without_reconstructions_is_skipped():
    """Codes alone have no FVU, and the result says what is needed."""
    x = activations()
    family = {f"c{n}": synthetic_saes(x, seed=n)["codes_alone"] for n in range(4)}
    frame = dm.evaluate(family, activations=x, evaluators={"width_scaling_law": {}})
    (only,) = list(frame)

    assert only.status == "skipped"
    assert "an SAE that reconstructs" in only.reason
