"""Whether the linear and nonlinear parts of an error tell two known noises apart."""
