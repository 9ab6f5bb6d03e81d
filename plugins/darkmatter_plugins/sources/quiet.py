"""Silence for libraries that warn, log and draw progress bars about things users cannot change."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines below errors, prints or progress bars inside the block."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(max(disabled, logging.WARNING))
        try:
            with _no_bars():
                yield
        finally:
            logging.disable(disabled)


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """No progress bars of transformers inside the block."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
