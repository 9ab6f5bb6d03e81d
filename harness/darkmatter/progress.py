"""Progress for people: one moving line on a terminal, one line per step in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from darkmatter.events import RunEvent, StepProgress
from darkmatter.printable import printable

Advance = Callable[[int, int], None]

SLOW = 10.0
"""Seconds after which a single task is worth a line of its own."""


@dataclass
class Progress:
    """Reports steps on ``stream`` (None: says nothing) and to ``emit``."""

    stream: TextIO | None = None
    emit: Callable[[RunEvent], None] = lambda _event: None
    _line_open: bool = field(default=False, init=False)

    @classmethod
    def on_stderr(cls, emit: Callable[[RunEvent], None] = lambda _event: None) -> Progress:
        """Progress on standard error, where it does not mix with a table on standard output."""
        return cls(sys.stderr, emit)

    def note(self, text: str) -> None:
        """A line, now; one of several lines keeps them."""
        if self.stream is None:
            return
        self._end_line()
        self.stream.write(printable(text, keep_lines=True) + "\n")
        self.stream.flush()

    @contextlib.contextmanager
    def step(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """A step of ``total`` units; call the function it gives with (done, total). Of none, it is silent."""
        started = time.monotonic()
        last_shown = [float("-inf")]

        def advance(done: int, of: int = total) -> None:
            self.emit(StepProgress(name, done, of, unit))
            now = time.monotonic()
            if self._on_terminal and (now - last_shown[0] > 0.1 or done >= of):
                last_shown[0] = now
                self._show(f"{name}: {done}/{of} {unit}{_rate(done, of, unit, now - started)}")

        yield advance
        if total:
            self.note(f"{name}: {total} {unit} in {_duration(time.monotonic() - started)}")

    @contextlib.contextmanager
    def task(self, name: str) -> Iterator[None]:
        """A task within a step: named on a terminal while it runs, and kept as a line if it was slow."""
        started = time.monotonic()
        if self._on_terminal:
            self._show(f"{name} ...")
        try:
            yield
        finally:
            elapsed = time.monotonic() - started
            if elapsed >= SLOW:
                self.note(f"  {name}: {_duration(elapsed)}")

    @property
    def _on_terminal(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def _show(self, text: str) -> None:
        assert self.stream is not None
        self.stream.write("\r\x1b[2K" + printable(text))
        self.stream.flush()
        self._line_open = True

    def _end_line(self) -> None:
        if self._line_open and self.stream is not None:
            self.stream.write("\r\x1b[2K")
            self._line_open = False


def _rate(done: int, total: int, unit: str, seconds: float) -> str:
    if done <= 0 or seconds <= 0 or done >= total:
        return ""
    remaining = seconds / done * (total - done)
    return f", {done / seconds:.3g} {unit}/s, {_duration(remaining)} left"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
