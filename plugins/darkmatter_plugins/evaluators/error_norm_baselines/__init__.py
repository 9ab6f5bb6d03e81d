"""What predicts the size of the error: the activation, the token, the loss, plain scalars."""
