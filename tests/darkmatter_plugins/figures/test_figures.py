"""Every built-in figure shows the numbers of its results."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

import darkmatter as dm
from darkmatter.figures.plot import plot
from darkmatter.plugins import host
from darkmatter.results.collection import ResultSet
from darkmatter.testing import check_figure
from darkmatter.testing.results import HOSTILE
from darkmatter.testing.synthetic import synthetic_activations, synthetic_saes
from darkmatter_plugins.figures import FIGURES
from darkmatter_plugins.figures.style import GREY, HATCH
from darkmatter_plugins.figures.style import PARTS as COLOURS

NAMES = [figure.name for figure in FIGURES]


def bar_lengths(axis, color=None, *, hatched=None):
    """Lengths of horizontal bars from top to bottom: all, or those of a colour, or (not) hatched."""
    found = [
        patch
        for patch in axis.patches
        if (color is None or color in {to_hex(patch.get_facecolor()), to_hex(patch.get_edgecolor())})
        and (hatched is None or (patch.get_hatch() == HATCH) is hatched)
    ]
    return [patch.get_width() for patch in sorted(found, key=lambda patch: patch.get_y())]


def lines(axis, color, marker="None"):
    """(x, y) of the lines of a colour and marker."""
    return [
        (list(line.get_xdata()), list(line.get_ydata()))
        for line in axis.lines
        if to_hex(line.get_color()) == color and line.get_marker() == marker
    ]


def close(found, expected):
    """Whether numbers are those that were put in, in any order."""
    return sorted(found) == pytest.approx(sorted(expected))


def test_width_law(drawn, made):
    """Points, intervals, law, its floor and the forecasts are those of the result."""
    (axis,) = drawn("width_law")[""]
    fvu, nonlinear = zip(*map(made.fvus, range(4)), strict=True)

    assert lines(axis, COLOURS["error"], "o") == [(list(made.widths[:4]), list(fvu))]
    assert lines(axis, COLOURS["nonlinear"], "s") == [(list(made.widths[:4]), list(nonlinear))]
    assert ([256.0, 1024.0, 4096.0], [0.31, 0.22, 0.15]) in lines(axis, COLOURS["error"])
    assert ([256, 256], pytest.approx([0.29, 0.31])) in lines(axis, COLOURS["error"])
    assert ([0, 1], [0.18, 0.18]) in [(list(x.get_xdata()), list(x.get_ydata())) for x in axis.lines]
    assert lines(axis, COLOURS["linear"], "D") == [([2048.0], [0.19]), ([4096.0], [0.17])]
    assert "0.18 + 3 W⁻⁰·⁵" in [text.get_text() for text in axis.get_legend().get_texts()]


def test_width_l0(drawn, made):
    """Every SAE is a point at the logarithms of its L0 and width, coloured by FVU and nonlinear FVU."""
    fvu, nonlinear, _ = drawn("width_l0")[""]
    where = [
        [math.log10(8 if name.endswith("k8") else 16), math.log2(w)]
        for name, w in zip(made.names, made.widths, strict=True)
    ]

    for axis, which in ((fvu, 0), (nonlinear, 1)):
        points = axis.collections[0]
        expected = {tuple(at): made.fvus(index)[which] for index, at in enumerate(where)}
        found = dict(zip(map(tuple, points.get_offsets().tolist()), points.get_array().tolist(), strict=True))
        assert found == pytest.approx(expected)
    assert [text.get_text() for text in fvu.get_xticklabels()] == ["8", "16"]
    assert len(fvu.collections) > 1, "five places that are not on a line are interpolated"


def test_concept_erasure(drawn, made):
    """A panel per SAE, a mark per method at its cost and score; what is undefined is left out."""
    axes = drawn("concept_erasure")[""][: len(made.names)]

    assert sorted(axis.get_title(loc="left") for axis in axes) == sorted(made.names)
    for axis in axes:
        index = made.names.index(axis.get_title(loc="left"))
        marks = {line.get_marker(): line for line in axis.lines if line.get_marker() != "None"}
        places = {mark: (*line.get_xdata(), *line.get_ydata()) for mark, line in marks.items()}
        assert places == {
            "x": (0.0, 0.9),
            "o": (0.01, 0.8 - 0.01 * index),
            "s": (0.05, 0.6),
            "D": (0.02, 0.55),
            "P": (0.03 + 0.01 * index, 0.5),
        }


def test_the_key_of_one_concept_erasure_fits_its_picture(drawn, made):
    """A picture of one panel is narrow; its key is no wider."""
    (axis,) = drawn("concept_erasure", ResultSet(list(made.per_sae("alone", 0))))[""]
    axis.figure.draw_without_rendering()
    (key,) = axis.figure.legends
    box = key.get_window_extent()

    assert box.x0 >= 0
    assert box.x1 <= axis.figure.bbox.x1


def test_a_few_saes_are_not_interpolated(drawn, made):
    """Without a second L0 there is no area: points with their names and values instead of colours."""
    few = [
        each
        for index in range(4)
        for each in made.per_sae(made.names[index], index, width=made.widths[index])
    ]
    axis = drawn("width_l0", ResultSet(few))[""][0]

    assert len(axis.collections) == 1
    assert "w256\n0.3" in [text.get_text() for text in axis.texts]


def test_fvu_l0(drawn, made):
    """SAEs are points, joined where they differ in L0 alone; a baseline is its curve without what is 0."""
    (axis,) = drawn("fvu_l0")[""]
    fvu = [made.fvus(index)[0] for index in range(4)]
    points = {
        tuple(line.get_ydata()): list(line.get_xdata()) for line in axis.lines if line.get_marker() == "o"
    }

    assert points == {(each,): [16.0] if index < 3 else [8.0] for index, each in enumerate(fvu)}
    ((x, y),) = lines(axis, "#202020")[:1]
    assert (x, y[:2]) == ([1.0, 8.0, 16.0], [0.9, 0.6])
    assert math.isnan(y[2])
    assert axis.get_xlim() == pytest.approx((4, 32))


def test_ce_fvu(drawn, made):
    """Every SAE and control is at its FVU and its CE increase; controls of one kind are joined."""
    (axis,) = drawn("ce_fvu")[""]
    fvu = [made.fvus(index)[0] for index in range(5)]

    ((x, y),) = lines(axis, COLOURS["linear"], "o")
    assert close(x, fvu)
    assert y == pytest.approx([each / 10 for each in x])
    assert lines(axis, "#202020", "D") == [([0.4, 0.6], [0.8, 1.2])]


def test_accounting(drawn, made):
    """The shares are stacked up to the FVU, and the encoder's is cut from the nonlinear error."""
    (axis,) = drawn("accounting")[""]
    heights = np.array([patch.get_height() for patch in axis.patches]).reshape(4, 4)
    fvu = [made.fvus(index)[0] for index in range(4)]

    assert heights[0] == pytest.approx([0.16] * 4)
    assert heights[1] == pytest.approx([0.01] * 4)
    assert heights[2] == pytest.approx([0.01] * 4)
    assert heights[3] == pytest.approx([each - 0.18 for each in fvu])


