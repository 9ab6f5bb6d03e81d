"""What the parts of the error cost the model downstream."""
