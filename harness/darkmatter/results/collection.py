"""A set of results: what ``dm.run`` and ``dm.evaluate`` return and what tables are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from darkmatter.errors import DarkmatterError
from darkmatter.results.comparable import distinct_names
from darkmatter.results.reading import Problem, StoredResult, contradiction, read_folder
from darkmatter.results.rows import ROW_COLUMNS, Row, duplicates, result_rows
from darkmatter.results.schema import Result

if TYPE_CHECKING:
    import pandas as pd


class ResultSet:
    """Results, failed and skipped ones among them, and the files that could not be used.

    A failed result speaks of the last run that tried: the store drops it once a later run gets further.

    Args:
        results: the results, plain or with their per-unit sums.
        problems: files that were no trustworthy results.
        order: SAE names in the order tables shall have; by default they are sorted naturally.
        keep_order: tables have the SAEs in the order of ``results``.
    """

    def __init__(
        self,
        results: Sequence[StoredResult | Result],
        problems: Sequence[Problem] = (),
        order: Sequence[str] = (),
        *,
        keep_order: bool = False,
    ) -> None:
        self.stored = [
            entry if isinstance(entry, StoredResult) else StoredResult.in_memory(entry) for entry in results
        ]
        self.problems = list(problems)
        self.order = tuple(order)
        self.keep_order = keep_order

    @classmethod
    def read(cls, *folders: Path | str) -> ResultSet:
        """Everything below one or more results folders (each file once)."""
        results: dict[tuple[str, str], StoredResult] = {}
        problems: dict[str, Problem] = {}
        for folder in folders:
            found, bad = read_folder(Path(folder))
            problems.update((problem.path, problem) for problem in bad)
            for entry in found:
                first = results.setdefault((entry.result.key, entry.result.sae.name), entry)
                if problem := contradiction(first, entry):
                    problems[problem.path] = problem
        return cls(list(results.values()), list(problems.values()))

    @property
    def results(self) -> list[Result]:
        """The results alone."""
        return [entry.result for entry in self.stored]

    def __len__(self) -> int:
        return len(self.stored)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __repr__(self) -> str:
        failed = sum(result.status == "failed" for result in self)
        return (
            f"<ResultSet: {len(self.stored)} results, {failed} of them failed, {len(self.problems)} problems>"
        )

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        return self.table(format="html")

    @cached_property
    def names(self) -> list[str]:
        """For each result the name of its SAE, extended where several results would share a row."""
        return distinct_names(self.results)

    def rows(self, *, all_metrics: bool = True) -> list[Row]:
        """Tidy rows in the order of the results; failed and skipped ones are rows too."""
        rows = [
            row
            for result, name in zip(self.results, self.names, strict=True)
            for row in result_rows(result, name)
            if all_metrics or row["primary"]
        ]
        twice = duplicates(rows)
        if twice:
            message = f"two results give the same row {twice[0]}; remove one of them from the results folder"
            raise DarkmatterError(message)
        return rows

    def to_pandas(self) -> pd.DataFrame:
        """Tidy rows as a data frame, with the columns of ``darkmatter table --format json``."""
        import pandas as pd

        frame = pd.DataFrame(self.rows(), columns=list(ROW_COLUMNS))
        types = {
            "value": "float64",
            "ci_low": "float64",
            "ci_high": "float64",
            "n": "Int64",
            "version": "Int64",
        }
        return frame.astype(types)

    def table(self, format: str = "md", *, all: bool = False) -> str:  # noqa: A002 - the public names
        """The results as text: Markdown, or any other reporter's format.

        Args:
            format: name of a reporter: md, csv, json, latex, html or a plugin's.
            all: every metric, not only the headline ones.
        """
        from darkmatter.results.render import render

        return render(self, format, all_metrics=all)
