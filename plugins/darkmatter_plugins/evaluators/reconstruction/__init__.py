"""Reconstruction quality and sparsity."""
