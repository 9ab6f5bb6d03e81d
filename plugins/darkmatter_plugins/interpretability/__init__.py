"""How well simple rules of the text predict when a latent fires: latents, fragments, scores.

``latents`` draws latents and picks their codes; ``fragments`` cuts contexts into fragments and keeps, per
latent, those on which it fires most and random ones; ``scoring`` compares what a simulator (see
``darkmatter_plugins.simulators``) predicts with the truth on fragments of the held-out side.
"""
