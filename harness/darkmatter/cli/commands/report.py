"""``darkmatter report``: results folders as one page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from darkmatter.cli.output import readable_size, say, warn
from darkmatter.errors import UsageError


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PAGE.html",
    help="File to write; one that is there is replaced.",
)
@click.option(
    "--all", "all_metrics", is_flag=True, help="Every metric in the tables, not only the headline ones."
)
def report(folders: tuple[Path, ...], *, out: Path, all_metrics: bool) -> int:
    """Write one self-contained page about the results of one or more folders.

    It opens offline in any browser and loads nothing: summary, tables to sort and filter, interactive
    figures, every SAE in full, what is missing. Exit status 1 says that some file in the folders was no
    usable result, which the page says too.
    """
    from darkmatter.files.atomic import write_bytes
    from darkmatter.results.collection import ResultSet

    if out.suffix.lower() not in {".html", ".htm"} or out.is_dir():
        message = f"-o {out}: the page is an HTML file; name one, such as -o {out.with_suffix('.html')}."
        raise UsageError(message)
    results = ResultSet.read(*folders)
    for problem in results.problems:
        warn(f"not used: {problem.path} {problem.reason}")
    if not results:
        warn(f"no results below {', '.join(map(str, folders))}. `darkmatter run --out DIR` makes them.")
        return 1
    if find_spec("plotly") is None:
        warn("the page has no figures, since plotly is not installed: pip install 'sae-darkmatter[report]'")
    page = results.table("page", all=all_metrics).encode("utf-8")
    write_bytes(out, page)
    say(f"{out} ({readable_size(len(page))}, opens offline)")
    return 1 if results.problems else 0
