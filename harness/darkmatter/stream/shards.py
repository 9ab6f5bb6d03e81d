"""Work on every shard, reduced in shard order.

Each shard is worked on alone, from a fresh start, by one worker that computes with one thread; the
parts are merged in the order of the shards. So the bytes of a result depend neither on the number
of workers nor on which of them was faster. Workers are threads: torch releases the interpreter
lock, SAEs made from user functions need not be pickled, and they die with the process.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from darkmatter.activations import Shard

Part = TypeVar("Part")


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch compute with one thread per worker and without TF32; restores both afterwards."""
    threads, restore = torch.get_num_threads(), _exact_products()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        restore()


def _exact_products() -> Callable[[], None]:
    """Turn reduced-precision float32 products off; gives the way back.

    torch has an older and a newer setting and refuses to read one after the other was written: the
    newer one is used wherever there is one, since writing it is always allowed.
    """
    holders: list[Any] = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    newer = [holder for holder in holders if hasattr(holder, "fp32_precision")]
    if not newer:
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        return lambda: torch.set_float32_matmul_precision(precision)
    kept = [(holder, holder.fp32_precision) for holder in newer]
    for holder in newer:
        holder.fp32_precision = "ieee"

    def restore() -> None:
        for holder, value in kept:
            holder.fp32_precision = value

    return restore


def map_shards(
    work: Callable[[Shard], Part], shards: Sequence[Shard], *, jobs: int
) -> Iterator[tuple[Shard, Part]]:
    """``work`` on every shard, results in shard order, at most ``2 * jobs`` of them in memory."""
    with one_thread_each(), torch.no_grad():
        if jobs <= 1 or len(shards) <= 1:
            yield from ((shard, work(shard)) for shard in shards)
            return
        with ThreadPoolExecutor(jobs, thread_name_prefix="darkmatter", initializer=_start_worker) as pool:
            yield from _in_order(pool, work, shards, 2 * jobs)


TRIM_EVERY = 8
"""Shards after which freed memory goes back to the system."""


def _trim() -> None:
    """Give freed heap memory back: glibc keeps what other threads freed, shard after shard."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _start_worker() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Shard], Part], shards: Sequence[Shard], in_flight: int
) -> Iterator[tuple[Shard, Part]]:
    waiting: collections.deque[tuple[Shard, Future[Part]]] = collections.deque()
    try:
        for number, shard in enumerate(shards, start=1):
            if number % TRIM_EVERY == 0:
                _trim()
            waiting.append((shard, pool.submit(work, shard)))
            if len(waiting) >= in_flight:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        # After an error or Ctrl-C, what has not started must not run on behind the user's back.
        for _, future in waiting:
            future.cancel()
