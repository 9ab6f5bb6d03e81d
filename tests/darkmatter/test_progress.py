"""What people are told while they wait."""

from __future__ import annotations

import io

import pytest

from darkmatter import progress
from darkmatter.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_step_of_nothing_says_nothing():
    """A stage without work leaves no line "0 results" in a log."""
    log = io.StringIO()
    with Progress(log).step("evaluating", 0, "results"):
        pass

    assert log.getvalue() == ""


def test_a_log_keeps_slow_tasks_only(monkeypatch: pytest.MonkeyPatch):
    """A log names what took long, and is not flooded by what did not."""
    log = io.StringIO()
    with Progress(log).task("quick"):
        pass
    monkeypatch.setattr(progress, "SLOW", 0.0)
    with Progress(log).task("a / error_saes"):
        pass

    assert log.getvalue().splitlines() == ["  a / error_saes: 0.0 s"]


def test_a_terminal_names_the_task_that_runs():
    """Whoever waits at a terminal sees what for, before it is done."""
    terminal = Terminal()
    with Progress(terminal).task("a / error_saes"):
        shown = terminal.getvalue()

    assert "a / error_saes ..." in shown
