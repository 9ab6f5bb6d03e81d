"""What a figure is drawn from, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from darkmatter.errors import DarkmatterError
from darkmatter.results.schema import MetricValue, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class NothingToDraw(DarkmatterError):  # noqa: N818 - it says what it is: no error, an answer
    """A figure has nothing to show; the message is the reason that the user sees."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """One picture, a ``matplotlib.figure.Figure``, with the words below it.

    ``caption`` says what is shown; on what it was measured is added to it. ``part`` tells the pictures of
    one figure apart where there are several.
    """

    figure: Canvas
    caption: str
    part: str = ""


@dataclass(frozen=True)
class Measured:
    """What one evaluator found on one SAE (or family).

    Everything comes from a file that anyone may have written: names pass through ``api.printable``
    before they are drawn, and tables and curves may lack what the evaluator's docstring promises.
    """

    name: str
    is_control: bool
    width: int
    l0: float | None
    metrics: Mapping[str, MetricValue] = field(repr=False)
    tables: Mapping[str, Any] = field(repr=False)
    curves: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, name: str, result: Result) -> Measured:
        """What a result holds, under the name that it has beside others."""
        metrics = {metric.name: metric for metric in result.metrics}
        sae = result.sae
        return cls(name, sae.is_control, sae.d_sae, sae.l0, metrics, result.tables, result.curves)

    def value(self, metric: str) -> float | None:
        """A metric's value; None where it is undefined or not there."""
        found = self.metrics.get(metric)
        return None if found is None else found.value


@dataclass(frozen=True)
class FigureResults:
    """Results of one hook point, one set of activations, one analysis, and one configuration each.

    Attributes:
        hook: the hook point.
        found: evaluator -> what it found, SAEs before controls, each in the natural order of names.
        options: the options in which these results differ from others of the folder, in words.
        data: what they were measured on, in words.
    """

    hook: str
    found: Mapping[str, tuple[Measured, ...]]
    options: str = ""
    data: str = ""

    def of(self, evaluator: str) -> tuple[Measured, ...]:
        """What an evaluator found; nothing where it did not run."""
        return self.found.get(evaluator, ())

    def by_name(self, evaluator: str) -> dict[str, Measured]:
        """The same, by the names of SAEs."""
        return {each.name: each for each in self.of(evaluator)}
