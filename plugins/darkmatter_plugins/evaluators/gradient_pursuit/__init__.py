"""What the SAE's decoder could do with as many latents, whatever its encoder does."""
