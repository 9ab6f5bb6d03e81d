"""check_figure finds each way in which a figure can be wrong, and says how to mend it."""

import itertools
import warnings
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from darkmatter import api
from darkmatter.testing import check_figure
from darkmatter.testing.altered import STRANGE, altered, renamed
from darkmatter.testing.results import sample_result

COUNTER = itertools.count()


def dots(results, *, title="", name=api.printable, canvas=Canvas, caption="Points are SAEs."):
    """A good figure: every value of fvu as a point."""
    known = [each for each in results.of("reconstruction") if each.value("fvu") is not None]
    if not known:
        reason = "fvu is undefined"
        raise api.NothingToDraw(reason)
    figure = canvas(figsize=(4, 2))
    axis = figure.subplots()
    for row, each in enumerate(known):
        axis.plot([each.value("fvu")], [row], "o", label=name(each.name)[:30])
    axis.legend()
    axis.set_title(title)
    yield api.Drawing(figure, caption)


def figure(draw=dots, evaluators=("reconstruction",)):
    """A descriptor of a figure."""
    return api.Figure("dots", "for tests", draw, evaluators=evaluators)


def given():
    """Results of two SAEs and a control."""
    tables = {"names": ["mine"], "other[mine]": {"mine": 1}}
    return [
        sample_result("mine", tables=tables, curves={"norm[mine]": {"x": [1, 2], "y": [3.0, 4.0]}}).result,
        sample_result("yours").result,
        sample_result("pca", is_control=True).result,
    ]


def test_a_good_figure_passes():
    """On results that it is given, and on those of its evaluators on synthetic activations."""
    assert check_figure(figure(), results=given()) == ()
    assert check_figure(figure()) == ()


def test_what_cannot_be_measured_here_is_said():
    """Without results, and with evaluators that find nothing on synthetic activations, nothing is checked."""
    assert check_figure(figure(evaluators=("nowhere",))) == ("not drawn: needs results of nowhere",)


def changes(results):
    """Changes a table that others will draw."""
    for each in results.of("reconstruction"):
        each.tables["mine"] = 1
    yield from dots(results)


def opens(results):
    """Reads a file beside it."""
    Path(__file__).read_text(encoding="utf-8")
    yield from dots(results)


def warns(results):
    """Tells the user what the user cannot change."""
    warnings.warn("a tick is odd", stacklevel=1)
    yield from dots(results)


def prints(results):
    """Writes to stdout."""
    print("drawing")
    yield from dots(results)


def never(results):
    """Has a reason for everything."""
    reason = "not today"
    raise api.NothingToDraw(reason)


def trusts(results):
    """Takes every value for defined."""
    assert all(each.value("fvu") < 1 for each in results.of("reconstruction"))
    yield from dots(results)


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (never, "draws results that have what it needs"),
        (lambda results: dots(results) if results.of("reconstruction")[0].value("fvu") else [], "a reason"),
        (trusts, "TypeError"),
        (lambda results: [1], "it gave int"),
        (lambda results: [api.Drawing(plt, "Its module.")], "a Drawing of module"),
        (lambda results: dots(results, caption=" "), "without a caption"),
        (lambda results: dots(results, title=str(next(COUNTER))), "the same bytes"),
        (changes, "does not change results"),
        (opens, r"opened \['.*test_check_figure.py'\]"),
        (warns, "a tick is odd"),
        (prints, "prints nothing"),
        (lambda results: dots(results, name=str), "No control or direction"),
    ],
)
def test_a_bad_figure_is_found_out(draw, says):
    """Each fault of a figure is named."""
    with pytest.raises(AssertionError, match=says):
        check_figure(figure(draw), results=given())


def test_a_figure_that_stays_open_is_found_out():
    """What pyplot makes stays in memory until it is closed."""
    try:
        with pytest.raises(AssertionError, match="stays open in pyplot"):
            check_figure(figure(lambda results: dots(results, canvas=plt.figure)), results=given())
    finally:
        plt.close("all")


def test_names_are_changed_wherever_they_stand():
    """In records, metrics, tables and curves; words that merely hold a name stay."""
    mine, *_ = renamed(given(), lambda name: f"<{name}>")

    assert mine.sae.name == "<mine>"
    assert mine.tables == {"names": ["<mine>"], "other[<mine>]": {"<mine>": 1}}
    assert list(mine.curves) == ["norm[<mine>]"]
    assert [metric.name for metric in mine.metrics] == ["fvu"]


def test_what_a_figure_meets():
    """One SAE alone, skipped and failed ones beside, undefined metrics, null, missing tables."""
    found = list(altered(given()).values())

    assert [each.sae.name for each in found[0]] == ["mine"]
    assert [each.status for each in found[1]] == ["ok"] * 3 + ["skipped", "failed"]
    assert all(each.sae.name.startswith(STRANGE) for each in found[1][:3])
    assert found[2][0].metrics[0].value is None
    assert found[2][0].curves["norm[mine]"] == {"x": [1, 2], "y": [None, 4.0]}
    assert all(metric.value is None for each in found[3] for metric in each.metrics)
    assert all(each.tables == each.curves == {} for each in found[4])
