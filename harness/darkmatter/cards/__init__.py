"""A readable card per latent: what it fires on, what it does, what makes it fire."""
