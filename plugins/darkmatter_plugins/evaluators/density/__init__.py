"""How often latents fire, and how their codes are distributed."""
