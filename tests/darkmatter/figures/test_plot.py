"""Which results stand in one picture, what is said below it, and what a broken figure breaks."""

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure as Canvas

from darkmatter import api
from darkmatter.figures.plot import plot
from darkmatter.results.collection import ResultSet
from darkmatter.testing.results import HOSTILE, sample_result


def dots(results):
    """A figure of the tests: every value of fvu as a point."""
    figure = Canvas(figsize=(4, 2))
    axis = figure.subplots()
    for row, each in enumerate(results.of("reconstruction")):
        axis.plot([each.value("fvu")], [row], "o", label=each.name)
    axis.set_title("fvu of $\\all_{$")
    yield api.Drawing(figure, "Points are SAEs")


def figure(draw=dots, *, evaluators=("reconstruction",), uses=()):
    """A descriptor of a figure."""
    return api.Figure("dots", "for tests", draw, evaluators=evaluators, uses=uses)


def outcome(entries, drawn=None, formats=()):
    """What becomes of one figure, and its files."""
    files = {}
    found = next(plot(ResultSet(entries), {"dots": drawn or figure()}, formats, files.__setitem__))
    return found, files


def test_what_was_measured_on_stands_below():
    """The caption holds the figure's words, where it was measured, on what, and on how many rows."""
    found, _ = outcome([sample_result(analysis={"test_rows": 9000, "units": "155 documents", "seed": 3})])
    (caption,) = found.pictures.values()

    assert caption == (
        "Points are SAEs. Measured at blocks.2.hook_resid_post: model tiny, text stories.jsonl, 150 "
        "contexts, 9000 held-out rows, intervals over 155 documents, seed 3, reconstruction on 6000 "
        "held-out rows."
    )


def test_hook_points_and_data_have_pictures_of_their_own():
    """What cannot be compared never stands in one picture."""
    other = {"key": "d" * 32, "model": "tiny", "text": "other.jsonl"}
    found, _ = outcome(
        [
            sample_result("a"),
            sample_result("a", cache=other),
            sample_result("a", hook="blocks.0.hook_resid_post"),
        ]
    )

    assert list(found.pictures) == [
        "dots-blocks.0.hook_resid_post",
        "dots-blocks.2.hook_resid_post",
        "dots-blocks.2.hook_resid_post-2",
    ]
    assert "other.jsonl" in found.pictures["dots-blocks.2.hook_resid_post-2"]


def test_transcoders_have_pictures_of_their_own():
    """What reads one hook point and explains others never stands in one picture."""
    found, _ = outcome([sample_result("s"), sample_result("t", hook_out="blocks.2.hook_mlp_out")])

    assert len(found.pictures) == 2
    assert any(
        "Measured at blocks.2.hook_resid_post → blocks.2.hook_mlp_out" in each
        for each in found.pictures.values()
    )


def test_configurations_are_not_mixed():
    """Each has a picture that names the option in which it differs."""
    found, _ = outcome([sample_result("a", config={"bias": bias}) for bias in (True, False)])

    assert ["Options: reconstruction (bias=false)." in text for text in found.pictures.values()] == [
        True,
        False,
    ]
    assert ["Options: reconstruction (bias=true)." in text for text in found.pictures.values()] == [
        False,
        True,
    ]


def test_controls_come_last_in_natural_order():
    """SAEs are sorted as people count, controls behind them."""
    seen = []

    def draw(results):
        seen.extend(each.name for each in results.of("reconstruction"))
        return []

    entries = [sample_result(name) for name in ("w1024", "w256")]
    outcome([sample_result("pca", is_control=True), *entries], figure(draw))

    assert seen == ["w256", "w1024", "pca"]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "needs results of reconstruction and density"),
        ([sample_result("a")], "needs results of density"),
        (
            [
                sample_result("a"),
                sample_result("a", metrics={}, evaluator="density", status="skipped", reason="needs a model"),
            ],
            "density skipped: needs a model",
        ),
    ],
)
def test_what_is_missing_is_said(entries, reason):
    """A figure without its results says which are missing, or why there are none."""
    found, _ = outcome(entries, figure(evaluators=("reconstruction", "density")))

    assert (found.pictures, found.reason) == ({}, reason)


def test_what_a_figure_may_use_it_may_lack():
    """Results of ``uses`` are handed over where they are there."""
    seen = []

    def draw(results):
        seen.append(len(results.of("density")))
        return []

    optional = figure(draw, uses=("density",))
    outcome([sample_result("a")], optional)
    outcome([sample_result("a"), sample_result("a", {"dead": 1.0}, evaluator="density")], optional)

    assert seen == [0, 1]


def test_a_broken_figure_breaks_nothing_else():
    """What a plugin raises becomes a reason; the next figure is drawn."""

    def broken(results):
        yield from dots(results)
        raise KeyError(results.hook)

    found = list(plot(ResultSet([sample_result()]), {"broken": figure(broken), "dots": figure()}, (), print))

    assert found[0].reason == "could not be drawn: KeyError: 'blocks.2.hook_resid_post'"
    assert [len(each.pictures) for each in found] == [0, 1]


def test_the_users_settings_neither_matter_nor_change():
    """A matplotlibrc of the user changes no byte, and drawing leaves it as it was."""
    _, plain = outcome([sample_result()], formats=("svg",))
    with mpl.rc_context({"font.size": 31, "text.usetex": True, "svg.hashsalt": None}):
        before = dict(mpl.rcParams)
        _, other = outcome([sample_result()], formats=("svg",))
        assert dict(mpl.rcParams) == before

    assert plain == other


def test_no_text_is_a_formula():
    """Signs of formulas in names and captions are drawn as they are, and control characters are not."""
    _, files = outcome([sample_result(HOSTILE, config={"note": "$\\frac{"})], formats=("svg",))
    (content,) = files.values()

    assert rb"fvu of $\all_{$" in content
    assert b"\x1b" not in content
    assert b"<b>" not in content
