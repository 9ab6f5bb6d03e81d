"""What a run tells its observers. New kinds of event may be added at any time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunEvent:
    """Base of all events."""


@dataclass(frozen=True)
class RunStarted(RunEvent):
    """A run begins with so many results to make."""

    results: int


@dataclass(frozen=True)
class StepProgress(RunEvent):
    """A long step moved on: ``done`` of ``total`` units."""

    step: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True)
class ResultWritten(RunEvent):
    """One result is safe on disk (``path``; empty where nothing is stored)."""

    sae: str
    evaluator: str
    path: str


@dataclass(frozen=True)
class ItemFailed(RunEvent):
    """One item failed; the run goes on."""

    item: str
    reason: str


@dataclass(frozen=True)
class RunFinished(RunEvent):
    """The run is over."""

    made: int
    reused: int
    failed: int