def test_accounting_without_pursuit(drawn, made):
    """The encoder's share stays in the nonlinear error where not every member was pursued."""
    entries = [*made.family(), *made.per_sae("w256", 0, width=256)]
    (axis,) = drawn("accounting", ResultSet(entries))[""]

    assert len(axis.patches) == 12
    assert [patch.get_height() for patch in axis.patches[:4]] == pytest.approx([0.17] * 4)


def test_accounting_of_a_nonlinear_error_that_width_lowers(drawn, made):
    """Where the paper's shares are undefined, bars are each SAE's own FVU, hatched where not pursued."""
    law, _, scaling = made.family()
    law.tables["accounting"].update(linear=None, nonlinear=None)
    (axis,) = drawn("accounting", ResultSet([law, scaling, *made.per_sae("w512", 1, width=512)]))[""]
    fvu, nonlinear = zip(*map(made.fvus, range(4)), strict=True)
    heights = np.array([patch.get_height() for patch in axis.patches]).reshape(3, 4)

    assert heights[0] == pytest.approx([nonlinear[0], nonlinear[1] - 0.01, *nonlinear[2:]])
    assert heights[1] == pytest.approx([0, 0.01, 0, 0])
    assert heights.sum(axis=0) == pytest.approx(fvu)
    assert [patch.get_hatch() for patch in axis.patches[:4]] == [HATCH, None, HATCH, HATCH]
    assert ([0, 0], pytest.approx([0.29, 0.31])) in lines(axis, "#202020")


