"""``darkmatter plot``: results as figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from darkmatter.cli.options import results_folder
from darkmatter.cli.output import say, say_columns, warn
from darkmatter.errors import UsageError, did_you_mean


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=lambda context, option, value: value and results_folder(context, option, value),
    help="Folder for the pictures; default: DIR/plots.",
)
@click.option(
    "--format",
    "formats",
    default="svg,png",
    show_default=True,
    metavar="A,B",
    help="svg, png, pdf, separated by commas.",
)
@click.option("--figures", metavar="A,B", help="Only these; default: all.")
@click.option("--list", "only_list", is_flag=True, help="Say what can be drawn, and draw nothing.")
def plot(folder: Path, *, out: Path | None, formats: str, figures: str | None, only_list: bool) -> int:
    """Draw the figures of the papers from the results in DIR.

    A figure whose results are not there is listed with the reason. Exit status 1 says that nothing could
    be drawn.
    """
    from darkmatter.figures.plot import plot as draw
    from darkmatter.figures.saving import FORMATS
    from darkmatter.files.atomic import write_bytes
    from darkmatter.plugins import host
    from darkmatter.results.collection import ResultSet

    chosen = _listed(formats, FORMATS, "format")
    wanted = None if figures is None else _listed(figures, host().figures(), "figure")
    known = {name: figure for name, figure in host().figures().items() if wanted is None or name in wanted}
    results = ResultSet.read(folder)
    target = out or (folder if folder.is_dir() else folder.parent) / "plots"
    lines: list[tuple[str, str]] = []
    drawn = False
    for outcome in draw(
        results,
        known,
        () if only_list else chosen,
        lambda name, content: write_bytes(target / name, content),
    ):
        drawn = drawn or bool(outcome.pictures)
        if only_list:
            count = len(outcome.pictures)
            yes = f"{count} picture{'s' if count > 1 else ''}" if count else ""
            lines.append((outcome.name, "; ".join(filter(None, (yes, outcome.reason)))))
            continue
        for stem in outcome.pictures:
            for suffix in chosen:
                say(str(target / f"{stem}.{suffix}"))
        if outcome.reason:
            warn(f"not drawn: {outcome.name}: {outcome.reason}")
    say_columns(lines, indent="")
    for problem in results.problems:
        warn(f"not used: {problem.path} {problem.reason}")
    if not drawn:
        warn(f"nothing in {folder} can be drawn. `darkmatter run --out DIR` makes results.")
    return 0 if drawn else 1


def _listed(text: str, known: Mapping[str, object], what: str) -> list[str]:
    """Names separated by commas, each once; an unknown one names the nearest."""
    names = list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    for name in names:
        if name not in known:
            message = f"there is no {what} {name!r}. {did_you_mean(name, known)}"
            raise UsageError(message)
    if not names:
        message = f"name at least one {what}. Known: {', '.join(known)}."
        raise UsageError(message)
    return names
