"""A language model on this machine as a simulator."""
