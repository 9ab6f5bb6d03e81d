"""Evaluator `feature_recovery`."""
