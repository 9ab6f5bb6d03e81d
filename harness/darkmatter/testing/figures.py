"""Whether a figure draws whatever results hold, says why where it does not, and leaves nothing behind."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import io
import os
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree as ET

from darkmatter.descriptors import Figure
from darkmatter.figures.measured import Drawing, FigureResults, NothingToDraw
from darkmatter.figures.plot import Outcome, plot
from darkmatter.plugins import host
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import Result
from darkmatter.testing.altered import altered
from darkmatter.testing.rules import default_config, descriptor_of, other_seed, require, undisturbed
from darkmatter.testing.runs import run_evaluators
from darkmatter.testing.synthetic import synthetic_activations, synthetic_saes


def check_figure(figure: Figure | str, *, results: Iterable[Result] | None = None) -> tuple[str, ...]:
    """Raise AssertionError unless a figure conforms; returns what could not be checked here.

    It must draw the results; also where values are undefined, null or missing, beside skipped and
    failed results, from one SAE alone, and under names that hold markup, formulas and control
    characters, it draws or says with ``NothingToDraw`` why not. The same results give the same bytes
    of SVG. It warns of nothing, opens no file, changes no result, and leaves no figure in pyplot.

    Args:
        figure: a descriptor, or the name of an installed one (then imports are checked too).
        results: what to draw; default: what the evaluators that the figure names find with their
            default options on small seeded activations. Those that need more than these (a model,
            other hook points) give nothing there: pass results of your own.
    """
    described = descriptor_of("figures", figure, Figure)
    given = _measured(described) if results is None else [*results]
    with undisturbed(f"the figure {described.name!r}", first=True):
        first = _Try.of(described, "small results", given)
        if results is None and not first.files and first.outcome.reason:
            return (f"not drawn: {first.outcome.reason}",)
        _check(first)
        require(
            bool(first.files),
            "A figure draws results that have what it needs.",
            f"{first.where}: nothing; {first.outcome.reason}",
            "compare the names of metrics, tables and curves with the evaluator's docstring.",
        )
        tries = [first, *(_Try.of(described, what, each) for what, each in altered(given).items())]
        with other_seed():
            again = _Try.of(described, "small results", [each.model_copy(deep=True) for each in given])
    for each in tries:
        _check(each)
    require(
        again.files == first.files,
        "The same results give the same bytes.",
        f"{first.where}: {[name for name in first.files if again.files.get(name) != first.files[name]]}",
        "no clock, no global random state; iterate over sorted things, not over sets.",
    )
    return ()


def _measured(figure: Figure) -> list[Result]:
    """What the figure's evaluators find on synthetic activations."""
    offered, data = host().evaluators(), synthetic_activations()
    data.pop("y")
    kinds = ("relu", "topk", "pca")
    saes = {name: sae for name, sae in synthetic_saes(data["x"]).items() if name in kinds}
    wanted = [offered[name] for name in (*figure.evaluators, *figure.uses) if name in offered]
    chosen = [(evaluator, default_config(evaluator, None)) for evaluator in wanted]
    return [stored.result for stored in run_evaluators(chosen, data, saes).values()]


@dataclass
class _Try:
    """What a figure made of some results."""

    where: str
    outcome: Outcome = field(default_factory=lambda: Outcome(""))
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    changed: bool = False
    kept_open: bool = False

    @staticmethod
    def of(figure: Figure, what: str, results: list[Result]) -> _Try:
        """Draw them the way ``darkmatter plot`` does, and keep all that shows."""
        found = _Try(f"the figure {figure.name!r} on {what}")
        watched = dataclasses.replace(figure, implementation=found.watching(figure.resolve()))
        before, pyplot = [each.model_dump_json() for each in results], _pyplot_figures()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            # Of what matplotlib itself will once change its user need not know.
            for category in (DeprecationWarning, PendingDeprecationWarning):
                warnings.simplefilter("ignore", category)
            # What the font lacks shows as boxes; the host says nothing of it either.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            one = {figure.name: watched}
            (found.outcome,) = plot(ResultSet(results), one, ("svg",), found.files.__setitem__)
        found.warned = [str(warning.message) for warning in said]
        found.changed = before != [each.model_dump_json() for each in results]
        found.kept_open = _pyplot_figures() != pyplot
        return found

    def watching(self, draw: Any) -> Any:
        """The figure's function; what it opens, raises, and gives instead of drawings is kept."""

        def watched(results: FigureResults) -> list[Drawing]:
            try:
                with _noting_files(self.opened):
                    drawings = list(draw(results))
            except NothingToDraw:
                raise
            except Exception:
                self.faults.append(traceback.format_exc())
                raise
            found = [fault for fault in map(_fault, drawings) if fault]
            self.faults += found
            return [] if found else drawings

        return watched