def test_norm_test(drawn):
    """One point per SAE and vector with its interval, and controls apart in grey."""
    (axis,) = drawn("norm_test")[""]
    (at, found), *_ = lines(axis, COLOURS["nonlinear"], "o")

    assert close(found, [0.5, 0.49, 0.48, 0.47, 0.46])
    assert len(set(at)) == 5
    assert ([at[0], at[0]], pytest.approx([0.45, 0.55])) in lines(axis, COLOURS["nonlinear"])
    assert [y for _, y in lines(axis, GREY, "D")] == [[0.9], [0.88], [0.6], [0.8], [0.5 - 0.09]]
    assert not axis.collections


def test_many_saes_make_violins(drawn, made):
    """From eight SAEs on, the vectors whose R² differs have violins."""
    many = [each for index in range(8) for each in made.per_sae(f"sae{index}", index)]
    (axis,) = drawn("norm_test", ResultSet(many))[""]

    assert len(axis.collections) == 1


def test_norm_baselines(drawn):
    """Bars are means over SAEs, points the SAEs; what no SAE has is called undefined."""
    (axis,) = drawn("norm_baselines")[""]

    assert bar_lengths(axis, hatched=False) == pytest.approx([0.02, 0.12, 0.22, 0.32, 0.42, 0.52, 0.62])
    assert bar_lengths(axis, hatched=True) == pytest.approx([0.66])
    assert close([x for (x,), _ in lines(axis, "#202020", "o")][:5], [0.0, 0.01, 0.02, 0.03, 0.04])
    assert [text.get_text() for text in axis.texts] == ["undefined"]


def test_token_scaling(drawn):
    """Both matrices are those of the tables, without the SAE that predicts none or is predicted by none."""
    r2, gain, *_ = drawn("token_scaling")[""]
    expected = [[0.1 * i + 0.2 * j if i < j else math.nan for j in (1, 2, 3)] for i in (0, 1, 2)]

    for axis in (r2, gain):
        shown = axis.images[0].get_array().filled(math.nan)
        assert shown == pytest.approx(np.array(expected), nan_ok=True)
    assert [text.get_text() for text in r2.get_yticklabels()] == ["256", "512", "1024"]
    assert "0.70" in [text.get_text() for text in r2.texts]


def test_token_norms(drawn):
    """A line per member and part, the prediction dashed, and a mark where a context begins."""
    axes = drawn("token_norms")[""]

    for axis in axes:
        assert [line.get_ydata()[0] for line in axis.lines[:4]] == [1.0, 2.0, 3.0, 4.0]
        assert ([1.5, 1.5], [0, 1]) in lines(axis, "#707070")
    assert lines(axes[0], COLOURS["nonlinear"]) == [([0, 1, 2, 3], [1.1, 2.1, 2.9, 1.6])]


def test_ce_shares(drawn):
    """Shares of CE, FVU and norm; controls are hatched, and an undefined share has no bar."""
    ce, fvu, norm = drawn("ce_shares")[""]

    assert close(bar_lengths(ce, COLOURS["linear"]), [20.0, 21.0, 22.0, 23.0, 24.0])
    assert close(bar_lengths(ce, COLOURS["nonlinear"], hatched=False), [75.0, 76.0, 77.0, 78.0, 79.0])
    assert bar_lengths(ce, hatched=True) == [-12.0] * 5
    assert [text.get_text() for text in ce.texts] == ["undefined"] * 5
    (key,) = ce.figure.legends
    assert [text.get_text() for text in key.get_texts()] == [
        "linear error L",
        "nonlinear error N",
        "N of other tokens",
    ]
    assert close(bar_lengths(fvu, COLOURS["linear"]), [30.0, 31.0, 32.0, 33.0, 34.0])
    assert close(bar_lengths(norm, COLOURS["nonlinear"]), [90.0, 91.0, 92.0, 93.0, 94.0])
    assert ce.get_xlim()[0] < -12.0 < 100.0 < ce.get_xlim()[1]


def test_pursuit(drawn, made):
    """From the SAE's FVU (hollow) to that of pursued codes (filled), for both kinds."""
    fvu, nonlinear = drawn("pursuit")[""]
    before, after = zip(*[(made.fvus(i)[1], made.fvus(i)[1] - 0.01) for i in range(5)], strict=True)

    assert close([x for (x,), _ in lines(nonlinear, COLOURS["nonlinear"], "o")], after)
    assert close([x for (x,), _ in lines(nonlinear, "#8c8c8c", "o")], before)
    first = [made.fvus(0)[0], made.fvus(0)[0] - 0.02]
    assert first in [x for x, _ in lines(fvu, COLOURS["error"])]


