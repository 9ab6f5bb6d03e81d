"""Training of sparse autoencoders on rows that are streamed, for evaluators that train."""
