"""How much of the error is a linear function of the activation."""