def test_cross_layer(drawn, made):
    """One picture per SAE: R² of every source, FVU after it beside FVU before; controls are hatched."""
    pictures = drawn("cross_layer")
    r2, after = pictures["w512"]
    fvu, nonlinear = made.fvus(1)

    assert sorted(pictures) == sorted(made.names)
    assert bar_lengths(r2, COLOURS["linear"], hatched=False) == [0.2, 0.2]
    assert bar_lengths(r2, COLOURS["nonlinear"], hatched=True) == pytest.approx([0.3, 0.3])
    assert bar_lengths(after, COLOURS["error"], hatched=False) == [0.2, 0.25]
    assert bar_lengths(after, COLOURS["error"], hatched=True) == [0.29, 0.28]
    assert bar_lengths(after, COLOURS["nonlinear"]) == [0.11]
    assert ([fvu, fvu], [0, 1]) in lines(after, COLOURS["error"])
    assert ([nonlinear, nonlinear], [0, 1]) in lines(after, COLOURS["nonlinear"])


def test_synthetic_noise(drawn):
    """Curves over ablation, the grid over theory without undefined pairs, and correlations with theirs."""
    curve, grid, corr = drawn("synthetic_noise")["w512"][:3]

    assert lines(curve, COLOURS["nonlinear"], "o") == [([0.0, 50.0], [0.4, 0.37])]
    assert curve.get_title(loc="left") == "x noise 1, Sae noise 0.6"
    assert lines(grid, COLOURS["nonlinear"], "s") == [([0.0, 1.0, 0.25], [0.0, 1.0, 0.3])]
    assert bar_lengths(corr) == [0.9, -0.4, -0.1, 0.7]
    assert lines(corr, "#202020", "D") == [([0.98, -0.38, 0.78], [0, 1, 3])]


def test_one_share_of_ablated_latents_makes_no_curve(drawn, made):
    """A panel of a single point would have an axis without meaning."""
    *_, noise = made.per_sae("w256", 0)
    for curve in noise.curves.values():
        curve.update(x=curve["x"][:1], y=curve["y"][:1])
    axes = drawn("synthetic_noise", ResultSet([noise]))[""]

    assert [axis.get_title(loc="left") for axis in axes] == [
        "all pairs of levels",
        "correlation of level and part",
    ]


def test_error_saes(drawn):
    """Bars are means over seeds, points the seeds; beside them the scores with their intervals."""
    axis, scores = drawn("error_saes")[""]

    assert bar_lengths(axis, COLOURS["linear"]) == pytest.approx([0.51] * 5)
    assert [x for x, _ in lines(axis, "#202020", "o")][:2] == [[0.4, 0.42]] * 2
    assert bar_lengths(scores, COLOURS["linear"]) == pytest.approx([0.6] * 5)
    assert [0.54, 0.66] in [pytest.approx(x) for x, _ in lines(scores, "#202020")]


def test_one_training_seed_has_the_interval_of_its_text(drawn, made):
    """Without a spread over seeds the lines are those of the first seed's FVU, and no scores no panel."""
    one = made.result(
        "error_saes",
        "w256",
        [made.value("fvu_mean.linear", 0.5, interval=False), made.value("fvu.linear", 0.5)],
        tables={"saes": [{"part": "linear", "seed": 0, "fvu": 0.5}]},
    )
    (axis,) = drawn("error_saes", ResultSet([one]))[""]

    assert [x for x, _ in lines(axis, "#202020")] == [pytest.approx([0.45, 0.55])]


def test_error_saes_training(drawn):
    """A panel per SAE with every seed's curve."""
    axes = drawn("error_saes_training")[""]

    found = [y for _, y in lines(axes[0], COLOURS["nonlinear"])]
    assert found == [pytest.approx([0.9, 0.5, 0.6]), pytest.approx([0.9, 0.5, 0.62])]


def test_autointerp(drawn):
    """Bars are the scores of SAEs and controls, diamonds the control, and AUROC has its own panel."""
    scores, detection = drawn("autointerp")[""]
    index = [0, 1, 2, 3, 4, 9]

    for color, score in ((COLOURS["linear"], 0.9), ("#56b4e9", 0.6), (COLOURS["error"], 0.8)):
        assert close(bar_lengths(scores, color), [score - 0.02 * i for i in index])
    ((unrelated, _),) = lines(scores, COLOURS["nonlinear"], "D")
    assert close(unrelated, [0.05 - 0.02 * i for i in index])
    assert close(bar_lengths(detection), [0.95 - 0.1 * i for i in index])


