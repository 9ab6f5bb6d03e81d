"""The embedded world: stories with known latents, a small language model of them, and trained SAEs."""
