"""What single latents read, write and are made of."""
