"""The key of an endpoint: read from the environment, sent to the server, shown to nobody."""

from __future__ import annotations

import logging
import os

from darkmatter import api

NO_KEY = "none"
"""Sent where there is no key: servers on one's own machine mostly want none."""

_SHORTEST = 8
_CLIENTS = ("openai", "httpx", "httpcore")


class Secret(logging.Filter):
    """A key, and how it is taken out of text; as a filter, out of log lines.

    What is shorter than eight characters is no secret, but a word such as ``none`` or ``EMPTY``.
    """

    def __init__(self, variable: str) -> None:
        super().__init__()
        self.value = os.environ.get(variable, "").strip() or NO_KEY
        if not (self.value.isascii() and self.value.isprintable()):
            message = f"the environment variable {variable} holds characters that no key has"
            raise api.ItemError(message)

    def out_of(self, text: str) -> str:
        """Text without the key."""
        return text.replace(self.value, "[key]") if len(self.value) >= _SHORTEST else text

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the key out of a log line."""
        message = record.getMessage()
        clean = self.out_of(message)
        if clean != message:
            record.msg, record.args = clean, ()
        return True

    def guard_logs(self) -> None:
        """Keep the key out of what the client and its libraries log, such as headers that quote it.

        A filter sees only lines of the very logger that it stands at, so it stands at each.
        """
        for name in list(logging.root.manager.loggerDict):
            if name.startswith(_CLIENTS):
                logging.getLogger(name).addFilter(self)
