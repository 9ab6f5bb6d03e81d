"""The evaluator `feature_editing`."""
