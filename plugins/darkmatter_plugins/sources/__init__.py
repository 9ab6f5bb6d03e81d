"""Where activations come from: language models and files."""