def _fault(drawing: object) -> str:
    """What is wrong with what should be a drawing; empty where nothing is."""
    from matplotlib.figure import Figure as Canvas

    if not isinstance(drawing, Drawing):
        return f"it gave {type(drawing).__name__}"
    figure: object = drawing.figure
    if not isinstance(figure, Canvas):
        return f"it gave a Drawing of {type(figure).__name__}"
    return "" if drawing.caption.strip() else "it gave a Drawing without a caption"


def _pyplot_figures() -> list[int]:
    pyplot = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else list(pyplot.get_fignums())


@contextlib.contextmanager
def _noting_files(opened: list[str]) -> Iterator[None]:
    """Whatever is opened inside is noted, but for what matplotlib brings, such as fonts."""
    import matplotlib as mpl

    own = (mpl.get_data_path(), mpl.get_cachedir(), mpl.get_configdir())
    real = {builtins: builtins.open, io: io.open, os: os.open}

    def noting(function: Any) -> Any:
        def noted(file: Any, *arguments: Any, **named: Any) -> Any:
            if not isinstance(file, int) and not str(Path(os.fsdecode(file)).absolute()).startswith(own):
                opened.append(os.fsdecode(file))
            return function(file, *arguments, **named)

        return noted

    with contextlib.ExitStack() as stack:
        for module, function in real.items():
            stack.enter_context(mock.patch.object(module, "open", noting(function)))
        yield


def _check(each: _Try) -> None:
    """All rules that hold for every set of results."""
    require(
        not each.faults,
        "A figure yields api.Drawing objects with a caption, or says why there is nothing to draw.",
        f"{each.where}: {each.faults[:1]}",
        "metrics, tables and curves may be undefined or missing: raise api.NothingToDraw(reason) then.",
    )
    require(
        bool(each.files or each.outcome.reason),
        "Where nothing is drawn there is a reason.",
        f"{each.where}: neither",
        "raise api.NothingToDraw('why').",
    )
    require(
        not each.warned,
        "A figure warns of nothing.",
        f"{each.where}: {each.warned[:1]}",
        "cut names, which may be long, and leave out what has no value.",
    )
    require(
        not each.opened,
        "A figure is a function of results: it opens no file.",
        f"{each.where} opened {each.opened[:3]}",
        "draw from what FigureResults holds; let the evaluator put more into tables and curves.",
    )
    require(
        not each.changed,
        "A figure does not change results: other figures share them.",
        each.where,
        "work on copies.",
    )
    require(
        not each.kept_open,
        "No figure stays open in pyplot, which keeps all of them in memory.",
        each.where,
        "make a matplotlib.figure.Figure instead of using pyplot.",
    )
    for name, content in each.files.items():
        _check_text(f"{each.where}, {name}", content.decode())


def _check_text(where: str, text: str) -> None:
    hidden = sorted({char for char in text if char != "\n" and unicodedata.category(char) in {"Cc", "Cf"}})
    require(
        not hidden,
        "No control or direction character of a name reaches a page.",
        f"{where} lets through {hidden}",
        "pass names through darkmatter.api.printable.",
    )
    ET.fromstring(text)  # noqa: S314 - written by matplotlib a moment ago
