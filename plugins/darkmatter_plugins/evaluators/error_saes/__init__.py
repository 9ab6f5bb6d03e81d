"""The evaluator `error_saes`."""
