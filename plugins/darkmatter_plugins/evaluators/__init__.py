"""The built-in evaluators."""

from __future__ import annotations

from darkmatter_plugins.evaluators.density.descriptor import DENSITY
from darkmatter_plugins.evaluators.error_decomposition.descriptor import ERROR_DECOMPOSITION
from darkmatter_plugins.evaluators.gradient_pursuit.descriptor import GRADIENT_PURSUIT
from darkmatter_plugins.evaluators.reconstruction.descriptor import RECONSTRUCTION
from darkmatter_plugins.evaluators.synthetic_noise.descriptor import SYNTHETIC_NOISE

EVALUATORS = (RECONSTRUCTION, ERROR_DECOMPOSITION, GRADIENT_PURSUIT, SYNTHETIC_NOISE, DENSITY)