def test_feature_sizes(drawn):
    """A panel per SAE: points, running mean, equality and the two numbers."""
    axes = drawn("feature_sizes")[""]

    assert lines(axes[1], "#56b4e9", ".") == [([1.0, 2.0, 4.0], [0.5, 2.5, 3.5])]
    assert lines(axes[1], COLOURS["nonlinear"]) == [([1.0, 2.0, 4.0], [0.5, 2.5, 3.5])]
    assert axes[1].get_title(loc="left") == "w512\nr 0.70, slope 1.20"


def test_density(drawn):
    """Counts as shares of all latents, the silent ones included."""
    axes = drawn("density")[""]

    assert list(axes[2].patches[0].get_data().values) == pytest.approx([1 / 12, 2 / 12, 3 / 12, 2 / 12])
    assert axes[2].texts[0].get_text() == "4 of 12\nnever fire"


def test_dictionary_similarity(drawn):
    """Rows are looked for in columns, controls have no column; the second map is the excess."""
    whole, excess = drawn("dictionary_similarity")[""]
    (image,), (beyond,) = whole.images, excess.images
    values = image.get_array()

    assert [label.get_text() for label in whole.get_yticklabels()] == ["w256", "w512", "pca"]
    assert [label.get_text() for label in whole.get_xticklabels()] == ["w256", "w512"]
    assert values[0, 1] == pytest.approx(0.8)
    assert values[1, 0] == pytest.approx(0.6)
    assert values[2, 0] == pytest.approx(0.3)
    assert values.mask[0, 0]
    assert beyond.get_array()[0, 1] == pytest.approx(0.5)


def written(results, figures, formats=("svg",)):
    """Files by name, and outcomes by figure."""
    files = {}
    outcomes = {each.name: each for each in plot(ResultSet(results), figures, formats, files.__setitem__)}
    return files, outcomes


@pytest.fixture(scope="module")
def hostile(made):
    """Results under names with formulas, markup, escapes and direction marks."""
    mark = "\x1b[31m\u202e$\\nope{$ " + HOSTILE
    return list(made.everything(lambda name: f"{mark} {name}", count=2))


@pytest.fixture(scope="module")
def files(hostile):
    """All figures of them."""
    found, outcomes = written(hostile, host().figures())
    assert set(outcomes) >= set(NAMES)
    assert {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason} == {}
    return found


def test_hostile_names_are_drawn_as_text(files):
    """What stands in names shows as harmless text in every figure."""
    for name, content in files.items():
        text = content.decode()
        assert not any(char in text for char in "\x1b\x07\u202e"), name
        assert "<b>" not in text, name
        assert "/" not in name
        assert not name.startswith(".")
    assert any(r"$\nope{$" in content.decode() for content in files.values())


def test_the_same_results_give_the_same_bytes(files, hostile, made):
    """Nothing in a file depends on the clock, on memory or on chance, in any format."""
    assert written(hostile, host().figures())[0] == files
    one, formats = {"width_law": host().figures()["width_law"]}, ("png", "pdf")
    binary, _ = written(made.family(), one, formats)
    assert written(made.family(), one, formats)[0] == binary
    assert [content[1:4] for content in binary.values()] == [b"PNG", b"PDF"]


def test_what_is_undefined_is_said(made):
    """A figure whose numbers are all undefined gives the reason that stands in the results."""
    nothing = made.result("width_scaling_law", "family:x", [made.value("c", None)])
    figures = {name: host().figures()[name] for name in ("width_law", "accounting", "token_norms")}
    _, outcomes = written([nothing], figures)

    assert outcomes["width_law"].reason == "c is undefined: c has no value here"
    assert outcomes["accounting"].reason == "c is undefined: c has no value here"
    assert outcomes["token_norms"].reason == "needs results of error_scaling"


def test_many_saes_go_to_several_pictures(made):
    """No panel holds more than twenty SAEs, and none is lost."""
    many = [each for index in range(21) for each in made.per_sae(f"sae{index}", 0)]
    figures = {"pursuit": host().figures()["pursuit"]}
    files, _ = written(many, figures)

    assert sorted(files) == [f"pursuit-{made.hook}-part{part}.svg" for part in (1, 2)]


