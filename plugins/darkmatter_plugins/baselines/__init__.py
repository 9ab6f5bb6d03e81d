"""Descriptors of the built-in controls."""

from __future__ import annotations

from darkmatter import api

BASELINES: tuple[api.Baseline, ...] = ()
