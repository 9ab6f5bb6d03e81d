"""Evaluator `dictionary_similarity`."""