def test_feature_editing(drawn):
    """KL left over log2(1 + features) and over the edit, with bands, and what the hook point can do."""
    by_number, by_edit = drawn("feature_editing")[""]
    last = [0.4 - 0.05 * index for index in range(5)]

    assert [list(line.get_xdata()) for line in by_number.lines[:5]] == [[0, 1, math.log2(3)]] * 5
    assert close([line.get_ydata()[2] for line in by_number.lines[:5]], last)
    assert [list(line.get_xdata()) for line in by_edit.lines[:5]] == [[0, 1, 1.5]] * 5
    assert list(by_edit.lines[5].get_ydata()) == pytest.approx([0.1, 0.1])
    assert len(by_number.collections) == 5
    assert [label.get_text() for label in by_number.get_xticklabels()] == ["0", "1", "2"]


def test_feature_editing_shows_controls_in_every_picture(drawn, made):
    """Eight SAEs a picture, controls with broken lines beside them all."""
    saes = [each for index in range(9) for each in made.per_sae(f"sae{index}", 0)]
    pictures = drawn("feature_editing", ResultSet([*saes, *made.per_sae("pca", 1, control=True)]))

    assert sorted(pictures) == ["part1", "part2"]
    for by_number, _ in pictures.values():
        assert [line.get_label() for line in by_number.lines if line.get_linestyle() == "--"] == ["pca"]


@pytest.fixture(scope="module")
def measured():
    """What the evaluators themselves write, on synthetic activations."""
    data = synthetic_activations(contexts=30)
    saes = {name: sae for name, sae in synthetic_saes(data["x"]).items() if name in {"relu", "topk", "pca"}}
    drawn = {name for figure in FIGURES for name in (*figure.evaluators, *figure.uses)}
    quick = {"error_saes": {"steps": 4, "width": 8, "k": 2, "batch": 16, "seeds": 2, "latents": 0}}
    wanted = {name: quick.get(name, {}) for name in host().evaluators() if name in drawn}
    return dm.evaluate(
        saes, activations=data["x"], tokens=data["tokens"], loss=data["loss"], evaluators=wanted
    )


@pytest.mark.parametrize("name", NAMES)
def test_figures_read_what_evaluators_write(measured, name):
    """The names of metrics, tables and curves are those of the evaluators, wherever these can run."""
    figure = host().figures()[name]
    ran = {result.evaluator.name for result in measured if result.status == "ok"}
    outcome = next(plot(measured, {name: figure}, (), print))

    assert "could not be drawn" not in outcome.reason
    if set(figure.evaluators) <= ran and not outcome.reason:
        assert outcome.pictures


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_conforms(made, name):
    """Whatever results lack and whatever names hold, it draws or says why not, and leaves nothing behind."""
    figure = host().figures()[name]
    needed = (*figure.evaluators, *figure.uses)
    given = [each for each in made.everything(count=2) if each.evaluator.name in needed]
    assert check_figure(name, results=given) == ()


def test_pareto(drawn, made):
    """The front is filled and named, what another SAE dominates is hollow, at L0 and value of its result."""
    fvu, nonlinear = drawn("pareto")[""]

    for axis, which, colour in ((fvu, 0, COLOURS["error"]), (nonlinear, 1, COLOURS["nonlinear"])):
        values = [made.fvus(index)[which] for index in range(5)]
        assert lines(axis, colour, "o") == [([8.0], [values[4]])]
        assert sorted(lines(axis, GREY, "o")) == sorted(([16.0], [value]) for value in values[:4])
        assert ([8.0, 8.0], pytest.approx([0.9 * values[4], 1.1 * values[4]])) in lines(axis, colour)
        assert [text.get_text() for text in axis.texts] == ["w1024-k8"]


def test_the_front_goes_down_with_more_latents(drawn, made):
    """Of equal L0s the lower value is on the front, and a larger L0 only where it is lower still."""
    at = {"a": (8.0, 0.3), "b": (16.0, 0.2), "c": (16.0, 0.25), "d": (32.0, 0.2), "e": (64.0, 0.1)}
    results = [made.result("reconstruction", name, [("fvu", fvu)], l0=l0) for name, (l0, fvu) in at.items()]
    (axis,) = drawn("pareto", ResultSet(results))[""]

    assert [text.get_text() for text in axis.texts] == ["a", "b", "e"]


def test_equal_saes_share_the_front(drawn, made):
    """Of two that are equal neither is hollow, as in `table --pareto`."""
    results = [made.result("reconstruction", name, [("fvu", 0.3)], l0=8.0) for name in ("a", "b")]
    (axis,) = drawn("pareto", ResultSet(results))[""]

    assert [text.get_text() for text in axis.texts] == ["a", "b"]
