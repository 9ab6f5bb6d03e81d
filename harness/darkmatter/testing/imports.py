"""Whether importing a plugin is cheap."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

HEAVY = ("torch", "pandas", "scipy", "sklearn", "transformers", "transformer_lens", "tokenizers", "datasets")
"""What no command but those that compute may import."""

_PROGRAM = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))
"""


@functools.cache
def check_imports(module: str) -> None:
    """Raise AssertionError unless importing a module of descriptors imports nothing heavy.

    Args:
        module: importable name, as in the entry point (``darkmatter_example``).
    """
    command = [sys.executable, "-c", _PROGRAM, module, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        seen = done.stderr.strip()
        message = f"A plugin must be importable.\n  seen: {seen}\n  fix:  python -c 'import {module}'"
        raise AssertionError(message)
    loaded = json.loads(done.stdout.splitlines()[-1])
    if loaded:
        message = (
            "Importing a plugin imports nothing heavy, so that `darkmatter list` answers at once.\n"
            f"  seen: importing {module} imported {', '.join(loaded)}\n"
            "  fix:  name implementations as strings 'package.module:object', and import these in that "
            "module (or inside functions); `python -X importtime` shows who imports what."
        )
        raise AssertionError(message)
