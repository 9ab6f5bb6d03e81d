"""How the unexplained variance falls with the SAE's width, and what no width removes."""
