"""How the numbers were made: every distinct record once, with a number that results refer to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from darkmatter import api
from darkmatter_plugins.reporters.page.markup import escape, pairs


class Records:
    """Records that many results share, numbered in the order in which they come."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._found: dict[str, tuple[int, Mapping[str, Any], int]] = {}

    def link(self, record: Mapping[str, Any]) -> str:
        """A link to the record, which is kept."""
        key = json.dumps(record, sort_keys=True, default=str)
        number, _, uses = self._found.get(key, (len(self._found) + 1, record, 0))
        self._found[key] = number, record, uses + 1
        return f'<a href="#{self.kind}-{number}">{self.kind} {number}</a>'

    def section(self) -> str:
        """All of them, closed."""
        return "\n".join(
            f'<details id="{self.kind}-{number}"><summary>{escape(self.kind)} {number} '
            f'<span class="faint">behind {uses} result{"s" if uses > 1 else ""}</span></summary>\n'
            f"{pairs(api.flat(record)) or '<p>Nothing was recorded.</p>'}\n</details>"
            for number, record, uses in self._found.values()
        )
