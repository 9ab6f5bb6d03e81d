"""How well the error of a small SAE predicts that of a larger one, token by token."""
