"""``darkmatter leaderboard``: build, check, submit, audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkmatter.cli.output import say, say_json, warn
from darkmatter.errors import DarkmatterError, UsageError

if TYPE_CHECKING:
    from darkmatter.leaderboard.findings import Finding

_FOLDER = click.argument("folder", default="results", type=click.Path(path_type=Path), metavar="[DIR]")
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


@click.group()
def leaderboard() -> None:
    """Published results in a git repository: DIR, by default results/.

    Each row is one immutable file, and everything else is made from the rows.
    """


@leaderboard.command()
@_FOLDER
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 1 where a file is stale.")
def build(folder: Path, *, only_check: bool) -> int:
    """Write the table DIR/README.md and the page DIR/site/index.html.

    The same rows give the same bytes.
    """
    from darkmatter.leaderboard.build import built_files, write_built
    from darkmatter.leaderboard.pages import stale
    from darkmatter.plugins import host

    files = built_files(folder, host())
    behind = stale(folder, files)
    if only_check:
        for path in behind:
            say(f"{folder / path}: is stale; `darkmatter leaderboard build {folder}` writes it.")
        return 1 if behind else 0
    write_built(folder, files)
    for path in files:
        say(f"{'written' if path in behind else 'unchanged'}: {folder / path}")
    return 0


@leaderboard.command()
@_FOLDER
@click.option("--base", metavar="REF", help="Compare with the commit where the history of REF parted.")
@click.option(
    "--author",
    metavar="NAME",
    help="Whose change it is, as the platform says: they may change what is theirs.",
)
@_AS_JSON
def check(folder: Path, base: str | None, author: str | None, *, as_json: bool) -> int:
    """Fail on rows that were edited, removed, forged or misplaced, each with the fix.

    Table and page, where they are there, must be what `build` writes. With --base, rows of that commit must
    be there unchanged, and so must model cards but for the author's own; pages may be as they were. Nothing
    in DIR is run. Exit status 1 says that something is wrong.
    """
    from darkmatter.leaderboard.check import check as checked
    from darkmatter.plugins import host

    board, findings = checked(folder, host(), base, author)
    if as_json:
        say_json(
            {
                "rows": len(board.rows),
                "base": base,
                "findings": [
                    {"file": str(folder / each.file), "reason": each.reason, "fix": each.fix}
                    for each in findings
                ],
            }
        )
        return 1 if findings else 0
    _say_findings(folder, findings)
    wrong = f"{len(findings)} things are wrong" if findings else "nothing is wrong"
    say(f"{folder}: {len(board.rows)} rows, {wrong}.")
    if base is None:
        warn("Changes were not checked: --base REF names the commit to compare with, such as origin/main.")
    return 1 if findings else 0


def _say_findings(folder: Path, findings: Sequence[Finding]) -> None:
    for each in findings:
        say(f"{folder / each.file}: {each.reason}\n  fix: {each.fix}")


@leaderboard.command()
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option("--owner", required=True, metavar="NAME", help="Whose SAEs they are: an account or a group.")
@click.option(
    "--to", default="results", show_default=True, type=click.Path(path_type=Path), help="The leaderboard."
)
@click.option("--sae", "saes", multiple=True, metavar="NAME", help="Submit only these; default: all.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="[NAME=]REF",
    help="Where others find the weights, instead of a path: hf:ORG/REPO/FOLDER.",
)
@click.option("--model", metavar="ID", help="The model's public name, instead of a path.")
@click.option(
    "--text", metavar="REF", help="The text's public name, hf:NAME[:CONFIG[:SPLIT]], instead of a path."
)
@click.option("--licence", default="", help="Of the weights, for the model card.")
def submit(
    results: Path,
    owner: str,
    to: Path,
    saes: tuple[str, ...],
    references: tuple[str, ...],
    model: str | None,
    text: str | None,
    licence: str,
) -> int:
    """Prepare a submission: finished results, the controls beside them, and model cards.

    Paths of this machine are cut. Nothing is written where a check fails.
    """
    from darkmatter.leaderboard.layout import is_card
    from darkmatter.leaderboard.submit import Stated
    from darkmatter.leaderboard.submit import submit as submitted
    from darkmatter.plugins import host

    stated = Stated(_by_name(references, saes), model, text, licence)
    made = submitted(results, owner, to, host(), saes=saes, stated=stated)
    for line in made.left_out:
        warn(f"left out: {line}")
    _say_findings(to, made.findings)
    open_cards = [each for each in made.findings if is_card(each.file)]
    if len(open_cards) < len(made.findings):
        warn("nothing was written.")
        return 1
    rows = f"{len(made.added)} rows added, {len(made.known)} were there"
    say(f"{to}: {rows}, {len(made.cards)} model cards new.")
    say("Next:")
    if open_cards:
        say(f"  fill in what is empty in {', '.join(sorted({str(to / each.file) for each in open_cards}))}")
    say(f"  darkmatter leaderboard build {to}")
    say(f"  darkmatter leaderboard check {to} --base origin/main")
    say(f"  git switch -c submit-{owner.lower()}; git add {to}; git commit; open a pull request")
    return 0


def _by_name(references: Sequence[str], saes: Sequence[str]) -> dict[str, str]:
    """``[NAME=]REF`` by name; the name may be left out where one SAE is submitted."""
    from darkmatter.references import parse_named

    found = {}
    for given in references:
        name, reference = parse_named(given)
        if name is None and len(saes) != 1:
            message = f"--reference {given}: say of which SAE, NAME={given}, or submit one with --sae NAME."
            raise UsageError(message)
        found[name or saes[0]] = reference.raw
    return found


@leaderboard.command()
@_FOLDER
@click.option("-n", "count", default=3, show_default=True, type=click.IntRange(min=1), help="How many rows.")
@click.option("--seed", default=0, show_default=True, help="Which rows: the same seed draws the same.")
@_AS_JSON
def audit(folder: Path, count: int, seed: int, *, as_json: bool) -> int:
    """Make rows again from the references that they record, and compare the numbers.

    Rows that `check` faults are left out. Nothing is downloaded: a row whose weights, model or text are not
    on this machine, or whose plugins would reach beyond it, is not made again.

    Tolerances: 1e-9 relative on the class of machine and the libraries that made a row, 1e-6 elsewhere;
    evaluators that train are exempt. Exit status 1 says that a row differs, or that none could be made again.
    """
    from darkmatter.leaderboard.audit import audit as audited
    from darkmatter.leaderboard.audit import passed, summary, without_findings
    from darkmatter.leaderboard.check import check as checked
    from darkmatter.plugins import host

    board, findings = checked(folder, host())
    rows = without_findings(board, findings)
    if board.rows and not rows:
        message = (
            f"{folder}: something is wrong with each of the {len(board.rows)} rows, and none is made again. "
            f"`darkmatter leaderboard check {folder}` says what."
        )
        raise DarkmatterError(message)
    if left_out := len(board.rows) - len(rows):
        warn(
            f"{left_out} of {len(board.rows)} rows are left out, since something is wrong with them: "
            f"`darkmatter leaderboard check {folder}` says what."
        )
    verdicts = []
    for verdict in audited(rows, host(), count, seed):
        verdicts.append(verdict)
        if not as_json:
            say(f"{folder / verdict.file}: {verdict.outcome}: {verdict.said}")
    if as_json:
        say_json(
            [
                {"file": str(folder / each.file), "outcome": each.outcome, "said": each.said}
                for each in verdicts
            ]
        )
    else:
        say(f"{folder}: {len(board.rows)} rows, {summary(verdicts)}.")
    if verdicts and not any(verdict.outcome in {"same", "differs"} for verdict in verdicts):
        warn("No row was made again, which is no pass: a larger -n or another --seed draws others.")
    return 0 if passed(verdicts) else 1
