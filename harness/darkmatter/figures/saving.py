"""From a drawing to the bytes of a file: one look, the same bytes each time, nothing global changed."""

from __future__ import annotations

import contextlib
import io
import textwrap
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from darkmatter.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from darkmatter.figures.measured import Drawing

FORMATS: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "darkmatter"},
    "png": {"Software": "darkmatter"},
    "pdf": {"CreationDate": None, "Creator": "darkmatter", "Producer": None},
}
"""Formats of files and the metadata that they would otherwise differ in."""

LOOK: Any = {
    "text.parse_math": False,  # names hold $ signs, which are no formulas
    "text.usetex": False,
    "svg.hashsalt": "darkmatter",
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#606060",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.8,
    "lines.linewidth": 1.5,
    "savefig.dpi": 200,
}
"""What every figure has in common; colours are the figures' own."""

_CAPTION_SIZE = 7.0
_LINE = 1.35 * _CAPTION_SIZE / 72
_MARGIN = 0.1
_CHARACTERS_PER_INCH = 19.8
"""Of the caption's letters, on average."""


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Matplotlib's defaults and ours on top, whatever the user configured; afterwards all is as it was."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(LOOK)
        yield


def add_caption(drawing: Drawing, *further: str) -> str:
    """Make room below the picture and write what it shows and on what; returns the text."""
    text = " ".join(_sentence(printable(part)) for part in (drawing.caption, *further) if part)
    figure = drawing.figure
    width, height = (float(inches) for inches in figure.get_size_inches())
    lines = textwrap.wrap(text, max(20, int((width - 2 * _MARGIN) * _CHARACTERS_PER_INCH)))
    below = len(lines) * _LINE + 2 * _MARGIN
    total = height + below
    figure.set_size_inches(width, total)
    figure.set_layout_engine(
        "constrained", rect=(0, below / total, 1, height / total), w_pad=0.07, h_pad=0.06
    )
    figure.text(
        _MARGIN / width,
        (below - _MARGIN) / total,
        "\n".join(lines),
        va="top",
        ha="left",
        size=_CAPTION_SIZE,
        color="#505050",
        linespacing=1.25,
    )
    _settle(figure)
    return text


def _settle(figure: Canvas) -> None:
    """Lay out once, for all formats, and round: the solver's last bits differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(left, 6), round(bottom, 6), round(width, 6), round(height, 6)))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def to_bytes(drawing: Drawing, format_name: str) -> bytes:
    """The picture as the content of a file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; saying so once per letter helps nobody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        drawing.figure.savefig(buffer, format=format_name, metadata=FORMATS[format_name])
    return buffer.getvalue()
