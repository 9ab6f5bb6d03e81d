"""What other SAEs of the model, or other places in it, know of an SAE's error."""
