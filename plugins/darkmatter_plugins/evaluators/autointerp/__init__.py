"""The evaluator `autointerp`."""
