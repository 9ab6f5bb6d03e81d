"""Broken on purpose: it imports what does not exist."""

import a_module_that_does_not_exist  # noqa: F401 - that is what is broken
