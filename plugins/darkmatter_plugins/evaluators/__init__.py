"""Descriptors of the built-in evaluators."""

from __future__ import annotations

from darkmatter import api

EVALUATORS: tuple[api.Evaluator, ...] = ()
