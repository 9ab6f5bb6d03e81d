"""A permutation that depends on its seed alone, not on a library's version."""

from __future__ import annotations

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15


def permutation(n: int, seed: int, purpose: str) -> np.ndarray:
    """The numbers 0 to n - 1 [n] int64 in an order fixed by ``seed`` and ``purpose``.

    Each number gets a splitmix64 hash and the hashes are sorted. numpy's generators may change
    their streams between versions, and with them which contexts are held out.
    """
    start = int.from_bytes(purpose.encode()[-8:].rjust(8), "little") ^ (seed * 0xD1342543DE82EF95 % 2**64)
    with np.errstate(over="ignore"):
        z = np.uint64(_mix(start)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.argsort(z, kind="stable")


def _mix(value: int) -> int:
    """splitmix64 of one number, so that neighbouring seeds start far apart."""
    value = (value + _GOLDEN) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)
