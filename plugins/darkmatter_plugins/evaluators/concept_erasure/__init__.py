"""The evaluator `concept_erasure`."""
