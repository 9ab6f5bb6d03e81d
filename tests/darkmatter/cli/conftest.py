"""The command line, called in this process."""

from __future__ import annotations

import pytest

from darkmatter.cli.main import main


@pytest.fixture
def call(capsys):
    """Run the command line; gives (status, stdout, stderr)."""

    def call(*arguments):
        status = main([*map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
