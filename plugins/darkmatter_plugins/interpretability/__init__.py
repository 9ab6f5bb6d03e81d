"""How well simple rules of the text predict when a latent fires: fragments, simulators, scores.

``fragments`` cuts contexts into fragments and keeps, per latent, those on which it fires most and random
ones; ``simulators`` predict activations from tokens, fitted on fragments of the training side;
``scoring`` correlates prediction and truth on fragments of the held-out side. Offline and deterministic.
"""
