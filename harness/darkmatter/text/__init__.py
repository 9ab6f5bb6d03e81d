"""Text in, contexts of tokens out."""
