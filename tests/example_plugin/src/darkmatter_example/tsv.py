"""The reporter `tsv`: a pure function of a table."""

from darkmatter import api


def render(table: api.Table) -> str:
    """The table's tidy rows, separated by tabs."""
    lines = [api.ROW_COLUMNS, *([row[name] for name in api.ROW_COLUMNS] for row in table.rows)]
    return "".join("\t".join(map(_cell, line)) + "\n" for line in lines)


def _cell(value: object) -> str:
    return "" if value is None else api.printable(str(value))
